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

    /// How many elements there are, those that alignment costs among them.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All elements from a cache line on.
    pub(crate) fn aligned(&mut self) -> &mut [T] {
        // `align_offset` may decline to answer; then the slice is unaligned, which costs time only.
        let start = self.0.as_ptr().align_offset(ALIGNMENT).min(Self::SLACK);
        self.0.get_mut(start..).unwrap_or_default()
    }
}
