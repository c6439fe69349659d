//! Growing buffers, their alignment, and all arithmetic on sizes of memory.

use crate::error::{Error, Side};

/// The alignment of the buffers that kernels stream through: a cache line, so that no load crosses two.
const ALIGNMENT: usize = 64;

/// `rows * columns` elements of `buffer`, which grows by defaults if it is shorter.
pub(crate) fn grow<T: Default>(
    buffer: &mut Vec<T>,
    side: Side,
    rows: usize,
    columns: usize,
) -> Result<&mut [T], Error> {
    grow_with(buffer, side, rows, columns, T::default)
}

/// `rows * columns` elements of `buffer`, which grows by results of `fill` if it is shorter.
pub(crate) fn grow_with<T>(
    buffer: &mut Vec<T>,
    side: Side,
    rows: usize,
    columns: usize,
    fill: impl FnMut() -> T,
) -> Result<&mut [T], Error> {
    let overflow = Error::SizeOverflow { side, rows, columns };
    let length = rows.checked_mul(columns).ok_or(overflow)?;
    if buffer.len() < length {
        let bytes = length.checked_mul(size_of::<T>()).ok_or(overflow)?;
        let missing = length - buffer.len();
        buffer.try_reserve_exact(missing).map_err(|_| Error::OutOfMemory { bytes })?;
        buffer.resize_with(length, fill);
    }
    Ok(&mut buffer[..length])
}

/// Gets memory for `rows * columns` elements of `buffer`, twice as many as it has if there is less: rows that come one
/// by one are moved a constant number of times on average.
pub(crate) fn reserve<T>(buffer: &mut Vec<T>, side: Side, rows: usize, columns: usize) -> Result<(), Error> {
    let overflow = Error::SizeOverflow { side, rows, columns };
    let length = rows.checked_mul(columns).ok_or(overflow)?;
    if let Some(missing) = length.checked_sub(buffer.len()).filter(|_| length > buffer.capacity()) {
        let bytes = length.checked_mul(size_of::<T>()).ok_or(overflow)?;
        buffer.try_reserve(missing).map_err(|_| Error::OutOfMemory { bytes })?;
    }
    Ok(())
}

/// A vector whose lent slice starts at a cache line.
#[derive(Debug, Default)]
pub(crate) struct AlignedVec<T>(Vec<T>);

impl<T: Default> AlignedVec<T> {
    /// The elements that alignment may cost.
    const SLACK: usize = ALIGNMENT / size_of::<T>();

    /// `rows * columns` elements from a cache line on, after growing if there are fewer.
    pub(crate) fn grow(&mut self, side: Side, rows: usize, columns: usize) -> Result<&mut [T], Error> {
        let overflow = Error::SizeOverflow { side, rows, columns };
        let length = rows.checked_mul(columns).ok_or(overflow)?;
        grow(&mut self.0, side, length.checked_add(Self::SLACK).ok_or(overflow)?, 1)?;
        Ok(&mut self.aligned()[..length])
    }

    /// Grows to `length` elements at least, twice as many as there were if that is more, and keeps what they hold.
    pub(crate) fn extend(&mut self, side: Side, length: usize) -> Result<(), Error>
    where
        T: Copy,
    {
        let old = self.as_aligned();
        if old.len() < length {
            // A vector that moves may begin elsewhere in its cache line.
            let mut longer = AlignedVec::default();
            longer.grow(side, length.max(old.len().saturating_mul(2)), 1)?[..old.len()].copy_from_slice(old);
            *self = longer;
        }
        Ok(())
    }

    /// How many elements there are, those that alignment costs among them.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All elements from a cache line on, to be read.
    pub(crate) fn as_aligned(&self) -> &[T] {
        self.0.get(self.start()..).unwrap_or_default()
    }

    /// Where the first cache line begins.
    fn start(&self) -> usize {
        // `align_offset` may decline to answer; then the slice is unaligned, which costs time only.
        self.0.as_ptr().align_offset(ALIGNMENT).min(Self::SLACK)
    }

    /// All elements from a cache line on.
    pub(crate) fn aligned(&mut self) -> &mut [T] {
        let start = self.start();
        self.0.get_mut(start..).unwrap_or_default()
    }
}
