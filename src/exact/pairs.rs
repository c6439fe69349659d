//! All pairs of some anchors and some candidates, exactly: a group of candidates at a time, which stays in the first-level
//! cache while all anchors are multiplied with it.

use crate::arch::Backend;
use crate::kernels::{
    MOST_ANCHORS, MOST_CANDIDATES, NormedRows, Similarities, Sought, compute_similarities, measure_similarities,
};
use crate::row_stats::{NegativeRules, Search};
use crate::rows::Rows;

use super::similarity::ExactRow;

/// The bytes of a group of candidates.
const GROUP_BYTES: usize = 24 << 10;

/// The candidates of a group at least: whole tiles of every instruction set.
const LEAST_CANDIDATES: usize = 12;

/// How many candidates of `dim` elements are in a group.
pub(crate) fn group_rows(dim: usize) -> usize {
    (GROUP_BYTES / (4 * dim)).clamp(LEAST_CANDIDATES, MOST_CANDIDATES) / LEAST_CANDIDATES * LEAST_CANDIDATES
}

/// A row whose closest negatives are searched for.
pub(crate) trait SearchedRow {
    type Search: Search;

    /// The search among the candidates of the row.
    fn search(&mut self) -> &mut Self::Search;
}

impl<S: Search> SearchedRow for S {
    type Search = S;

    fn search(&mut self) -> &mut S {
        self
    }
}

/// The pairs of some anchors and some candidates, and who is no negative of whom.
#[derive(Clone, Copy)]
pub(crate) struct PairsOf<'a> {
    pub(crate) backend: Backend,
    pub(crate) anchors: NormedRows<'a>,
    /// The row of the call that the first anchor is.
    pub(crate) first: usize,
    pub(crate) candidates: NormedRows<'a>,
    pub(crate) rules: &'a NegativeRules<'a>,
}

impl<'a> PairsOf<'a> {
    /// Anchor `row` with what its pairs are computed with one by one.
    pub(crate) fn of_row(&self, row: usize) -> ExactRow<'a> {
        let NormedRows { rows, norms } = self.anchors;
        let (backend, candidates) = (self.backend, self.candidates);
        ExactRow { backend, row: rows.row(row), norm: norms[row], candidates }
    }

    /// The bits of `run` whose candidates are no negatives of anchor `row`; bit `l` stands for candidate `first + l`.
    #[inline]
    pub(crate) fn excluded(&self, row: usize, first: usize, run: u64) -> u64 {
        self.rules.among(self.first + row, first, run)
    }

    /// Offers the pairs of the anchors from `from` on, as many as there are `rows`, with the candidates from `first` on
    /// to the searches of these anchors: candidates in ascending order for each anchor.
    pub(crate) fn search<R: SearchedRow>(
        &self,
        from: usize,
        first: usize,
        rows: &mut [R],
        similarities: &mut Similarities,
    ) {
        let (size, count) = (group_rows(self.candidates.rows.dim()), self.candidates.rows.count());
        for start in (first..count).step_by(size) {
            let group = self.candidates.range(start, size.min(count - start));
            self.search_group(from, group, start, rows, similarities);
        }
    }

    /// Computes the norms of a group of candidates that come from memory, and offers the pairs of every anchor with them
    /// to the searches of the anchors: the first anchor is multiplied with a row while the norm of the row is computed.
    pub(crate) fn measure_group<R: SearchedRow>(
        &self,
        group: Rows<'_>,
        norms: &mut [f64],
        first: usize,
        rows: &mut [R],
        similarities: &mut Similarities,
    ) {
        let (anchor, sought) = ((self.anchors.rows.row(0), self.anchors.norms[0]), sought(&mut rows[0]));
        measure_similarities(self.backend, anchor, group, norms, sought, similarities);
        self.offer(0, norms.len(), first, &mut rows[..1], similarities);
        self.search_group(1, NormedRows { rows: group, norms }, first, &mut rows[1..], similarities);
    }

    /// The pairs of the anchors from `from` on with a group of candidates, the first of which is candidate `first`.
    #[inline]
    fn search_group<R: SearchedRow>(
        &self,
        from: usize,
        group: NormedRows<'_>,
        first: usize,
        rows: &mut [R],
        similarities: &mut Similarities,
    ) {
        for (part, rows) in rows.chunks_mut(MOST_ANCHORS).enumerate() {
            let from = from + part * MOST_ANCHORS;
            let mut all_sought = [Sought::default(); MOST_ANCHORS];
            for (of_row, row) in all_sought.iter_mut().zip(&mut *rows) {
                *of_row = sought(row);
            }
            let anchors = self.anchors.range(from, rows.len());
            compute_similarities(self.backend, anchors, group, &all_sought[..rows.len()], similarities);
            self.offer(from, group.rows.count(), first, rows, similarities);
        }
    }

    /// Offers the similarities that were found of the anchors from `from` on to their searches.
    #[inline]
    fn offer<R: SearchedRow>(
        &self,
        from: usize,
        candidates: usize,
        first: usize,
        rows: &mut [R],
        similarities: &mut Similarities,
    ) {
        while let Some((row, of_row)) = similarities.next_row(candidates) {
            rows[row].search().offer_run(first, of_row, self.rules, self.first + from + row);
        }
    }
}

/// The similarities of a row that its search has a use for.
fn sought<R: SearchedRow>(row: &mut R) -> Sought {
    let search = row.search();
    let (admissible, entry) = (search.admissible(), search.entry_similarity());
    Sought { above: entry.max(admissible.low.next_down()), up_to: admissible.high }
}
