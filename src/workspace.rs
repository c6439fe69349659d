//! All scratch memory, its alignment and all arithmetic on sizes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::block::Progress;
use crate::error::{Error, Side};
use crate::gradient::{Element, Sparse};
use crate::screen::{Screening, Shortlist};
use crate::stats::{Negatives, RowStats};

/// The alignment of the buffers that kernels stream through: a cache line, so that no load crosses two.
const ALIGNMENT: usize = 64;

/// The scratch memory of a call, reusable for calls of any shape, and the place where the row statistics stay.
///
/// It holds about `n * dim` words of 32 bits for `n` candidates (less with an integer screen), a block of anchors for
/// each thread, and a few numbers for each row; never the m x n matrix. A backward pass needs a few more numbers for
/// each row. It grows when a larger shape arrives and does not shrink; what an earlier call left in it does not matter
/// to a later one, but to [`TripletLoss::backward`](crate::TripletLoss::backward), which continues the forward pass
/// before it. After the first call of a shape, a serial call of that or a smaller shape with the same screen and
/// backend allocates nothing.
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
    panels: AlignedVec<u32>,
    centers: Vec<f32>,
    progress: Vec<Progress>,
    slots: Vec<Slot>,
    stats: Vec<RowStats>,
    /// How many of `stats` the last successful call wrote.
    rows: usize,
    screening: Screening,
    /// The forward pass that norms, sum and statistics are of, if they are of one.
    forward: Option<Forward>,
    shares: Vec<f64>,
    anchor_sums: Vec<f64>,
    by_anchor: SparseBuffers,
    by_candidate: SparseBuffers,
}

/// What a forward pass was of: a backward pass must be of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) anchors: usize,
    pub(crate) candidates: usize,
    pub(crate) dim: usize,
    pub(crate) negatives: Negatives,
}

/// The memory of a [`Sparse`] matrix.
#[derive(Debug, Default)]
struct SparseBuffers {
    ends: Vec<usize>,
    elements: Vec<Element>,
}

impl SparseBuffers {
    /// Grows to `rows` rows with `elements` elements in all, and lends them out.
    fn grow(&mut self, side: Side, rows: usize, elements: usize) -> Result<Sparse<'_>, Error> {
        let ends = grow(&mut self.ends, side, rows, 1)?;
        Ok(Sparse { ends, elements: grow(&mut self.elements, side, elements, 1)? })
    }
}

/// The scratch of one thread for one block of anchors. Blocks take turns in it, so that it stays in the thread's cache.
///
/// A thread knows its slot, so that the lock is always free; it is there to make that a fact rather than a claim.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<SlotBuffers>);

/// The buffers of a [`Slot`].
#[derive(Debug, Default)]
pub(crate) struct SlotBuffers {
    anchors: AlignedVec<u32>,
    /// Rows on their way to integers.
    scratch: AlignedVec<f32>,
    shortlists: Vec<Shortlist>,
    /// The gradient of a row before it is rounded.
    gradient: Vec<f64>,
}

impl Slot {
    /// The buffers, for one block. What a thread that panicked left in them does not matter.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SlotBuffers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotBuffers {
    /// The room for the anchors' words, for rows on their way there, and the shortlists.
    pub(crate) fn parts(&mut self) -> (&mut [u32], &mut [f32], &mut [Shortlist]) {
        (self.anchors.aligned(), self.scratch.aligned(), &mut self.shortlists)
    }

    /// The room for the gradient of a row.
    pub(crate) fn gradient_row(&mut self, dim: usize) -> &mut [f64] {
        &mut self.gradient[..dim]
    }
}

/// How much of each buffer a call needs, in rows and elements a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Anchors.
    pub(crate) anchors: usize,
    /// Candidates.
    pub(crate) candidates: usize,
    /// Candidates, rounded up to whole registers.
    pub(crate) padded_candidates: usize,
    /// Blocks of the candidates' sum.
    pub(crate) sums: usize,
    /// The length of an embedding.
    pub(crate) dim: usize,
    /// Threads that may work at once.
    pub(crate) threads: usize,
    /// Anchors that a thread works on at a time.
    pub(crate) shortlists: usize,
    /// Words of the anchors that a thread works on at a time.
    pub(crate) anchor_words: usize,
    /// Words of a candidate.
    pub(crate) stride: usize,
    /// Elements of rows on their way to integers.
    pub(crate) scratch: usize,
    /// Elements of the centers.
    pub(crate) centers: usize,
    /// Blocks of anchors, at most.
    pub(crate) blocks: usize,
}

/// The buffers of one call, as long as its [`Sizes`] say; a slot may be longer. Their contents are whatever was there.
pub(crate) struct Buffers<'a> {
    pub(crate) anchor_norms: &'a mut [f64],
    pub(crate) candidate_norms: &'a mut [f64],
    pub(crate) candidate_sums: &'a mut [f64],
    pub(crate) panels: &'a mut [u32],
    pub(crate) centers: &'a mut [f32],
    pub(crate) progress: &'a mut [Progress],
    pub(crate) slots: &'a [Slot],
    pub(crate) stats: &'a mut [RowStats],
}

/// What a backward pass finds of the forward pass, and its own buffers, whose contents are whatever was there.
pub(crate) struct GradientBuffers<'a> {
    pub(crate) anchor_norms: &'a [f64],
    pub(crate) candidate_norms: &'a [f64],
    pub(crate) candidate_sum: &'a [f64],
    pub(crate) stats: &'a [RowStats],
    pub(crate) slots: &'a [Slot],
    pub(crate) shares: &'a mut [f64],
    pub(crate) anchor_sums: &'a mut [f64],
    pub(crate) by_anchor: Sparse<'a>,
    pub(crate) by_candidate: Sparse<'a>,
}

impl Workspace {
    /// An empty workspace; the first call fills it.
    #[must_use]
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// The statistics of each anchor, in order, that the last forward call computed with this workspace. Empty
    /// before the first one and after one that failed.
    #[must_use]
    pub fn row_stats(&self) -> &[RowStats] {
        &self.stats[..self.rows]
    }

    /// How the screens did in the last forward call over a batch. All 0 before the first one, after one that
    /// failed, and after one over a matrix of similarities.
    #[must_use]
    pub fn screening(&self) -> Screening {
        self.screening
    }

    /// Forgets the statistics of the last call.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
        self.screening = Screening::default();
        self.forward = None;
    }

    /// Declares norms, sum and statistics to be those of `forward`.
    pub(crate) fn keep_forward(&mut self, forward: Forward) {
        self.forward = Some(forward);
    }

    /// Fails unless the last call was `forward`, and succeeded.
    pub(crate) fn check_forward(&self, forward: Forward) -> Result<(), Error> {
        if self.forward == Some(forward) { Ok(()) } else { Err(Error::NoForward) }
    }

    /// Grows every buffer to at least `sizes` and lends them out.
    pub(crate) fn buffers(&mut self, sizes: Sizes) -> Result<Buffers<'_>, Error> {
        let Sizes { anchors, candidates, padded_candidates, sums, dim, threads, .. } = sizes;
        grow(&mut self.slots, Side::Anchors, threads, 1)?;
        for Slot(slot) in &mut self.slots[..threads] {
            let slot = slot.get_mut().unwrap_or_else(PoisonError::into_inner);
            slot.anchors.grow(Side::Anchors, sizes.anchor_words, 1)?;
            slot.scratch.grow(Side::Anchors, sizes.scratch, 1)?;
            grow(&mut slot.shortlists, Side::Anchors, sizes.shortlists, 1)?;
        }
        Ok(Buffers {
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, anchors, 1)?,
            candidate_norms: grow(&mut self.candidate_norms, Side::Candidates, candidates, 1)?,
            candidate_sums: grow(&mut self.candidate_sums, Side::Candidates, sums, dim)?,
            panels: self.panels.grow(Side::Candidates, padded_candidates, sizes.stride)?,
            centers: grow(&mut self.centers, Side::Candidates, sizes.centers, 1)?,
            progress: grow(&mut self.progress, Side::Anchors, sizes.blocks, 1)?,
            slots: &self.slots,
            stats: grow(&mut self.stats, Side::Anchors, anchors, 1)?,
        })
    }

    /// Grows what a backward pass needs beyond what `forward`, whose results are here, has grown, and lends both out.
    pub(crate) fn gradient_buffers(
        &mut self,
        forward: Forward,
        sums: usize,
        threads: usize,
    ) -> Result<GradientBuffers<'_>, Error> {
        let Forward { anchors, candidates, dim, .. } = forward;
        grow(&mut self.slots, Side::Anchors, threads, 1)?;
        for Slot(slot) in &mut self.slots[..threads] {
            let slot = slot.get_mut().unwrap_or_else(PoisonError::into_inner);
            grow(&mut slot.gradient, Side::Anchors, dim, 1)?;
        }
        // The derivative of each anchor's loss singles out its positive and its closest negative.
        let overflow = Error::SizeOverflow { side: Side::Anchors, rows: anchors, columns: 2 };
        let elements = anchors.checked_mul(2).ok_or(overflow)?;
        Ok(GradientBuffers {
            anchor_norms: &self.anchor_norms[..anchors],
            candidate_norms: &self.candidate_norms[..candidates],
            candidate_sum: &self.candidate_sums[..dim],
            stats: &self.stats[..anchors],
            slots: &self.slots,
            shares: grow(&mut self.shares, Side::Anchors, anchors, 1)?,
            anchor_sums: grow(&mut self.anchor_sums, Side::Anchors, sums, dim)?,
            by_anchor: self.by_anchor.grow(Side::Anchors, anchors, elements)?,
            by_candidate: self.by_candidate.grow(Side::Candidates, candidates, elements)?,
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

    /// Keeps how the screens did.
    pub(crate) fn keep_screening(&mut self, screening: Screening) {
        self.screening = screening;
    }
}

/// `rows * columns` elements of `buffer`, which grows if it is shorter.
fn grow<T: Default>(buffer: &mut Vec<T>, side: Side, rows: usize, columns: usize) -> Result<&mut [T], Error> {
    let overflow = Error::SizeOverflow { side, rows, columns };
    let length = rows.checked_mul(columns).ok_or(overflow)?;
    if buffer.len() < length {
        let bytes = length.checked_mul(size_of::<T>()).ok_or(overflow)?;
        let missing = length - buffer.len();
        buffer.try_reserve_exact(missing).map_err(|_| Error::OutOfMemory { bytes })?;
        buffer.resize_with(length, T::default);
    }
    Ok(&mut buffer[..length])
}

/// A vector whose lent slice starts at a cache line.
#[derive(Debug, Default)]
struct AlignedVec<T>(Vec<T>);

impl<T: Default> AlignedVec<T> {
    /// The elements that alignment may cost.
    const SLACK: usize = ALIGNMENT / size_of::<T>();

    /// `rows * columns` elements from a cache line on, after growing if there are fewer.
    fn grow(&mut self, side: Side, rows: usize, columns: usize) -> Result<&mut [T], Error> {
        let overflow = Error::SizeOverflow { side, rows, columns };
        let length = rows.checked_mul(columns).ok_or(overflow)?;
        grow(&mut self.0, side, length.checked_add(Self::SLACK).ok_or(overflow)?, 1)?;
        Ok(&mut self.aligned()[..length])
    }

    /// All elements from a cache line on.
    fn aligned(&mut self) -> &mut [T] {
        // `align_offset` may decline to answer; then the slice is unaligned, which costs time only.
        let start = self.0.as_ptr().align_offset(ALIGNMENT).min(Self::SLACK);
        self.0.get_mut(start..).unwrap_or_default()
    }
}
