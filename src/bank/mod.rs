//! `Bank`: candidates that are prepared once and met by many batches.

mod options;
mod panels;

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use crate::arch::{Backend, in_default_environment};
use crate::candidates::Candidates;
use crate::error::{Error, Side, check_length};
use crate::exact::{SUM_BLOCK, SumTree, check_finite, check_norms, zero_norms};
use crate::kernels::{Format, measure_rows};
use crate::memory::reserve;
use crate::parallel::{Chunks, Join, Threads, for_each_block};
use crate::rows::{Rows, Shape};
use crate::screen::{Methods, PREPARATION, Params, Screen, ScreenPlan, float_bound};

pub use options::BankOptions;
use panels::{BankRows, Panels};

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
/// are changed for the first time.
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
/// | change | rows that are read |
/// |---|---|
/// | [`push`](Bank::push) | the new ones, and up to 15 before them |
/// | [`replace`](Bank::replace) | the 192 of the row's block of the sum |
/// | [`swap_remove`](Bank::swap_remove) | two such blocks |
///
/// Screens in integers remove a common vector from all rows, the mean of some of them. When more rows have changed than
/// there were when it was taken, that change takes it anew and packs all rows: a constant number of rows for each
/// change, on average. The vector is a matter of time; no bit depends on it.
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
        let BankOptions { backend, threads, .. } = options;
        let panels = Panels::new(backend, dim, options.methods(dim));
        let (norms, sums) = (Vec::new(), SumTree::new(dim));
        let mut bank = Bank { dim, threads, backend, rows: Cow::Borrowed(&[]), norms, zero_rows: 0, sums, panels };
        if rows.is_empty() {
            bank.rows = rows;
            return Ok(bank);
        }
        let count = Rows::new(Side::Candidates, &rows, dim)?.count();
        let join = bank.join(count);
        bank.reserve_beside_rows(count, join)?;
        bank.rows = rows;
        bank.resize(count);
        let rows = Rows::new(Side::Candidates, &bank.rows, dim)?;
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

    /// Gets the memory for `additional` more rows, so that appending them allocates nothing.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve(&mut self, additional: usize) -> Result<(), Error> {
        self.reserve_for(additional, self.join(additional))
    }

    /// Appends rows, row-major.
    ///
    /// # Errors
    /// The rows are not a whole number of rows; a row is not finite (the error counts from the first new one); there is
    /// no memory. Then the bank is as it was.
    ///
    /// # Allocation
    /// What the new rows need beyond what was [reserved](Bank::reserve).
    #[doc(alias = "add")]
    #[doc(alias = "append")]
    #[doc(alias = "extend")]
    #[doc(alias = "extend_from_slice")]
    #[doc(alias = "insert")]
    pub fn push(&mut self, rows: &[f32]) -> Result<(), Error> {
        if rows.is_empty() { Ok(()) } else { in_default_environment(|| self.append(rows)) }
    }

    fn append(&mut self, rows: &[f32]) -> Result<(), Error> {
        let new = Rows::new(Side::Candidates, rows, self.dim)?;
        check_finite(self.backend, Side::Candidates, new)?;
        let (first, join) = (self.len(), self.join_for(new.count(), new.count()));
        self.reserve_for(new.count(), join)?;
        self.rows.to_mut().extend_from_slice(rows);
        self.resize(first + new.count());
        self.measure_from(join, first);
        self.zero_rows += zero_norms(&self.norms[first..]);
        self.update_panels(join, first..first + new.count());
        Ok(())
    }

    /// Overwrites row `index`.
    ///
    /// # Errors
    /// There is no such row; `row` has another length than the bank's rows, or is not finite; there is no memory for a
    /// copy of rows that were borrowed. Then the bank is as it was.
    ///
    /// # Allocation
    /// None, but for that copy.
    #[doc(alias = "set")]
    #[doc(alias = "update")]
    pub fn replace(&mut self, index: usize, row: &[f32]) -> Result<(), Error> {
        self.check_index(index)?;
        check_length(Side::Candidates, self.dim, row.len())?;
        in_default_environment(|| self.overwrite(index, row))
    }

    fn overwrite(&mut self, index: usize, row: &[f32]) -> Result<(), Error> {
        check_finite(self.backend, Side::Candidates, Rows::new(Side::Candidates, row, self.dim)?)?;
        let join = self.join_for(0, 1);
        self.reserve_for(0, join)?;
        self.rows.to_mut()[index * self.dim..][..row.len()].copy_from_slice(row);
        self.measure_again(index);
        self.update_panels(join, index..index + 1);
        Ok(())
    }

    /// Removes row `index` by moving the last row into its place. Returns the index that the moved row had, or `None`
    /// where the removed row was the last.
    ///
    /// # Errors
    /// There is no such row; there is no memory for a copy of rows that were borrowed. Then the bank is as it was.
    ///
    /// # Allocation
    /// None, but for that copy.
    #[doc(alias = "delete")]
    #[doc(alias = "remove")]
    pub fn swap_remove(&mut self, index: usize) -> Result<Option<usize>, Error> {
        self.check_index(index)?;
        in_default_environment(|| self.fill_gap(index))
    }

    fn fill_gap(&mut self, index: usize) -> Result<Option<usize>, Error> {
        let (dim, last) = (self.dim, self.len() - 1);
        let changed = if index < last { index..index + 1 } else { last..last };
        let join = self.join_for(0, changed.len());
        self.reserve_for(0, join)?;
        let rows = self.rows.to_mut();
        rows.copy_within(last * dim.., index * dim);
        rows.truncate(last * dim);
        self.zero_rows -= usize::from(self.norms[index] == 0.0);
        self.norms.swap(index, last);
        self.resize(last);
        if !last.is_multiple_of(SUM_BLOCK) {
            self.sum_again(last / SUM_BLOCK);
        }
        if index < last {
            self.sum_again(index / SUM_BLOCK);
        }
        self.update_panels(join, changed);
        Ok((index < last).then_some(last))
    }

    /// Removes all rows. Their memory is kept for new ones.
    pub fn clear(&mut self) {
        match &mut self.rows {
            Cow::Borrowed(rows) => *rows = &[],
            Cow::Owned(rows) => rows.clear(),
        }
        self.resize(0);
        self.zero_rows = 0;
        self.panels.clear();
    }
}

impl Bank<'_> {
    /// The rows with what was computed of them, and panels of one format, or none.
    pub(crate) fn candidates(&self, format: Option<Format>) -> Candidates<'_> {
        let (panels, extremes) = self.panels.of(format, self.len());
        let (norms, sum) = self.norms_and_sum();
        Candidates { rows: self.checked_rows(), norms, sum, panels, params: self.params(), extremes }
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
            methods,
            quantised_dim: self.panels.quantised_dim(),
            float_bound: float_bound(self.dim),
            nanoseconds: Screen::nanoseconds_of_kept(self.backend, shape, methods),
        }
    }

    /// The rows, at least one.
    fn checked_rows(&self) -> Rows<'_> {
        Rows::known(&self.rows, self.dim)
    }

    /// How so many rows are prepared.
    fn join(&self, rows: usize) -> Join {
        self.threads.join(rows.saturating_mul(self.dim) as f64 * PREPARATION)
    }

    /// How a change is prepared after which there are `additional` more rows, `changed` of them new or overwritten:
    /// with all rows, if the center is due to be taken anew.
    fn join_for(&self, additional: usize, changed: usize) -> Join {
        let all = self.panels.is_due_after(changed);
        self.join(if all { self.len().saturating_add(additional) } else { changed })
    }

    fn check_index(&self, row: usize) -> Result<(), Error> {
        if row < self.len() { Ok(()) } else { Err(Error::RowOutOfRange { row, rows: self.len() }) }
    }

    /// Gets the memory for `additional` rows.
    fn reserve_for(&mut self, additional: usize, join: Join) -> Result<(), Error> {
        let (rows, dim) = (self.len(), self.dim);
        let overflow = Error::SizeOverflow { side: Side::Candidates, rows, columns: dim };
        let count = rows.checked_add(additional).ok_or(overflow)?;
        count.checked_mul(dim).ok_or(overflow)?;
        self.reserve_beside_rows(count, join)?;
        self.own_rows(count)
    }

    /// Gets the memory for all that is kept of `count` rows but the rows.
    fn reserve_beside_rows(&mut self, count: usize, join: Join) -> Result<(), Error> {
        reserve(&mut self.norms, Side::Candidates, count, 1)?;
        self.sums.reserve(Side::Candidates, count.div_ceil(SUM_BLOCK))?;
        self.panels.reserve(count, join.threads())
    }

    /// Gets the memory for `count` rows, to which rows that are borrowed are copied.
    fn own_rows(&mut self, count: usize) -> Result<(), Error> {
        match &mut self.rows {
            Cow::Owned(rows) => reserve(rows, Side::Candidates, count, self.dim),
            Cow::Borrowed(rows) => {
                let mut owned = Vec::new();
                reserve(&mut owned, Side::Candidates, count, self.dim)?;
                owned.extend_from_slice(rows);
                self.rows = Cow::Owned(owned);
                Ok(())
            }
        }
    }

    /// Sets how many norms and blocks there are.
    fn resize(&mut self, rows: usize) {
        self.norms.resize(rows, 0.0);
        self.sums.resize(rows.div_ceil(SUM_BLOCK));
    }

    /// Computes the norms of the rows from `first` on, and adds them to their sum.
    fn measure_from(&mut self, join: Join, first: usize) {
        let (backend, dim, count) = (self.backend, self.dim, self.norms.len());
        let (rows, blocks) = (&self.rows[..], self.sums.blocks());
        let (block, next) = (first / SUM_BLOCK, first.next_multiple_of(SUM_BLOCK).min(count));
        if first < next {
            let rows = Rows::known(&rows[first * dim..next * dim], dim);
            measure_rows(backend, rows, &mut self.norms[first..next], &mut blocks[block * dim..][..dim]);
        }
        let norms = Chunks::new(&mut self.norms[next..], SUM_BLOCK);
        let sums = Chunks::new(&mut blocks[next.div_ceil(SUM_BLOCK) * dim..], dim);
        for_each_block(join, (norms, sums), &|block, (norms, sums)| {
            let rows = &rows[(next + block * SUM_BLOCK) * dim..][..norms.slice.len() * dim];
            sums.slice.fill(0.0);
            measure_rows(backend, Rows::known(rows, dim), norms.slice, sums.slice);
        });
        self.sums.update(block..count.div_ceil(SUM_BLOCK));
    }

    /// Computes the norm of a row that changed, and the sum of its block.
    fn measure_again(&mut self, index: usize) {
        self.zero_rows -= usize::from(self.norms[index] == 0.0);
        self.sum_again(index / SUM_BLOCK);
        self.zero_rows += usize::from(self.norms[index] == 0.0);
    }

    /// Computes the norms and the sum of a block.
    fn sum_again(&mut self, block: usize) {
        let (dim, first) = (self.dim, block * SUM_BLOCK);
        let end = self.norms.len().min(first + SUM_BLOCK);
        let rows = Rows::known(&self.rows[first * dim..end * dim], dim);
        let sum = &mut self.sums.blocks()[block * dim..][..dim];
        sum.fill(0.0);
        measure_rows(self.backend, rows, &mut self.norms[first..end], sum);
        self.sums.update(block..block + 1);
    }

    /// Packs rows that came or changed.
    fn update_panels(&mut self, join: Join, changed: Range<usize>) {
        if self.norms.is_empty() {
            return self.panels.clear();
        }
        let bank = BankRows { rows: Rows::known(&self.rows, self.dim), norms: &self.norms };
        self.panels.update(join, bank, changed);
    }
}

impl fmt::Debug for Bank<'_> {
    /// The shape and the screens in place of the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bank")
            .field("rows", &self.len())
            .field("dim", &self.dim)
            .field("backend", &self.backend)
            .field("screens", &self.panels.kept())
            .finish_non_exhaustive()
    }
}
