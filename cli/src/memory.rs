//! Memory that grows with the input, which is an error where there is none.

/// So many equal elements. `what` they are is said where there is no memory for them.
pub fn filled<T: Clone>(length: usize, value: T, what: &str) -> Result<Vec<T>, String> {
    let mut values = reserved(length, what)?;
    values.resize(length, value);
    Ok(values)
}

/// Room for so many elements.
pub fn reserved<T>(length: usize, what: &str) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    values.try_reserve_exact(length).map_err(|_| format!("no memory for {length} {what}"))?;
    Ok(values)
}

/// Appends an element.
pub(crate) fn push<T>(values: &mut Vec<T>, value: T, what: &str) -> Result<(), String> {
    values.try_reserve(1).map_err(|_| format!("no memory for {} {what}", values.len() + 1))?;
    values.push(value);
    Ok(())
}

/// Room for so many elements, in a call whose errors are the library's.
pub(crate) fn room<T>(length: usize) -> Result<Vec<T>, hardneg::Error> {
    let mut values = Vec::new();
    let bytes = length.saturating_mul(size_of::<T>());
    values.try_reserve_exact(length).map_err(|_| hardneg::Error::OutOfMemory { bytes })?;
    Ok(values)
}
