//! `Task`: what a call searches for in each row; and the task of the loss.

use super::block::RowLists;
use crate::arch::Simd;
use crate::batch::Batch;
use crate::candidates::Candidates;
use crate::exact::{anchor_dots, cosine, cosine_rows, mean_negative, norm_row};
use crate::excluded::Prepared;
use crate::parallel::{Chunks, Divide};
use crate::row_stats::{Admissible, Negatives, RowExclusions, RowStats};
use crate::rows::Rows;
use crate::screen::{RowLimits, RowList, Shortlist};

/// What a call searches for in each row, and where it puts what it finds. Rows are counted from the first one of a
/// block where results are at hand, and from the first one of the call elsewhere.
pub(super) trait Task: RowExclusions {
    /// The results of some blocks of rows.
    type Results<'r>: Divide;
    /// What is kept of a row while its candidates are screened.
    type List: RowList;

    /// The same results, lent out for a shorter time.
    fn lend<'r>(results: &'r mut Self::Results<'_>) -> Self::Results<'r>;

    /// The lists of a thread that this task uses.
    fn lists(lists: &mut RowLists) -> &mut [Self::List];

    /// Writes the norms of a block's rows, the first of which is row `first`, and what else is known of a row without a
    /// pass over the candidates. A row that is not finite is found by its norm when all blocks are done; until then its
    /// similarities are NaN or anything else, and decide nothing.
    fn measure<S: Simd>(
        self,
        simd: S,
        first: usize,
        rows: Rows<'_>,
        candidates: Candidates<'_>,
        norms: &mut [f64],
        results: &mut Self::Results<'_>,
    );

    /// Rows that lie in memory one after the other, and are read first for the rows from `row` on.
    fn read_first(&self, row: usize) -> &[f32];

    /// The similarities that qualify in a row that was measured.
    fn admissible(self, results: &Self::Results<'_>, row: usize) -> Admissible;

    /// Writes what a list has found.
    fn keep(self, results: &mut Self::Results<'_>, row: usize, list: &mut Self::List);
}

/// The statistics of each anchor: its positive, its mean negative and its closest negative.
#[derive(Clone, Copy)]
pub(super) struct StatsTask<'a, E> {
    pub(super) batch: Batch<'a>,
    /// Who is no negative of whom.
    pub(super) exclusions: E,
    /// The same, with how many negatives each anchor has.
    pub(super) prepared: Prepared<'a>,
    /// The norms of the positives, where these are no candidates.
    pub(super) positive_norms: &'a [f64],
    pub(super) negatives: Negatives,
}

impl<E: RowExclusions> RowExclusions for StatsTask<'_, E> {
    type Row = E::Row;

    #[inline(always)]
    fn of(self, row: usize) -> E::Row {
        self.exclusions.of(row)
    }
}

impl<E: RowExclusions> RowLimits for StatsTask<'_, E> {
    /// The similarity of the positive.
    #[inline(always)]
    fn limit<S: Simd>(self, simd: S, row: usize) -> f64 {
        let anchor = self.batch.anchor_rows().row(row);
        let positive = self.batch.positive_row(row);
        cosine_rows(simd, anchor, norm_row(simd, anchor), positive, norm_row(simd, positive))
    }
}

impl<E: RowExclusions> Task for StatsTask<'_, E> {
    type Results<'r> = Chunks<'r, RowStats>;
    type List = Shortlist;

    fn lend<'r>(results: &'r mut Chunks<'_, RowStats>) -> Chunks<'r, RowStats> {
        results.lend()
    }

    fn lists(lists: &mut RowLists) -> &mut [Shortlist] {
        &mut lists.short
    }

    /// The norm, the positive and the mean negative of every row, the last one as if nothing was excluded; none where
    /// everything is.
    #[inline(always)]
    fn measure<S: Simd>(
        self,
        simd: S,
        first: usize,
        rows: Rows<'_>,
        candidates: Candidates<'_>,
        norms: &mut [f64],
        results: &mut Chunks<'_, RowStats>,
    ) {
        let StatsTask { batch, prepared, positive_norms, .. } = self;
        for (row, stats) in results.slice.iter_mut().enumerate() {
            let index = first + row;
            let [squared_norm, dot, total] =
                anchor_dots(simd, rows.row(row), batch.positive_row(index), candidates.sum);
            let positive = batch.positive_index(index);
            let norm = squared_norm.sqrt();
            let positive_norm = positive.map_or_else(|| positive_norms[index], |positive| candidates.norms[positive]);
            let similarity = cosine(dot, norm, positive_norm);
            let candidate = positive.map(|_| similarity);
            let mean = mean_negative(total, norm, candidate, candidates.rows.count());
            norms[row] = norm;
            let mean = (prepared.negatives(index) > 0).then_some(mean as f32);
            *stats = RowStats::computed(similarity as f32, mean, None);
        }
    }

    fn read_first(&self, row: usize) -> &[f32] {
        self.batch.rows_from_positive(row)
    }

    #[inline(always)]
    fn admissible(self, results: &Chunks<'_, RowStats>, row: usize) -> Admissible {
        let stats = results.slice[row];
        stats.mean_negative().map_or(Admissible::NONE, |_| self.negatives.admissible(stats.positive()))
    }

    #[inline(always)]
    fn keep(self, results: &mut Chunks<'_, RowStats>, row: usize, list: &mut Shortlist) {
        results.slice[row].set_closest_negative(list.search().found());
    }
}
