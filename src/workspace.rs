//! All scratch memory, its alignment and all arithmetic on sizes.

use crate::error::{Error, Side};
use crate::screen::Shortlist;
use crate::stats::RowStats;

/// The alignment of the buffers that kernels stream through: a cache line, so that no load crosses two.
const ALIGNMENT: usize = 64;

/// The scratch memory of a call, reusable for calls of any shape, and the place where the row statistics stay.
///
/// It holds about `(m + n) * dim` numbers of `f32` for `m` anchors and `n` candidates, never `m * n`. It grows when a
/// larger shape arrives and does not shrink; what an earlier call left in it does not matter to a later one. After the
/// first call of a shape, a serial call of that or a smaller shape allocates nothing.
///
/// On several threads this crate allocates nothing either, but rayon may: entering its pool from a thread outside of it
/// makes rayon's own queue allocate a block every 63 entries.
///
/// ```
/// use hardneg::{Batch, TripletLoss, Workspace};
///
/// let mut workspace = Workspace::new();
/// let rows = [1.0, 0.0, 0.0, 1.0];
/// TripletLoss::new().forward(Batch::paired(&rows, &rows, 2)?, &mut workspace)?;
/// assert_eq!(workspace.row_stats()[1].positive, 1.0);
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Workspace {
    anchor_norms: Vec<f64>,
    candidate_norms: Vec<f64>,
    candidate_sums: Vec<f64>,
    unit_anchors: AlignedVec,
    unit_candidates: AlignedVec,
    shortlists: Vec<Shortlist>,
    stats: Vec<RowStats>,
    /// How many of `stats` the last successful call wrote.
    rows: usize,
}

/// How much of each buffer a call needs, in rows and elements a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Anchors.
    pub(crate) anchors: usize,
    /// Anchors, rounded up to whole tiles.
    pub(crate) padded_anchors: usize,
    /// Candidates.
    pub(crate) candidates: usize,
    /// Candidates, rounded up to whole registers.
    pub(crate) padded_candidates: usize,
    /// Blocks of the candidates' sum.
    pub(crate) sums: usize,
    /// The length of an embedding.
    pub(crate) dim: usize,
}

/// The buffers of one call, each exactly as long as its [`Sizes`] say. Their contents are whatever was there.
pub(crate) struct Buffers<'a> {
    pub(crate) anchor_norms: &'a mut [f64],
    pub(crate) candidate_norms: &'a mut [f64],
    pub(crate) candidate_sums: &'a mut [f64],
    pub(crate) unit_anchors: &'a mut [f32],
    pub(crate) unit_candidates: &'a mut [f32],
    pub(crate) shortlists: &'a mut [Shortlist],
    pub(crate) stats: &'a mut [RowStats],
}

impl Workspace {
    /// An empty workspace; the first call fills it.
    #[must_use]
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// The statistics of each anchor, in order, that the last successful call computed with this workspace. Empty
    /// before the first call and after one that failed.
    #[must_use]
    pub fn row_stats(&self) -> &[RowStats] {
        &self.stats[..self.rows]
    }

    /// Forgets the statistics of the last call.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
    }

    /// Grows every buffer to at least `sizes` and lends them out.
    pub(crate) fn buffers(&mut self, sizes: Sizes) -> Result<Buffers<'_>, Error> {
        let Sizes { anchors, padded_anchors, candidates, padded_candidates, sums, dim } = sizes;
        Ok(Buffers {
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, anchors, 1)?,
            candidate_norms: grow(&mut self.candidate_norms, Side::Candidates, candidates, 1)?,
            candidate_sums: grow(&mut self.candidate_sums, Side::Candidates, sums, dim)?,
            unit_anchors: self.unit_anchors.grow(Side::Anchors, padded_anchors, dim)?,
            unit_candidates: self.unit_candidates.grow(Side::Candidates, padded_candidates, dim)?,
            shortlists: grow(&mut self.shortlists, Side::Anchors, padded_anchors, 1)?,
            stats: grow(&mut self.stats, Side::Anchors, anchors, 1)?,
        })
    }

    /// Grows and lends out the statistics only.
    pub(crate) fn stats(&mut self, rows: usize) -> Result<&mut [RowStats], Error> {
        grow(&mut self.stats, Side::Anchors, rows, 1)
    }

    /// Declares the first `rows` statistics valid.
    pub(crate) fn keep(&mut self, rows: usize) {
        self.rows = rows;
    }
}

/// `rows * columns` elements of `buffer`, which grows if it is shorter.
fn grow<T: Clone + Default>(buffer: &mut Vec<T>, side: Side, rows: usize, columns: usize) -> Result<&mut [T], Error> {
    let overflow = Error::SizeOverflow { side, rows, columns };
    let length = rows.checked_mul(columns).ok_or(overflow)?;
    if buffer.len() < length {
        let bytes = length.checked_mul(size_of::<T>()).ok_or(overflow)?;
        let missing = length - buffer.len();
        buffer.try_reserve_exact(missing).map_err(|_| Error::OutOfMemory { bytes })?;
        buffer.resize(length, T::default());
    }
    Ok(&mut buffer[..length])
}

/// A vector of `f32` whose lent slice starts at a cache line.
#[derive(Debug, Default)]
struct AlignedVec(Vec<f32>);

impl AlignedVec {
    fn grow(&mut self, side: Side, rows: usize, columns: usize) -> Result<&mut [f32], Error> {
        const SLACK: usize = ALIGNMENT / size_of::<f32>();
        let overflow = Error::SizeOverflow { side, rows, columns };
        let length = rows.checked_mul(columns).ok_or(overflow)?;
        let buffer = grow(&mut self.0, side, length.checked_add(SLACK).ok_or(overflow)?, 1)?;
        // `align_offset` may decline to answer; then the slice is unaligned, which costs time only.
        let start = buffer.as_ptr().align_offset(ALIGNMENT).min(SLACK);
        Ok(&mut buffer[start..][..length])
    }
}
