//! `Bank`: candidates that are prepared once and met by many batches.

mod changes;
mod options;
mod panels;

use core::fmt;
use core::slice::ChunksExact;
use std::borrow::Cow;

use crate::arch::Backend;
use crate::candidates::Candidates;
use crate::error::{Error, Side};
use crate::exact::{SUM_BLOCK, SumTree, check_norms, zero_norms};
use crate::kernels::Format;
use crate::memory::{Growth, try_copy};
use crate::parallel::Threads;
use crate::rows::{Rows, Shape};
use crate::screen::{Methods, Params, Screen, ScreenPlan, float_bound};

pub use options::BankOptions;
use options::Kept;
use panels::Panels;

/// Candidates, prepared for any number of batches: a catalogue, a corpus, a queue of negatives.
///
/// A bank keeps its rows with all that does not depend on the anchors: norms, sums, and the rows as the screens read
/// them. A call against it ([`Batch::against`](crate::Batch::against)) does none of that work, which for a few anchors
/// is nearly all, and returns the bits that the same rows return when they are passed raw. Any number of threads may
/// read a bank at once, each with a [`Workspace`](crate::Workspace) of its own; no lock is taken.
///
/// The k most similar rows to each query, with exclusions and thresholds, are found by [`Miner`](crate::Miner) in a
/// [`MiningBatch::against`](crate::MiningBatch::against) the bank; the loss of anchors whose negatives the rows are, by
/// [`TripletLoss`](crate::TripletLoss) in a [`Batch::against`](crate::Batch::against) it.
///
/// Rows can be [appended](Bank::push), [overwritten](Bank::replace) and [removed](Bank::swap_remove). Whatever its
/// history, a bank gives the bits of one built anew from its rows. A bank that borrows its rows copies them when they
/// are changed for the first time. One that owns them, as of a `Vec`, is a `Bank<'static>`: the type of a field, or of
/// what is in an `Arc`.
///
/// ```
/// use hardneg::{Bank, Batch, Positives, TripletLoss, Workspace};
///
/// let mut bank = Bank::new(vec![1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0], 2)?;
/// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
/// let batch = Batch::against(&[1.0, 0.1], &bank, Positives::Indices(&[0]))?;
/// let closest = loss.forward(batch, &mut workspace)?.row_stats()[0].closest_negative();
/// assert_eq!(closest.map(|closest| closest.index()), Some(2));
///
/// // The last row moves into the gap.
/// assert_eq!(bank.swap_remove(2)?, Some(3));
/// bank.push(&[0.9, 0.2])?;
/// assert_eq!((bank.len(), bank.row(2)), (4, Some(&[0.0, 1.0][..])));
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// # What changes cost
///
/// | change | rows that are read | microseconds |
/// |---|---|---:|
/// | [`push`](Bank::push) of a row, with memory for it | the new ones, and up to 15 before them | 3 |
/// | [`replace`](Bank::replace) | the 192 of the row's block of the sum | 23 |
/// | [`swap_remove`](Bank::swap_remove) | two such blocks | 28 |
/// | [`recenter`](Bank::recenter) | all, for each screen in integers | 7000 to 8600 |
/// | [`try_clone`](Bank::try_clone) | all, with what is kept of them | 31,000 to 36,000 |
/// | [`reserve`](Bank::reserve) of 1000 rows | all, where the memory's place cannot grow | 2500 to 18,000 |
/// | a push that finds no memory | the same | 250 to 65,000 |
///
/// The times are medians on one core of an AMD EPYC (Zen 4), of a bank of 50,000 rows of 256 elements with the default
/// screen; where there are two, of the backends `avx512` and `avx2`.
///
/// Screens in integers remove a common vector from all rows, their center, the mean of some of them. When more rows have
/// changed than there were when it was taken, that change takes it anew and packs all rows: a constant number of rows for
/// each change on average, but all of them at once. A service that holds a lock meanwhile has it done when it likes:
/// [`is_recenter_due`](Bank::is_recenter_due), [`recenter`](Bank::recenter), and
/// [`BankOptions::auto_recenter`] for nothing but that. The center is a matter of time; no bit depends on it.
///
/// Memory is the other thing that may fall due: see [`reserve`](Bank::reserve). Readers that shall not wait at all read
/// snapshots: see [`try_clone`](Bank::try_clone).
#[doc(alias = "index")]
#[doc(alias = "knn")]
#[doc(alias = "nearest")]
#[doc(alias = "search")]
#[doc(alias = "top_k")]
#[doc(alias = "topk")]
pub struct Bank<'a> {
    dim: usize,
    threads: Threads,
    backend: Backend,
    rows: Cow<'a, [f32]>,
    norms: Vec<f64>,
    zero_rows: usize,
    sums: SumTree,
    panels: Panels,
}

impl<'a> Bank<'a> {
    /// The bank of `rows`, row-major, of `dim` elements each, with the default [`BankOptions`]: it owns a `Vec`, and
    /// borrows a slice (of a memory-mapped file, say) without a copy. There may be no rows yet.
    ///
    /// # Errors
    /// `dim` is 0; the rows are not a whole number of rows; a row is not finite; there is no memory.
    ///
    /// # Allocation
    /// All that the bank keeps: see [`Bank::bytes`].
    pub fn new(rows: impl Into<Cow<'a, [f32]>>, dim: usize) -> Result<Bank<'a>, Error> {
        BankOptions::new().build(rows, dim)
    }

    fn built(options: BankOptions, rows: Cow<'a, [f32]>, dim: usize) -> Result<Bank<'a>, Error> {
        if dim == 0 {
            return Err(Error::ZeroDim);
        }
        let BankOptions { backend, threads, capacity, auto_recenter, .. } = options;
        let panels = Panels::new(backend, dim, options.methods(dim), auto_recenter);
        let (norms, sums) = (Vec::new(), SumTree::new(dim));
        let mut bank = Bank { dim, threads, backend, rows, norms, zero_rows: 0, sums, panels };
        let count = if bank.rows.is_empty() { 0 } else { Rows::new(Side::Candidates, &bank.rows, dim)?.count() };
        let join = bank.join(count);
        bank.reserve_beside_rows(Growth::Exact, count.max(capacity), join)?;
        if capacity > count {
            bank.own_rows(Growth::Exact, capacity)?;
        }
        if count == 0 {
            return Ok(bank);
        }
        bank.resize(count);
        let rows = Rows::known(&bank.rows, dim);
        if bank.panels.kept() == Methods::NONE {
            bank.measure_from(join, 0);
        } else {
            bank.panels.build(join, rows, &mut bank.norms, bank.sums.blocks());
            bank.sums.update(0..count.div_ceil(SUM_BLOCK));
        }
        check_norms(Side::Candidates, &bank.norms)?;
        bank.zero_rows = zero_norms(&bank.norms);
        Ok(bank)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.norms.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.norms.is_empty()
    }

    /// The length of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All rows, row-major.
    #[must_use]
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Row `index`, or `None` beyond the last.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.rows.chunks_exact(self.dim).nth(index)
    }

    /// The rows in order, each a slice of `dim` elements.
    pub fn iter(&self) -> ChunksExact<'_, f32> {
        self.rows.chunks_exact(self.dim)
    }

    /// The rows alone, row-major: the `Vec` that the bank owns, or the slice that it borrows.
    #[must_use]
    pub fn into_rows(self) -> Cow<'a, [f32]> {
        self.rows
    }

    /// A bank with the same rows, packed in the same way: all is copied, nothing is computed. Rows that are borrowed
    /// stay borrowed.
    ///
    /// A service whose readers shall not wait for a change publishes copies of a bank that its owner keeps. (The owner's
    /// has room for more rows; a copy has none, so that its first push would copy everything once more.)
    ///
    /// ```
    /// use std::sync::{Arc, RwLock};
    ///
    /// use hardneg::BankOptions;
    ///
    /// // Nobody reads the owner's bank, which changes as much as it likes.
    /// let mut own = BankOptions::new().capacity(100).build(vec![1.0, 0.0, 0.6, 0.8], 2)?;
    /// let published = RwLock::new(Arc::new(own.try_clone()?));
    /// // A reader holds the lock for as long as it takes to count a reference, and keeps what it has read.
    /// let snapshot = Arc::clone(&published.read().unwrap());
    /// own.push(&[0.0, 1.0])?;
    /// let copy = Arc::new(own.try_clone()?); // Before the lock is taken.
    /// *published.write().unwrap() = copy;
    /// assert_eq!((snapshot.len(), published.read().unwrap().len()), (2, 3));
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Allocation
    /// The bytes of a new bank of these rows, without what was reserved for more, in an allocation for each part: the
    /// rows, the norms, the panels of each screen, and the levels of the tree of sums, of which there is one for each
    /// bit of the number of blocks of 192 rows.
    #[doc(alias = "clone")]
    #[doc(alias = "snapshot")]
    pub fn try_clone(&self) -> Result<Bank<'a>, Error> {
        let rows = match &self.rows {
            Cow::Borrowed(rows) => Cow::Borrowed(*rows),
            Cow::Owned(rows) => Cow::Owned(try_copy(rows, Side::Candidates)?),
        };
        let norms = try_copy(&self.norms, Side::Candidates)?;
        let (sums, panels) = (self.sums.try_clone(Side::Candidates)?, self.panels.try_clone(self.len())?);
        Ok(Bank { rows, norms, sums, panels, ..*self })
    }

    /// The instruction set that the bank is packed for, with which calls against it compute.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The bytes of the rows, also where they are borrowed, and of all that is kept of them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rows = match &self.rows {
            Cow::Borrowed(rows) => rows.len(),
            Cow::Owned(rows) => rows.capacity(),
        };
        rows * size_of::<f32>() + self.norms.capacity() * size_of::<f64>() + self.sums.bytes() + self.panels.bytes()
    }
}

impl Bank<'_> {
    /// The rows with what was computed of them, and panels of one format, or none.
    pub(crate) fn candidates(&self, format: Option<Format>) -> Candidates<'_> {
        let (panels, extremes) = self.panels.of(format, self.len());
        let (norms, sum) = self.norms_and_sum();
        Candidates { rows: self.known_rows(), norms, first: 0, sum, panels, params: self.params(), extremes }
    }

    /// The norms of the rows, and their sum.
    pub(crate) fn norms_and_sum(&self) -> (&[f64], &[f64]) {
        (&self.norms, self.sums.total())
    }

    /// How many rows have norm 0.
    pub(crate) fn zero_rows(&self) -> usize {
        self.zero_rows
    }

    /// What the rows are packed with.
    pub(crate) fn params(&self) -> Params<'_> {
        self.panels.params()
    }

    /// The screens of a call of `anchors` rows with this option.
    pub(crate) fn screens(&self, screen: Screen, anchors: usize) -> ScreenPlan {
        let shape = Shape { anchors, candidates: self.len(), dim: self.dim };
        let methods = screen.of_kept(self.backend, shape, self.panels.kept());
        ScreenPlan {
            is_direct: false,
            is_unpacked: false,
            methods,
            quantised_dim: self.panels.quantised_dim(),
            float_bound: float_bound(self.dim),
            nanoseconds: Screen::nanoseconds_of_kept(self.backend, shape, methods),
        }
    }

    /// The rows, at least one.
    fn known_rows(&self) -> Rows<'_> {
        Rows::known(&self.rows, self.dim)
    }
}

impl<'b> IntoIterator for &'b Bank<'_> {
    type Item = &'b [f32];
    type IntoIter = ChunksExact<'b, f32>;

    fn into_iter(self) -> ChunksExact<'b, f32> {
        self.iter()
    }
}

impl fmt::Debug for Bank<'_> {
    /// The shape and the options, by their names, in place of the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bank")
            .field("rows", &self.len())
            .field("dim", &self.dim)
            .field("backend", &format_args!("{}", self.backend))
            .field("threads", &format_args!("{}", self.threads))
            .field("screens", &Kept(Some(self.panels.kept())))
            .field("auto_recenter", &self.panels.auto_recenter())
            .finish_non_exhaustive()
    }
}
