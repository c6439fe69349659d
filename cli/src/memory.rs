//! Memory that grows with the input, which is an error where there is none.

/// So many equal elements. `what` they are is said where there is no memory for them.
pub(crate) fn filled<T: Clone>(length: usize, value: T, what: &str) -> Result<Vec<T>, String> {
    let mut values = reserved(length, what)?;
    values.resize(length, value);
    Ok(values)
}

/// Room for so many elements.
pub(crate) fn reserved<T>(length: usize, what: &str) -> Result<Vec<T>, String> {
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
