//! `Rows`: a row-major matrix that was validated once.

use core::fmt;

use crate::error::{Error, Side, check_length};

/// How many rows both sides of a batch have, and how long they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) anchors: usize,
    pub(crate) candidates: usize,
    pub(crate) dim: usize,
}

/// A row-major view of at least one row of at least one `f32`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    data: &'a [f32],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// Checks that `data` is a whole, positive number of rows of `dim` elements.
    pub(crate) fn new(side: Side, data: &'a [f32], dim: usize) -> Result<Rows<'a>, Error> {
        if dim == 0 {
            return Err(Error::ZeroDim);
        }
        if data.is_empty() {
            return Err(Error::Empty { side });
        }
        if !data.len().is_multiple_of(dim) {
            return Err(Error::PartialRow { side, dim, actual: data.len() });
        }
        Ok(Rows { data, dim })
    }

    /// Rows that were checked when they came.
    pub(crate) fn known(data: &'a [f32], dim: usize) -> Rows<'a> {
        Rows { data, dim }
    }

    /// Two vectors of one length, as one row each.
    pub(crate) fn pair(x: &'a [f32], y: &'a [f32]) -> Result<(Rows<'a>, Rows<'a>), Error> {
        if x.is_empty() {
            return Err(Error::ZeroDim);
        }
        check_length(Side::Candidates, x.len(), y.len())?;
        Ok((Rows { data: x, dim: x.len() }, Rows { data: y, dim: x.len() }))
    }

    /// Rows of the same length: `data` is a whole, positive number of them.
    pub(crate) fn of_same_dim(self, data: &'a [f32]) -> Rows<'a> {
        Rows { data, dim: self.dim }
    }

    /// How many rows there are.
    pub(crate) fn count(self) -> usize {
        self.data.len() / self.dim
    }

    /// The length of a row.
    pub(crate) fn dim(self) -> usize {
        self.dim
    }

    /// All elements, row after row.
    pub(crate) fn data(self) -> &'a [f32] {
        self.data
    }

    /// Row `index`.
    #[inline(always)]
    pub(crate) fn row(self, index: usize) -> &'a [f32] {
        &self.data[index * self.dim..][..self.dim]
    }

    /// The indices of at most `sample` rows, evenly spread.
    #[inline(always)]
    pub(crate) fn spread(self, sample: usize) -> impl Iterator<Item = usize> {
        let sample = sample.min(self.count());
        // In 64 bits: the product may be too large for a `usize` of 32.
        (0..sample).map(move |index| (index as u64 * self.count() as u64 / sample as u64) as usize)
    }

    /// `count` rows from row `first` on.
    pub(crate) fn range(self, first: usize, count: usize) -> Rows<'a> {
        Rows { data: &self.data[first * self.dim..][..count * self.dim], dim: self.dim }
    }

    /// The rows in blocks of `size`, the last of which may have fewer.
    pub(crate) fn blocks(self, size: usize) -> impl Iterator<Item = Rows<'a>> {
        self.data.chunks(size.saturating_mul(self.dim)).map(move |data| Rows { data, dim: self.dim })
    }

    /// The rows in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [f32]> {
        self.data.chunks_exact(self.dim)
    }
}

/// The rows of both sides of a call.
#[derive(Clone, Copy)]
pub(crate) struct Sides<'a> {
    pub(crate) anchors: Rows<'a>,
    pub(crate) candidates: Rows<'a>,
    /// What an error calls the candidates.
    pub(crate) candidate_side: Side,
}

impl Sides<'_> {
    pub(crate) fn shape(self) -> Shape {
        Shape { anchors: self.anchors.count(), candidates: self.candidates.count(), dim: self.anchors.dim() }
    }
}

impl fmt::Debug for Rows<'_> {
    /// The shape alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.count(), self.dim)
    }
}
