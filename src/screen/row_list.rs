//! `RowList`: what is kept of a row while its candidates are screened.

use core::ops::Range;

use super::budget::PairBudget;
use crate::exact::{ExactRow, PairsOf, SearchedRow};
use crate::kernels::{Found, MAX_WIDTH, RowHits, Window, are_many_hits};
use crate::row_stats::{Admissible, RowRule, Search};
use crate::rows::Rows;

/// The pairs of a row that may still matter, what was found among those that were computed exactly, and what the cost
/// model counts. `P` holds the pairs: a [`Shortlist`](super::Shortlist) for one closest negative, a
/// [`NeighbourList`](super::NeighbourList) for several.
#[derive(Debug)]
pub(crate) struct RowList<P: Pairs> {
    pub(super) pairs: P,
    pub(super) search: P::Search,
    /// Pairs whose intervals begin above this are above the row's lower limit for certain.
    above: f32,
    units: ScreenUnits,
    /// The pairs that were computed exactly.
    pub(super) scored: usize,
    /// The pairs that were added although they may not qualify.
    doubtful: usize,
    /// The first candidate that is not on the list though it may matter, as the row was given up there; `usize::MAX`
    /// elsewhere.
    given_up_at: usize,
}

/// The pairs of a [`RowList`], and the order in which they are computed.
pub(crate) trait Pairs: Default + Send {
    type Search: Search + Default + Send;

    /// Whether the wanted negatives are as similar as the best of a row's hits, to which the window may be raised at once;
    /// otherwise pairs that fall below the window while the hits are added are left out one by one.
    const WANTS_BEST: bool;

    /// About how many pairs of a row are computed exactly even where the screen rules out all that it can.
    fn fewest_scored(&self) -> usize;

    /// Starts a row: forgets all pairs, and begins a search among candidates with these similarities.
    fn open(&mut self, search: &mut Self::Search, admissible: Admissible);

    /// Begins a search for a row whose pairs are all computed exactly.
    fn open_search(&self, search: &mut Self::Search, admissible: Admissible);

    fn length(&self) -> usize;

    /// Whether there is no room for another pair.
    fn is_full(&self) -> bool;

    /// The candidates of the pairs.
    fn candidates(&self) -> impl Iterator<Item = usize>;

    /// A similarity that the wanted negatives reach, now that a pair that qualifies for certain is at least as similar
    /// as `lower` says.
    fn reached_with(&mut self, lower: f32) -> f32;

    /// Adds a pair, for which there is room.
    fn push(&mut self, upper: f32, candidate: usize);

    /// Drops the pairs whose intervals end below `low`.
    fn prune(&mut self, low: f32);

    /// Drops the pairs with candidates from `first` on.
    fn forget_from(&mut self, first: usize);

    /// Makes room in a full list: drops the pairs below the window and, while that leaves it more than half full and the
    /// budget allows it, computes the best pairs exactly, which raises the window the most. The list may stay full.
    fn make_room(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window, budget: &mut PairBudget);

    /// Drops the pairs that fell below the window, and brings forward what [`Pairs::score_best`] computes.
    fn close(list: &mut RowList<Self>, window: &mut Window);

    /// Computes the best pairs exactly, as far as they are still in the window, and drops those that fall below the
    /// window by it.
    fn score_best(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window);

    /// Computes what is left of the list exactly.
    fn finish(list: &mut RowList<Self>, exact: &ExactRow<'_>, window: &mut Window);

    /// Fetches the rows of the pairs that [`Pairs::score_best`] computes.
    fn prefetch_best(&self, candidates: Rows<'_>);

    /// Fetches the rows of the pairs that are left.
    fn prefetch(&self, candidates: Rows<'_>);
}

/// How an exact similarity is compared with the ends of intervals: `similarity * unit - shift`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScreenUnits {
    /// One, or what the rows of the screen were shrunk by.
    pub(crate) unit: f32,
    /// The row's shift.
    pub(crate) shift: f32,
}

impl ScreenUnits {
    /// An exact similarity in the units of the ends.
    pub(super) fn of(self, similarity: f32) -> f32 {
        similarity * self.unit - self.shift
    }
}

impl<P: Pairs> Default for RowList<P> {
    fn default() -> RowList<P> {
        RowList {
            pairs: P::default(),
            search: P::Search::default(),
            above: f32::NEG_INFINITY,
            units: ScreenUnits { unit: 1.0, shift: 0.0 },
            scored: 0,
            doubtful: 0,
            given_up_at: usize::MAX,
        }
    }
}

impl<P: Pairs> SearchedRow for RowList<P> {
    type Search = P::Search;

    fn search(&mut self) -> &mut P::Search {
        &mut self.search
    }
}

impl<P: Pairs> RowList<P> {
    pub(crate) fn fewest_scored(&self) -> usize {
        self.pairs.fewest_scored()
    }

    /// Begins the search of a row whose pairs are all computed exactly.
    pub(crate) fn open_search(&mut self, admissible: Admissible) {
        self.pairs.open_search(&mut self.search, admissible);
    }

    /// Starts a row, and opens its window. No interval is longer than `longest`.
    pub(crate) fn open(&mut self, admissible: Admissible, units: ScreenUnits, longest: f32) -> Window {
        let (above, up_to) = (units.of(admissible.low), units.of(admissible.high));
        self.pairs.open(&mut self.search, admissible);
        self.above = above;
        self.units = units;
        self.scored = 0;
        self.doubtful = 0;
        self.given_up_at = usize::MAX;
        if admissible.is_empty() {
            Window::CLOSED
        } else {
            Window { low: above, high: up_to + longest, certain: up_to }
        }
    }

    /// Ends a zero row at once. All its similarities are 0, so that the first negatives of `candidates` stand for all.
    pub(crate) fn settle_zero_row(&mut self, mut candidates: Range<usize>, rule: &RowRule<'_>) -> Window {
        let search = &mut self.search;
        if !search.admissible().admits(0.0) {
            candidates.end = candidates.start;
        }
        while let Some(index) = candidates.next().filter(|_| search.entry_similarity() < 0.0) {
            search.offer(index, 0.0, rule);
        }
        Window::CLOSED
    }

    /// Whether the row was given up, as its list was full and no budget was left: the window was closed, and exact tiles
    /// are to take over.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up_at() < usize::MAX
    }

    /// The first candidate that is not on the list of a row that was given up, though it may matter; `usize::MAX` for
    /// other rows.
    pub(crate) fn given_up_at(&self) -> usize {
        self.given_up_at
    }

    /// The candidates that are on the list.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = usize> {
        self.pairs.candidates()
    }

    /// Forgets all pairs with candidates from `first` on, which are computed in exact tiles.
    pub(crate) fn leave_to_tiles(&mut self, first: usize) {
        self.search.forget_from(first);
        self.pairs.forget_from(first);
    }

    /// Raises the window to what was found.
    pub(crate) fn raise_to_found(&mut self, window: &mut Window) {
        window.raise(self.units.of(self.search.entry_similarity()));
    }

    /// Adds the hits of a row of `pairs`, the first of whose intervals belongs to candidate `first`. A row whose list is full
    /// while the budget is spent is given up, and its window closed.
    pub(crate) fn add(
        &mut self,
        hits: RowHits<'_>,
        first: usize,
        pairs: &PairsOf<'_>,
        window: &mut Window,
        budget: &mut PairBudget,
    ) {
        let RowHits { row, width, upper, lower, found, .. } = hits;
        // What stands beyond the last candidate is nothing at all, and some candidates are no negatives.
        let present = u64::MAX >> (64 - width.min(pairs.candidates.rows.count() - first));
        let excluded = pairs.excluded(row, first, found.mask & present);
        let mut left = found.mask & present & !excluded;
        if P::WANTS_BEST && are_many_hits(left) {
            // First the window, then the list: most of what a row's first panel holds falls to the best of it.
            left &= raise_to_hits(window, found, left, upper, lower);
        }
        while left != 0 {
            let lane = left.trailing_zeros() as usize;
            left &= left - 1;
            let (upper, lower) = (upper[lane], lower[lane]);
            // What lies above the limit does not qualify.
            if lower > window.certain || !P::WANTS_BEST && upper < window.low {
                continue;
            }
            if upper > window.certain || lower <= self.above {
                self.doubtful += 1;
            } else {
                window.raise(self.pairs.reached_with(lower));
            }
            if self.pairs.is_full() {
                P::make_room(self, &pairs.of_row(row), window, budget);
                if self.pairs.is_full() {
                    self.given_up_at = first + lane;
                    window.close();
                    return;
                }
            }
            self.pairs.push(upper, first + lane);
        }
    }

    /// Drops the pairs that fell below the window.
    pub(crate) fn close(&mut self, window: &mut Window) {
        P::close(self, window);
    }

    /// Computes the best pairs exactly, as far as they are still in the window.
    pub(crate) fn score_best(&mut self, exact: &ExactRow<'_>, window: &mut Window) {
        P::score_best(self, exact, window);
    }

    /// Computes what is left of the list exactly, and ends the row.
    pub(crate) fn finish(&mut self, exact: &ExactRow<'_>, window: &mut Window) {
        P::finish(self, exact, window);
    }

    /// Fetches the rows of the pairs that [`RowList::score_best`] computes.
    pub(crate) fn prefetch_best(&self, candidates: Rows<'_>) {
        self.pairs.prefetch_best(candidates);
    }

    /// Fetches the rows of the pairs that are left.
    pub(crate) fn prefetch(&self, candidates: Rows<'_>) {
        self.pairs.prefetch(candidates);
    }

    /// How many pairs are on the list.
    pub(crate) fn length(&self) -> usize {
        self.pairs.length()
    }

    /// How many pairs were computed exactly.
    pub(crate) fn scored(&self) -> usize {
        self.scored
    }

    /// How many pairs, so far, may be on either side of a limit of the row.
    pub(crate) fn doubtful(&self) -> usize {
        self.doubtful
    }

    /// Offers the exact similarity of a pair of the list, which is one with a negative, to the search.
    pub(super) fn offer(&mut self, candidate: usize, similarity: f32) {
        self.scored += 1;
        self.search.offer_negative(candidate, similarity);
    }
}

/// Raises a window to the best of the hits `left` of a row, and returns those that are in it then. The tile has found them,
/// but for hits that are not among `left` and may have raised its window.
fn raise_to_hits(
    window: &mut Window,
    found: Found,
    left: u64,
    upper: &[f32; MAX_WIDTH],
    lower: &[f32; MAX_WIDTH],
) -> u64 {
    let is_certain = |lane: u32| upper[lane as usize] <= window.certain;
    if !ones(found.mask & !left).any(is_certain) {
        window.raise(found.reached);
        return found.raised;
    }
    let ends = ones(left).filter(|&lane| is_certain(lane)).map(|lane| lower[lane as usize]);
    let reached = ends.fold(f32::NEG_INFINITY, |one, other| if other > one { other } else { one });
    window.raise(reached);
    window.hits(upper)
}

/// The places of the bits that are set.
fn ones(mut bits: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let lane = (bits != 0).then(|| bits.trailing_zeros());
        bits &= bits.wrapping_sub(1);
        lane
    })
}
