//! All pairs of some anchors and some candidates, exactly: a group of candidates at a time, which stays in a cache while
//! all anchors are multiplied with it. Where both sides have many rows, these are widened before.

use crate::arch::Backend;
use crate::error::Error;
use crate::kernels::{
    MOST_ANCHORS, MOST_CANDIDATES, NormedRows, STRIP_UNIT, Similarities, Sought, TileSide, WidenedPairs,
    compute_similarities, measure_similarities, multiply_widened, widened_dim,
};
use crate::row_stats::{NegativeRules, Search};
use crate::rows::{Rows, Shape};

use super::similarity::ExactRow;

/// The bytes of a group of candidates.
const GROUP_BYTES: usize = 24 << 10;

/// The candidates of a group at least: whole tiles of every instruction set.
const LEAST_CANDIDATES: usize = 12;

/// How many candidates of `dim` elements are in a group.
pub(crate) fn group_rows(dim: usize) -> usize {
    (GROUP_BYTES / (4 * dim)).clamp(LEAST_CANDIDATES, MOST_CANDIDATES) / LEAST_CANDIDATES * LEAST_CANDIDATES
}

/// The longest rows that are widened: a few strips of longer ones leave the second-level cache, and take much memory.
const MOST_DIM: usize = 1 << 13;

/// The most rows of a side that are widened at a time, and their elements: as many as stay in the second-level cache.
struct Widening {
    rows: usize,
    elements: usize,
}

/// The anchors are read once for each group of candidates, strip by strip. The more there are, the less it matters that
/// every group is widened for them: 4 % of a call with 48 of them.
const ANCHORS: Widening = Widening { rows: 48, elements: 1 << 16 };

/// A group of candidates is read for each strip of anchors.
const CANDIDATES: Widening = Widening { rows: MOST_CANDIDATES, elements: 3 << 13 };

impl Widening {
    /// How many rows are widened at a time.
    fn at_once(&self, dim: usize) -> usize {
        (self.elements / widened_dim(dim)).clamp(1, self.rows).next_multiple_of(STRIP_UNIT)
    }

    /// The elements of so many rows at most. Fewer or shorter rows never need more.
    fn most_elements(&self, rows: usize, dim: usize) -> usize {
        let dim = widened_dim(dim);
        let all = rows.min(self.rows).next_multiple_of(STRIP_UNIT).saturating_mul(dim);
        all.min(self.elements.saturating_add(dim.saturating_mul(STRIP_UNIT)))
    }
}

/// Whether the rows of a batch are widened: if there are enough pairs for each row, and rows are not so short that the
/// time goes into the ends of tiles.
fn are_widened(backend: Backend, Shape { anchors, candidates, dim }: Shape) -> bool {
    const LEAST_DIM: usize = 32;
    let (pairs, rows) = (anchors.saturating_mul(candidates), anchors.saturating_add(candidates));
    let pays = pairs >= backend.traits().costs.widened_pairs.saturating_mul(rows);
    (LEAST_DIM..=MOST_DIM).contains(&dim) && pays
}

/// Grows to what it takes to widen the rows of any batch of this shape or a smaller one.
pub(crate) fn grow_widened(similarities: &mut Similarities, backend: Backend, shape: Shape) -> Result<(), Error> {
    // Shorter rows may be widened where these are not.
    let shape = Shape { dim: shape.dim.min(MOST_DIM), ..shape };
    if !are_widened(backend, shape) {
        return Ok(());
    }
    let Shape { anchors, candidates, dim } = shape;
    similarities.widened.grow(ANCHORS.most_elements(anchors, dim), CANDIDATES.most_elements(candidates, dim))
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
    /// The candidate of the call that the first of these is.
    pub(crate) first_candidate: usize,
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
        self.rules.among(self.first + row, self.first_candidate + first, run)
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
        let (dim, count) = (self.candidates.rows.dim(), self.candidates.rows.count());
        if are_widened(self.backend, Shape { anchors: rows.len(), candidates: count - first, dim }) {
            let size = ANCHORS.at_once(dim);
            for (part, rows) in rows.chunks_mut(size).enumerate() {
                self.search_widened(from + part * size, first, rows, similarities);
            }
            return;
        }
        self.search_unwidened(from, first, rows, similarities);
    }

    /// [`PairsOf::search`], with rows as they lie in memory.
    pub(crate) fn search_unwidened<R: SearchedRow>(
        &self,
        from: usize,
        first: usize,
        rows: &mut [R],
        similarities: &mut Similarities,
    ) {
        let (size, count) = (group_rows(self.candidates.rows.dim()), self.candidates.rows.count());
        for start in (first..count).step_by(size) {
            let group = self.candidates.range(start, size.min(count - start));
            self.search_group(from, group, start, rows, similarities, false);
        }
    }

    /// [`PairsOf::search`], with rows of both sides that are widened before they are multiplied.
    fn search_widened<R: SearchedRow>(
        &self,
        from: usize,
        first: usize,
        rows: &mut [R],
        similarities: &mut Similarities,
    ) {
        let (size, count) = (CANDIDATES.at_once(self.candidates.rows.dim()), self.candidates.rows.count());
        similarities.widened.widen(self.backend, TileSide::Anchors, self.anchors.range(from, rows.len()).rows);
        for start in (first..count).step_by(size) {
            let group = self.candidates.range(start, size.min(count - start));
            similarities.widened.widen(self.backend, TileSide::Candidates, group.rows);
            self.search_group(from, group, start, rows, similarities, true);
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
        self.search_group(1, NormedRows { rows: group, norms }, first, &mut rows[1..], similarities, false);
    }

    /// The pairs of the anchors from `from` on with a group of candidates, the first of which is candidate `first`. Both
    /// are `widened` already or multiplied as they lie in memory.
    #[inline]
    fn search_group<R: SearchedRow>(
        &self,
        from: usize,
        group: NormedRows<'_>,
        first: usize,
        rows: &mut [R],
        similarities: &mut Similarities,
        widened: bool,
    ) {
        for (part, rows) in rows.chunks_mut(MOST_ANCHORS).enumerate() {
            let from = from + part * MOST_ANCHORS;
            let mut all_sought = [Sought::default(); MOST_ANCHORS];
            for (of_row, row) in all_sought.iter_mut().zip(&mut *rows) {
                *of_row = sought(row);
            }
            let (anchors, all_sought) = (self.anchors.range(from, rows.len()), &all_sought[..rows.len()]);
            let widened = widened.then_some(part * MOST_ANCHORS);
            compute(self.backend, anchors, group, widened, all_sought, similarities);
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
            rows[row].search().offer_run(self.first_candidate + first, of_row, self.rules, self.first + from + row);
        }
    }
}

/// The similarities of some anchors with a group of candidates, both as they lie in memory, or `widened`: the first of
/// the anchors among all that were.
fn compute(
    backend: Backend,
    anchors: NormedRows<'_>,
    group: NormedRows<'_>,
    widened: Option<usize>,
    sought: &[Sought],
    similarities: &mut Similarities,
) {
    if let Some(first) = widened {
        let (dim, anchor_norms, candidate_norms) = (group.rows.dim(), anchors.norms, group.norms);
        multiply_widened(backend, WidenedPairs { dim, first, anchor_norms, candidate_norms }, sought, similarities);
    } else {
        compute_similarities(backend, anchors, group, sought, similarities);
    }
}

/// The similarities of a row that its search has a use for.
fn sought<R: SearchedRow>(row: &mut R) -> Sought {
    let search = row.search();
    let (admissible, entry) = (search.admissible(), search.entry_similarity());
    Sought { above: entry.max(admissible.low.next_down()), up_to: admissible.high }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many rows as are widened at a time fit into the memory of a batch with at least as many, as long ones.
    #[test]
    fn widened_rows_fit_into_the_memory_of_their_batch() {
        for side in [ANCHORS, CANDIDATES] {
            for dim in (1..3000).chain([4096, 5000, 70_000]) {
                let (most, size) = (side.at_once(dim), widened_dim(dim));
                assert!(most.is_multiple_of(STRIP_UNIT) && (STRIP_UNIT..=side.rows).contains(&most));
                for rows in (1..2 * side.rows).chain([1000]) {
                    let taken = rows.min(most).next_multiple_of(STRIP_UNIT) * size;
                    assert!(taken <= side.most_elements(rows, dim), "{rows} x {dim}");
                    assert!(side.most_elements(rows, dim) <= side.most_elements(rows + 1, dim), "{rows} x {dim}");
                    assert!(side.most_elements(rows, dim) <= side.most_elements(rows, dim + 1), "{rows} x {dim}");
                }
            }
        }
    }
}
