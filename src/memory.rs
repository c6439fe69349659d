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

/// How much memory a buffer gets that is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// What is needed.
    Exact,
    /// Twice what it has, if that is more: rows that come one by one are moved a constant number of times on average.
    Doubling,
}

/// Gets memory for `rows * columns` elements of `buffer`.
pub(crate) fn reserve<T>(
    buffer: &mut Vec<T>,
    growth: Growth,
    side: Side,
    rows: usize,
    columns: usize,
) -> Result<(), Error> {
    let overflow = Error::SizeOverflow { side, rows, columns };
    let length = rows.checked_mul(columns).ok_or(overflow)?;
    if let Some(missing) = length.checked_sub(buffer.len()).filter(|_| length > buffer.capacity()) {
        let bytes = length.checked_mul(size_of::<T>()).ok_or(overflow)?;
        let reserved = match growth {
            Growth::Exact => buffer.try_reserve_exact(missing),
            Growth::Doubling => buffer.try_reserve(missing),
        };
        reserved.map_err(|_| Error::OutOfMemory { bytes })?;
    }
    Ok(())
}

/// The bytes that a vector has got from the allocator, without what its elements have.
pub(crate) fn bytes_of<T>(vector: &Vec<T>) -> usize {
    vector.capacity() * size_of::<T>()
}

/// A copy of `elements`, with memory for no more.
pub(crate) fn try_copy<T: Copy>(elements: &[T], side: Side) -> Result<Vec<T>, Error> {
    let mut copy = Vec::new();
    reserve(&mut copy, Growth::Exact, side, elements.len(), 1)?;
    copy.extend_from_slice(elements);
    Ok(copy)
}

/// A vector whose lent slice starts at a cache line.
#[derive(Debug, Default)]
pub(crate) struct AlignedVec<T>(Vec<T>);

impl<T: Default> AlignedVec<T> {
    pub(crate) const EMPTY: AlignedVec<T> = AlignedVec(Vec::new());

    /// The elements that alignment may cost.
    const SLACK: usize = ALIGNMENT / size_of::<T>();

    /// `rows * columns` elements from a cache line on, after growing if there are fewer.
    pub(crate) fn grow(&mut self, side: Side, rows: usize, columns: usize) -> Result<&mut [T], Error> {
        let overflow = Error::SizeOverflow { side, rows, columns };
        let length = rows.checked_mul(columns).ok_or(overflow)?;
        grow(&mut self.0, side, length.checked_add(Self::SLACK).ok_or(overflow)?, 1)?;
        Ok(&mut self.aligned()[..length])
    }

    /// Grows to `length` elements at least, and keeps what they hold.
    pub(crate) fn extend(&mut self, growth: Growth, side: Side, length: usize) -> Result<(), Error>
    where
        T: Copy,
    {
        let old = self.as_aligned();
        if old.len() < length {
            let length = if growth == Growth::Doubling { length.max(old.len().saturating_mul(2)) } else { length };
            // A vector that moves may begin elsewhere in its cache line.
            let mut longer = AlignedVec::default();
            longer.grow(side, length, 1)?[..old.len()].copy_from_slice(old);
            *self = longer;
        }
        Ok(())
    }

    /// A copy of the first `length` elements, with memory for no more.
    pub(crate) fn try_clone(&self, side: Side, length: usize) -> Result<AlignedVec<T>, Error>
    where
        T: Copy,
    {
        let mut copy = AlignedVec::default();
        if length > 0 {
            copy.grow(side, length, 1)?.copy_from_slice(&self.as_aligned()[..length]);
        }
        Ok(copy)
    }

    /// How many elements there are, those that alignment costs among them.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.0)
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
