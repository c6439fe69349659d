//! Rows that come, change and go, the memory for them, and the center that they are packed with.

use core::ops::Range;
use std::borrow::Cow;

use super::Bank;
use super::panels::BankRows;
use crate::arch::in_default_environment;
use crate::error::{Error, Side, check_length};
use crate::exact::{SUM_BLOCK, check_finite, zero_norms};
use crate::kernels::measure_rows;
use crate::memory::{Growth, reserve};
use crate::parallel::{Chunks, Join, for_each_block};
use crate::rows::Rows;
use crate::screen::PREPARATION;

impl Bank<'_> {
    /// Gets the memory for `additional` more rows, and for no others, so that appending them allocates nothing. Where
    /// there is not enough, all that the bank keeps is copied into new memory; ask for many rows at once.
    ///
    /// ```
    /// use hardneg::Bank;
    ///
    /// let mut bank = Bank::new(vec![0.5; 8 * 100], 8)?;
    /// bank.reserve(20)?;
    /// let bytes = bank.bytes();
    /// bank.push(&[0.25; 8 * 20])?;
    /// assert_eq!(bank.bytes(), bytes);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no memory. Then the bank is as it was.
    ///
    /// # Allocation
    /// That memory: afterwards [`Bank::bytes`] are those of a new bank of as many rows, or what they were.
    #[doc(alias = "with_capacity")]
    pub fn reserve(&mut self, additional: usize) -> Result<(), Error> {
        self.reserve_for(Growth::Exact, additional, self.join(additional))
    }

    /// Appends rows, row-major. The first new row has the index that [`Bank::len`] was.
    ///
    /// A push that finds no memory left moves the whole bank to twice as much: it copies every row, under the lock that
    /// the caller may hold around the bank. [`reserve`](Bank::reserve) or
    /// [`BankOptions::capacity`](crate::BankOptions::capacity) has it done before.
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
        let new = Rows::new(Side::NewRows, rows, self.dim)?;
        check_finite(self.backend, Side::NewRows, new)?;
        let (first, join) = (self.len(), self.join_for(new.count(), new.count()));
        self.reserve_for(Growth::Doubling, new.count(), join)?;
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
        check_length(Side::NewRows, self.dim, row.len())?;
        in_default_environment(|| self.overwrite(index, row))
    }

    fn overwrite(&mut self, index: usize, row: &[f32]) -> Result<(), Error> {
        check_finite(self.backend, Side::NewRows, Rows::new(Side::NewRows, row, self.dim)?)?;
        let join = self.join_for(0, 1);
        self.reserve_for(Growth::Exact, 0, join)?;
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
        self.reserve_for(Growth::Exact, 0, join)?;
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

    /// Whether it is time to [`recenter`](Bank::recenter): as many rows have changed as there were when the center was
    /// taken, so that the next change takes it anew, unless that is [left](crate::BankOptions::auto_recenter) to the
    /// caller. Never where no screen in integers is kept, which needs no center.
    #[must_use]
    pub fn is_recenter_due(&self) -> bool {
        !self.is_empty() && self.panels.is_due_after(1)
    }

    /// Takes the center of the rows anew, and packs all of them with it: the screens rule out as much then as in a new
    /// bank of these rows. No bit of a result changes.
    ///
    /// It reads every row once, for each screen in integers, at a time when the service likes: before the change that
    /// would do it, or on a [clone](Bank::try_clone) that takes the bank's place afterwards.
    ///
    /// ```
    /// use hardneg::{BankOptions, Screen};
    ///
    /// let options = BankOptions::new().screens(&[Screen::I8]).auto_recenter(false);
    /// let mut bank = options.build(vec![0.5, 0.25, 0.25, 0.5], 2)?;
    /// for _ in 0..2 {
    ///     bank.replace(0, &[0.75, 0.5])?;
    /// }
    /// assert!(bank.is_recenter_due());
    /// bank.recenter()?;
    /// assert!(!bank.is_recenter_due());
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no memory for the scratch of several threads. Then the bank is as it was.
    ///
    /// # Allocation
    /// None on one thread.
    pub fn recenter(&mut self) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let (count, join) = (self.len(), self.join(self.len()));
        self.panels.reserve(Growth::Exact, count, join.threads())?;
        let bank = BankRows { rows: Rows::known(&self.rows, self.dim), norms: &self.norms };
        in_default_environment(|| self.panels.recenter(join, bank));
        Ok(())
    }
}

impl Bank<'_> {
    /// How so many rows are prepared.
    pub(super) fn join(&self, rows: usize) -> Join {
        self.threads.join(rows.saturating_mul(self.dim) as f64 * PREPARATION)
    }

    /// How a change is prepared after which there are `additional` more rows, `changed` of them new or overwritten:
    /// with all rows, if it takes the center anew.
    fn join_for(&self, additional: usize, changed: usize) -> Join {
        let all = self.panels.recenters_after(changed);
        self.join(if all { self.len().saturating_add(additional) } else { changed })
    }

    fn check_index(&self, row: usize) -> Result<(), Error> {
        if row < self.len() { Ok(()) } else { Err(Error::RowOutOfRange { row, rows: self.len() }) }
    }

    /// Gets the memory for `additional` rows.
    fn reserve_for(&mut self, growth: Growth, additional: usize, join: Join) -> Result<(), Error> {
        let (rows, dim) = (self.len(), self.dim);
        let overflow = Error::SizeOverflow { side: Side::Candidates, rows, columns: dim };
        let count = rows.checked_add(additional).ok_or(overflow)?;
        count.checked_mul(dim).ok_or(overflow)?;
        self.reserve_beside_rows(growth, count, join)?;
        self.own_rows(growth, count)
    }

    /// Gets the memory for all that is kept of `count` rows but the rows.
    pub(super) fn reserve_beside_rows(&mut self, growth: Growth, count: usize, join: Join) -> Result<(), Error> {
        reserve(&mut self.norms, growth, Side::Candidates, count, 1)?;
        self.sums.reserve(growth, Side::Candidates, count.div_ceil(SUM_BLOCK))?;
        self.panels.reserve(growth, count, join.threads())
    }

    /// Gets the memory for `count` rows, to which rows that are borrowed are copied.
    pub(super) fn own_rows(&mut self, growth: Growth, count: usize) -> Result<(), Error> {
        match &mut self.rows {
            Cow::Owned(rows) => reserve(rows, growth, Side::Candidates, count, self.dim),
            Cow::Borrowed(rows) => {
                let mut owned = Vec::new();
                reserve(&mut owned, growth, Side::Candidates, count, self.dim)?;
                owned.extend_from_slice(rows);
                self.rows = Cow::Owned(owned);
                Ok(())
            }
        }
    }

    /// Sets how many norms and blocks there are.
    pub(super) fn resize(&mut self, rows: usize) {
        self.norms.resize(rows, 0.0);
        self.sums.resize(rows.div_ceil(SUM_BLOCK));
    }

    /// Computes the norms of the rows from `first` on, and adds them to their sum.
    pub(super) fn measure_from(&mut self, join: Join, first: usize) {
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
