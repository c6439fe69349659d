//! The statistics of a row of similarities, and the rules that decide them. Who is a negative, ties, absence and hinges
//! are defined in this file alone.

use core::cmp::Ordering;
use core::ops::Range;

use crate::arch::in_default_environment;
use crate::error::{Error, Side};
use crate::memory::grow;
use crate::positives::Positives;

/// Which candidates may be the closest negative of a row.
///
/// | value | name | candidates j with | who does this |
/// |---|---|---|---|
/// | `Below` | `below` | `s_ij < s_ip`: a negative that is harder than the positive is skipped | the course lab's text; semi-hard mining |
/// | `AtOrBelow` | `at-or-below` | `s_ij <= s_ip`: ties with the positive are kept | the course lab's code |
/// | `Any` | `any` | all negatives, also those more similar than the positive | batch-hard mining |
///
/// The name is what [`Display`](core::fmt::Display) writes and [`FromStr`](core::str::FromStr) reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Negatives {
    /// Those less similar than the positive: the course lab's text, and every semi-hard miner.
    #[default]
    Below,
    /// Those at most as similar as the positive: the course lab's code, which keeps ties.
    AtOrBelow,
    /// All of them: batch-hard mining.
    Any,
}

impl Negatives {
    /// The similarities with which a negative qualifies in a row whose positive has this one.
    #[inline(always)]
    pub(crate) fn admissible(self, positive: f32) -> Admissible {
        let high = match self {
            Negatives::Below => positive.next_down(),
            Negatives::AtOrBelow => positive,
            Negatives::Any => f32::INFINITY,
        };
        Admissible { low: f32::NEG_INFINITY, high }
    }
}

/// The similarities with which a candidate of a row qualifies: those from `low` to `high`, none where `low > high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Admissible {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Admissible {
    /// Every similarity.
    pub(crate) const ALL: Admissible = Admissible { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// No similarity.
    pub(crate) const NONE: Admissible = Admissible { low: f32::INFINITY, high: f32::NEG_INFINITY };

    #[inline(always)]
    pub(crate) fn admits(self, similarity: f32) -> bool {
        self.low <= similarity && similarity <= self.high
    }

    /// Whether no similarity qualifies.
    pub(crate) fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// The similarities that are in both.
    pub(crate) fn and(self, other: Admissible) -> Admissible {
        Admissible { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    /// Those of at least `floor`.
    pub(crate) fn from(self, floor: f32) -> Admissible {
        self.and(Admissible { low: floor, ..Admissible::ALL })
    }

    /// The similarities `s` with `s <= limit`.
    fn at_most(limit: f64) -> Admissible {
        let nearest = limit as f32;
        let high = if f64::from(nearest) > limit { nearest.next_down() } else { nearest };
        Admissible { high, ..Admissible::ALL }
    }

    /// The similarities `s` with `s >= limit`.
    fn at_least(limit: f64) -> Admissible {
        let nearest = limit as f32;
        let low = if f64::from(nearest) < limit { nearest.next_up() } else { nearest };
        Admissible { low, ..Admissible::ALL }
    }

    /// The similarities `s` with `s + margin <= limit`, where the sum is rounded to `f64`.
    fn with_margin(margin: f64, limit: f64) -> Admissible {
        let holds = |similarity: f32| f64::from(similarity) + margin <= limit;
        let near = (limit - margin) as f32;
        let near = [near.next_up(), near, near.next_down()];
        let is_last = |&similarity: &f32| holds(similarity) && !holds(similarity.next_up());
        let high = near.into_iter().find(is_last).unwrap_or_else(|| last_where(holds));
        Admissible { high, ..Admissible::ALL }
    }
}

/// The largest `f32` for which `holds` is true, or negative infinity, if it is false for every number above one for
/// which it is false: by bisection of the numbers in their order.
fn last_where(holds: impl Fn(f32) -> bool) -> f32 {
    // Number 0 is negative infinity, and each `f32` has the number after that of the next smaller one.
    const LARGEST: u32 = 2 * 0x7F80_0000;
    let nth = |number: u32| {
        let rank = i64::from(number) - i64::from(LARGEST / 2);
        let magnitude = f32::from_bits(rank.unsigned_abs() as u32);
        if rank < 0 { -magnitude } else { magnitude }
    };
    let (mut low, mut high) = (0, LARGEST);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(nth(middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    nth(low)
}

/// Which similarities with a query qualify for mining: see [`Miner`](crate::Miner). Comparisons are made in `f64`, with
/// p the smallest similarity of a query and its known positives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub(crate) negatives: Negatives,
    /// `s + a <= p`
    pub(crate) absolute_margin: Option<f64>,
    /// `s <= p - abs(p) * r`
    pub(crate) relative_margin: Option<f64>,
    pub(crate) max_similarity: Option<f64>,
    pub(crate) min_similarity: Option<f64>,
}

impl Thresholds {
    /// The similarities that qualify for a query with this p. Without it, thresholds on p keep everything.
    pub(crate) fn admissible(&self, positive: Option<f32>) -> Admissible {
        let keep = |threshold: Option<f64>, admissible: fn(f64) -> Admissible| threshold.map(admissible);
        let own = [keep(self.max_similarity, Admissible::at_most), keep(self.min_similarity, Admissible::at_least)];
        let of_positive = |positive: f32| {
            let p = f64::from(positive);
            let absolute = self.absolute_margin.map(|margin| Admissible::with_margin(margin, p));
            let relative = self.relative_margin.map(|margin| Admissible::at_most(p - p.abs() * margin));
            [Some(self.negatives.admissible(positive)), absolute, relative]
        };
        let of_positive = positive.map_or([None; 3], of_positive);
        own.into_iter().chain(of_positive).flatten().fold(Admissible::ALL, Admissible::and)
    }

    /// Whether one of them rules out similar candidates.
    pub(crate) fn have_upper(&self) -> bool {
        let upper = [self.absolute_margin, self.relative_margin, self.max_similarity];
        self.negatives != Negatives::Any || upper.iter().any(Option::is_some)
    }
}

/// Who is no negative of one row.
pub(crate) trait Exclusion: Copy {
    fn excludes(self, candidate: usize) -> bool;

    /// The bits of `run` whose candidates are excluded; bit `l` stands for candidate `first + l`.
    #[inline(always)]
    fn among(self, first: usize, run: u64) -> u64 {
        let (mut left, mut excluded) = (run, 0);
        while left != 0 {
            let lane = left.trailing_zeros();
            left &= left - 1;
            excluded |= u64::from(self.excludes(first + lane as usize)) << lane;
        }
        excluded
    }
}

/// Nobody is excluded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoExclusion;

impl Exclusion for NoExclusion {
    #[inline(always)]
    fn excludes(self, _candidate: usize) -> bool {
        false
    }
}

/// Who is no negative of each row of a call.
pub(crate) trait RowExclusions: Copy + Sync {
    type Row: Exclusion;

    /// Who is no negative of row `row`.
    fn of(self, row: usize) -> Self::Row;
}

/// The positive of a row, which alone is no negative of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnlyPositive(usize);

impl OnlyPositive {
    /// The row whose positive is candidate `index`, if it is one.
    #[inline(always)]
    pub(crate) fn new(index: Option<usize>) -> OnlyPositive {
        // No candidate has this index.
        OnlyPositive(index.unwrap_or(usize::MAX))
    }
}

impl Exclusion for OnlyPositive {
    #[inline(always)]
    fn excludes(self, candidate: usize) -> bool {
        candidate == self.0
    }

    #[inline(always)]
    fn among(self, first: usize, run: u64) -> u64 {
        let lane = self.0.wrapping_sub(first);
        if lane < 64 { run & (1 << lane) } else { 0 }
    }
}

impl RowExclusions for Positives<'_> {
    type Row = OnlyPositive;

    #[inline(always)]
    fn of(self, row: usize) -> OnlyPositive {
        OnlyPositive::new(self.index(row))
    }
}

/// What is excluded of all candidates, in the form in which it is looked up.
#[derive(Clone, Copy)]
pub(crate) enum Excluded<'a> {
    Nothing,
    /// The candidates with the label of the anchor.
    Labels {
        anchors: &'a [u64],
        candidates: &'a [u64],
    },
    Lists(SortedLists<'a>),
}

/// For each row some candidates, each once, in ascending order: the excluded ones, and the positive if it is one.
#[derive(Clone, Copy)]
pub(crate) struct SortedLists<'a> {
    /// Where each list begins.
    pub(crate) starts: &'a [usize],
    pub(crate) lengths: &'a [usize],
    pub(crate) indices: &'a [usize],
}

impl<'a> SortedLists<'a> {
    /// The list of one row.
    #[inline(always)]
    pub(crate) fn of(self, row: usize) -> &'a [usize] {
        &self.indices[self.starts[row]..][..self.lengths[row]]
    }
}

/// Who is no negative of each row of a call: its positive, and what is excluded for it.
#[derive(Clone, Copy)]
pub(crate) struct NegativeRules<'a> {
    pub(crate) positives: Positives<'a>,
    pub(crate) excluded: Excluded<'a>,
}

impl<'a> RowExclusions for NegativeRules<'a> {
    type Row = RowRule<'a>;

    #[inline(always)]
    fn of(self, row: usize) -> RowRule<'a> {
        let excluded = match self.excluded {
            Excluded::Nothing => RowExcluded::Indices(&[]),
            Excluded::Labels { anchors, candidates } => RowExcluded::Label { label: anchors[row], labels: candidates },
            Excluded::Lists(lists) => RowExcluded::Indices(lists.of(row)),
        };
        RowRule { positive: self.positives.of(row), excluded }
    }
}

/// Who is no negative of one row: its positive, and what is excluded for it.
#[derive(Clone, Copy)]
pub(crate) struct RowRule<'a> {
    positive: OnlyPositive,
    excluded: RowExcluded<'a>,
}

#[derive(Clone, Copy)]
enum RowExcluded<'a> {
    /// The candidates with this label.
    Label { label: u64, labels: &'a [u64] },
    /// These candidates, in ascending order.
    Indices(&'a [usize]),
}

impl Exclusion for RowRule<'_> {
    #[inline(always)]
    fn excludes(self, candidate: usize) -> bool {
        self.positive.excludes(candidate)
            || match self.excluded {
                RowExcluded::Label { label, labels } => labels[candidate] == label,
                RowExcluded::Indices(indices) => indices.binary_search(&candidate).is_ok(),
            }
    }
}

impl RowRule<'_> {
    /// The next run of negatives from candidate `from` on, of `candidates` candidates; none after the last one.
    pub(crate) fn next_run(self, from: usize, candidates: usize) -> Option<Range<usize>> {
        let start = (from..candidates).find(|&candidate| !self.excludes(candidate))?;
        let end = (start..candidates).find(|&candidate| self.excludes(candidate)).unwrap_or(candidates);
        Some(start..end)
    }
}

/// Who is no negative of each query: its known positives, what is excluded for it, and where a function says so.
#[derive(Clone, Copy)]
pub(crate) struct MiningRules<'a> {
    pub(crate) rules: NegativeRules<'a>,
    /// The known positives, where a query has any number of them.
    pub(crate) known: Option<SortedLists<'a>>,
    pub(crate) predicate: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

impl<'a> RowExclusions for MiningRules<'a> {
    type Row = QueryRule<'a>;

    #[inline(always)]
    fn of(self, row: usize) -> QueryRule<'a> {
        let known = self.known.map_or(&[][..], |lists| lists.of(row));
        QueryRule { row, rule: self.rules.of(row), known, predicate: self.predicate }
    }
}

/// Who is no negative of one query.
#[derive(Clone, Copy)]
pub(crate) struct QueryRule<'a> {
    row: usize,
    rule: RowRule<'a>,
    /// The known positives, in ascending order.
    known: &'a [usize],
    predicate: Option<&'a (dyn Fn(usize, usize) -> bool + Sync)>,
}

impl Exclusion for QueryRule<'_> {
    /// The function is asked last: it may take its time.
    #[inline(always)]
    fn excludes(self, candidate: usize) -> bool {
        self.rule.excludes(candidate)
            || self.known.binary_search(&candidate).is_ok()
            || self.predicate.is_some_and(|predicate| predicate(self.row, candidate))
    }
}

/// A candidate near a query: its index and their cosine similarity.
///
/// ```
/// use hardneg::Neighbour;
///
/// // The lists of two shards, the second of which begins at candidate 100.
/// let first = [Neighbour { index: 7, similarity: 0.9 }, Neighbour { index: 3, similarity: 0.5 }];
/// let second = [Neighbour { index: 104, similarity: 0.7 }, Neighbour { index: 100, similarity: 0.5 }];
/// let mut closest = [Neighbour::default(); 3];
/// assert_eq!(Neighbour::merge(&first, &second, &mut closest), 3);
/// assert_eq!(closest.map(|neighbour| neighbour.index), [7, 104, 3]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(clippy::exhaustive_structs)] // Both numbers are all there is to it.
pub struct Neighbour {
    /// The candidate.
    pub index: usize,
    /// The cosine similarity of the query and the candidate.
    pub similarity: f32,
}

impl Neighbour {
    /// Whether this one stands before the other in a list: it is more similar, or as similar with a lower index.
    #[must_use]
    #[inline(always)]
    pub fn precedes(self, other: Neighbour) -> bool {
        let (ours, theirs) = (order_key(self.similarity), order_key(other.similarity));
        ours > theirs || (ours == theirs && self.index < other.index)
    }

    /// The order of a list, the closest first.
    #[inline(always)]
    pub(crate) fn order(self, other: Neighbour) -> Ordering {
        if self.precedes(other) {
            Ordering::Less
        } else if other.precedes(self) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    /// Merges two lists of the same query, the closest first and the lower index first on a tie, into one: as many as
    /// there is room for. Returns how many there are.
    ///
    /// The lists of shards merge in any order of shards to the list of the whole, if every shard has its k closest and
    /// its candidates' indices in the whole. [`Miner::skip`](crate::Miner::skip) counts from the start of the merged
    /// list: mine k + skip of each shard, and drop the first ones at the end.
    ///
    /// # Allocation
    /// None.
    #[must_use = "places beyond the number that is returned keep what they held"]
    pub fn merge(first: &[Neighbour], second: &[Neighbour], into: &mut [Neighbour]) -> usize {
        let (mut first, mut second) = (first, second);
        let mut merged = 0;
        for slot in into {
            let from = match (first.first(), second.first()) {
                (Some(a), Some(b)) if b.precedes(*a) => &mut second,
                (None, _) => &mut second,
                _ => &mut first,
            };
            let Some((next, rest)) = from.split_first() else { break };
            (*slot, *from) = (*next, rest);
            merged += 1;
        }
        merged
    }
}

/// A whole number in whose order similarities are, zeros of both signs being equal. A comparison of numbers would call
/// subnormal ones equal where the caller's thread flushes them to 0.
#[inline(always)]
fn order_key(similarity: f32) -> i32 {
    let bits = similarity.to_bits().cast_signed();
    if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits }
}

/// The closest negative of a row: the index of its candidate, and their cosine similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "ClosestNegativeFields"))]
pub struct ClosestNegative {
    index: usize,
    similarity: f32,
}

impl ClosestNegative {
    /// Candidate `index` with this cosine similarity, from another process, a file or a shard.
    ///
    /// # Errors
    /// The similarity is not finite.
    pub fn new(index: usize, similarity: f32) -> Result<ClosestNegative, Error> {
        Ok(ClosestNegative { index, similarity: checked(similarity)? })
    }

    /// The candidate; the lowest index where several are equally similar.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.index
    }

    /// The cosine similarity of the anchor and the candidate.
    #[must_use]
    #[inline]
    pub fn similarity(self) -> f32 {
        self.similarity
    }
}

/// The search for the closest negatives of a row: offer every candidate that may be one, in any order.
pub(crate) trait Search {
    /// The similarities that qualify.
    fn admissible(&self) -> Admissible;

    /// A similarity below which a candidate is not wanted any more. One that is as similar may be, for its index.
    fn bar(&self) -> f32;

    /// Puts a candidate that qualifies among those found, if it precedes one of them or there are too few.
    fn put(&mut self, found: Neighbour);

    /// Forgets those found from candidate `first` on, which will be offered again.
    fn forget_from(&mut self, first: usize);

    /// The candidates found so far, the closest first. The search ends with it.
    fn sorted(&mut self) -> &[Neighbour];

    /// Considers candidate `index`: it must qualify, must not be excluded, and must precede one that was found.
    #[inline(always)]
    fn offer(&mut self, index: usize, similarity: f32, exclusion: impl Exclusion) {
        if similarity >= self.bar() && self.admissible().admits(similarity) && !exclusion.excludes(index) {
            self.put(Neighbour { index, similarity });
        }
    }

    /// Considers a run of candidates, the first of which is `first`; earlier runs had lower indices. The best of the
    /// run is found without a branch for each candidate: hardly any run of a long row holds one that is wanted.
    #[inline(always)]
    fn offer_run(&mut self, first: usize, similarities: &[f32], exclusion: impl Exclusion) {
        let Admissible { low, high } = self.admissible();
        let best = largest_up_to(high, similarities);
        if best > self.bar() && best >= low {
            for (index, &similarity) in similarities.iter().enumerate() {
                self.offer(first + index, similarity, exclusion);
            }
        }
    }
}

/// The search for a row's closest negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClosestSearch {
    admissible: Admissible,
    /// The closest that was found; its similarity is negative infinity where there is none yet.
    closest: Neighbour,
}

impl ClosestSearch {
    /// A search in no row.
    pub(crate) const EMPTY: ClosestSearch = ClosestSearch::new(Admissible::ALL);

    /// A search among the candidates with these similarities.
    #[inline(always)]
    pub(crate) const fn new(admissible: Admissible) -> ClosestSearch {
        ClosestSearch { admissible, closest: Neighbour { index: usize::MAX, similarity: f32::NEG_INFINITY } }
    }

    /// Considers what a search of other candidates in the same row has found.
    #[inline(always)]
    pub(crate) fn merge(&mut self, other: &ClosestSearch) {
        if other.found().is_some() {
            self.put(other.closest);
        }
    }

    /// The closest negative among the candidates offered so far.
    #[inline(always)]
    pub(crate) fn found(&self) -> Option<ClosestNegative> {
        let Neighbour { index, similarity } = self.closest;
        (similarity > f32::NEG_INFINITY).then_some(ClosestNegative { index, similarity })
    }
}

impl Search for ClosestSearch {
    #[inline(always)]
    fn admissible(&self) -> Admissible {
        self.admissible
    }

    #[inline(always)]
    fn bar(&self) -> f32 {
        self.closest.similarity
    }

    #[inline(always)]
    fn put(&mut self, found: Neighbour) {
        if found.precedes(self.closest) {
            self.closest = found;
        }
    }

    fn forget_from(&mut self, first: usize) {
        if self.closest.index >= first {
            *self = ClosestSearch::new(self.admissible);
        }
    }

    fn sorted(&mut self) -> &[Neighbour] {
        let found = usize::from(self.found().is_some());
        &core::slice::from_ref(&self.closest)[..found]
    }
}

/// The search for the k closest negatives of a row: a heap whose root is the one that every other one precedes.
#[derive(Debug)]
pub(crate) struct ClosestList {
    admissible: Admissible,
    /// Room for k candidates, the first `length` of which were found.
    heap: Vec<Neighbour>,
    k: usize,
    length: usize,
}

impl Default for ClosestList {
    fn default() -> ClosestList {
        ClosestList { admissible: Admissible::ALL, heap: Vec::new(), k: 0, length: 0 }
    }
}

impl ClosestList {
    /// Makes room for `k` candidates.
    pub(crate) fn grow(&mut self, k: usize) -> Result<(), Error> {
        grow(&mut self.heap, Side::Output, k, 1).map(|_| ())
    }

    /// Starts the search for the `k` closest, at least one, among the candidates with these similarities. There is room
    /// for them.
    pub(crate) fn open(&mut self, admissible: Admissible, k: usize) {
        (self.admissible, self.k, self.length) = (admissible, k, 0);
    }

    /// Moves a candidate up from the end of the heap.
    fn rise(&mut self, found: Neighbour) {
        let mut at = self.length;
        self.length += 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.heap[parent].precedes(found) {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = found;
    }

    /// Puts a candidate in the place of the root, and moves it down.
    fn replace_root(&mut self, found: Neighbour) {
        let heap = &mut self.heap[..self.length];
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child + 1 < heap.len() && heap[child].precedes(heap[child + 1]) {
                child += 1;
            }
            if child >= heap.len() || !found.precedes(heap[child]) {
                break;
            }
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = found;
    }
}

impl Search for ClosestList {
    #[inline(always)]
    fn admissible(&self) -> Admissible {
        self.admissible
    }

    #[inline(always)]
    fn bar(&self) -> f32 {
        if self.length < self.k { f32::NEG_INFINITY } else { self.heap[0].similarity }
    }

    #[inline(always)]
    fn put(&mut self, found: Neighbour) {
        if self.length < self.k {
            self.rise(found);
        } else if found.precedes(self.heap[0]) {
            self.replace_root(found);
        }
    }

    fn forget_from(&mut self, first: usize) {
        let found = core::mem::take(&mut self.length);
        for at in 0..found {
            // What was kept so far stands before it.
            if self.heap[at].index < first {
                self.rise(self.heap[at]);
            }
        }
    }

    fn sorted(&mut self) -> &[Neighbour] {
        let found = &mut self.heap[..self.length];
        found.sort_unstable_by(|first, second| first.order(*second));
        found
    }
}

/// The largest number that is at most `limit`, and negative infinity without one. In lanes, as the instruction sets
/// have them: one number after the other waits for the one before it.
#[inline(always)]
fn largest_up_to(limit: f32, numbers: &[f32]) -> f32 {
    const LANES: usize = 16;
    let larger = |one: f32, other: f32| if one > other { one } else { other };
    let admitted = |number: f32| if number <= limit { number } else { f32::NEG_INFINITY };
    let (blocks, tail) = numbers.as_chunks::<LANES>();
    let mut best = f32::NEG_INFINITY;
    for &number in tail {
        best = larger(admitted(number), best);
    }
    let Some((first, blocks)) = blocks.split_first() else { return best };
    let mut lanes = first.map(admitted);
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = larger(admitted(block[lane]), lanes[lane]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = larger(lanes[lane + half], lanes[lane]);
        }
        half /= 2;
    }
    larger(lanes[0], best)
}

/// The three numbers that a row of similarities is reduced to. All of them are finite, as far as they are there.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "RowStatsFields"))]
pub struct RowStats {
    positive: f32,
    mean_negative: Option<f32>,
    closest_negative: Option<ClosestNegative>,
}

impl RowStats {
    /// The statistics of a row from numbers that were computed elsewhere: by another process, in a file, on a shard. A
    /// row without negatives has no mean negative.
    ///
    /// ```
    /// use hardneg::{ClosestNegative, RowStats, TripletLoss};
    ///
    /// let row = RowStats::new(0.8, Some(0.1), Some(ClosestNegative::new(7, 0.75)?))?;
    /// assert!((TripletLoss::new().reduce(&[row])?.loss - 0.2).abs() < 1e-6);
    /// assert!(RowStats::new(f32::NAN, Some(0.1), None).is_err());
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// A similarity is not finite.
    pub fn new(
        positive: f32,
        mean_negative: Option<f32>,
        closest_negative: Option<ClosestNegative>,
    ) -> Result<RowStats, Error> {
        let mean_negative = mean_negative.map(checked).transpose()?;
        Ok(RowStats { positive: checked(positive)?, mean_negative, closest_negative })
    }

    /// A row of zeros: what memory for statistics is filled with.
    pub(crate) const ZERO: RowStats = RowStats { positive: 0.0, mean_negative: None, closest_negative: None };

    /// Statistics that the crate computed. They are not finite where a row is not: the call finds that later and fails,
    /// so that no user gets them.
    #[inline(always)]
    pub(crate) fn computed(
        positive: f32,
        mean_negative: Option<f32>,
        closest_negative: Option<ClosestNegative>,
    ) -> RowStats {
        RowStats { positive, mean_negative, closest_negative }
    }

    /// Completes a row whose closest negative was found last.
    #[inline(always)]
    pub(crate) fn set_closest_negative(&mut self, closest_negative: Option<ClosestNegative>) {
        self.closest_negative = closest_negative;
    }

    /// Replaces the mean of a row of which some candidates are excluded.
    #[inline(always)]
    pub(crate) fn set_mean_negative(&mut self, mean_negative: Option<f32>) {
        self.mean_negative = mean_negative;
    }

    /// The cosine similarity of the anchor and its positive.
    #[must_use]
    #[inline]
    pub fn positive(&self) -> f32 {
        self.positive
    }

    /// The mean cosine similarity of the anchor and its negatives, summed in `f64`, or `None` where all candidates are
    /// excluded.
    #[must_use]
    #[inline]
    pub fn mean_negative(&self) -> Option<f32> {
        self.mean_negative
    }

    /// The closest negative, or `None` where no negative qualifies.
    #[must_use]
    #[inline]
    pub fn closest_negative(&self) -> Option<ClosestNegative> {
        self.closest_negative
    }

    /// The first hinge of the row: `max(mean_negative - positive + margin, 0)`, and 0 without a mean negative.
    #[must_use]
    pub fn mean_term(&self, margin: f32) -> f64 {
        in_default_environment(|| self.terms(margin)[0])
    }

    /// The second hinge of the row: `max(closest_negative - positive + margin, 0)`, and 0 without a closest negative.
    #[must_use]
    pub fn closest_term(&self, margin: f32) -> f64 {
        in_default_environment(|| self.terms(margin)[1])
    }

    /// Both hinges of the row, computed in the environment of the call.
    pub(crate) fn terms(&self, margin: f32) -> [f64; 2] {
        let closest = self.closest_negative.map_or(0.0, |closest| hinge(self.positive, closest.similarity, margin));
        [self.mean_negative.map_or(0.0, |mean| hinge(self.positive, mean, margin)), closest]
    }
}

fn checked(similarity: f32) -> Result<f32, Error> {
    if similarity.is_finite() { Ok(similarity) } else { Err(Error::SimilarityNotFinite { similarity }) }
}

/// The original triplet loss of one anchor from its two similarities: `max(negative - positive + margin, 0)`, in `f64`.
///
/// The source is Schroff, Kalenichenko and Philbin, "FaceNet", 2015, with similarities in place of distances. A NaN in
/// any argument gives NaN.
///
/// ```
/// assert_eq!(hardneg::triplet_loss(0.5, 0.75, 0.25), 0.5);
/// assert_eq!(hardneg::triplet_loss(0.75, 0.25, 0.25), 0.0);
/// assert!(hardneg::triplet_loss(f32::NAN, 0.25, 0.25).is_nan());
/// ```
#[must_use]
pub fn triplet_loss(positive: f32, negative: f32, margin: f32) -> f64 {
    in_default_environment(|| hinge(positive, negative, margin))
}

fn hinge(positive: f32, negative: f32, margin: f32) -> f64 {
    let violation = f64::from(negative) - f64::from(positive) + f64::from(margin);
    // Not `f64::max`, which would turn NaN into 0.
    if violation <= 0.0 { 0.0 } else { violation }
}

/// What is read of a [`ClosestNegative`] before it is checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct ClosestNegativeFields {
    index: usize,
    similarity: f32,
}

#[cfg(feature = "serde")]
impl TryFrom<ClosestNegativeFields> for ClosestNegative {
    type Error = Error;

    fn try_from(fields: ClosestNegativeFields) -> Result<ClosestNegative, Error> {
        ClosestNegative::new(fields.index, fields.similarity)
    }
}

/// What is read of [`RowStats`] before it is checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct RowStatsFields {
    positive: f32,
    mean_negative: Option<f32>,
    closest_negative: Option<ClosestNegative>,
}

#[cfg(feature = "serde")]
impl TryFrom<RowStatsFields> for RowStats {
    type Error = Error;

    fn try_from(fields: RowStatsFields) -> Result<RowStats, Error> {
        RowStats::new(fields.positive, fields.mean_negative, fields.closest_negative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::Random;

    /// Similarities and limits, many of them neighbours.
    fn numbers(random: &mut Random) -> Vec<f32> {
        let mut numbers = vec![0.0, -0.0, 1.0, -1.0, f32::MIN_POSITIVE, 1e-40, -1e-45, 0.75, 1.000_000_1];
        numbers.extend((0..40).map(|_| random.unit()));
        let neighbours: Vec<f32> = numbers.iter().flat_map(|number| [number.next_up(), number.next_down()]).collect();
        numbers.extend(neighbours);
        numbers
    }

    /// Every threshold is compared in `f64` in the definition, and has an interval of `f32` here.
    #[test]
    fn intervals_say_what_thresholds_say() {
        let random = &mut Random(1);
        let numbers = numbers(random);
        let mut margins: Vec<f64> = vec![0.0, -0.0, 0.05, -0.05, 1e-9, 1e-17, -1e-17, 1e-320, 3.0, -3.0, 1e10, 1e300];
        margins.extend((0..20).map(|_| f64::from(random.unit())));
        let none = Thresholds {
            negatives: Negatives::Any,
            absolute_margin: None,
            relative_margin: None,
            max_similarity: None,
            min_similarity: None,
        };
        let mut on_the_edge = 0;
        for &positive in &numbers {
            for &margin in &margins {
                let p = f64::from(positive);
                let absolute = Thresholds { absolute_margin: Some(margin), ..none }.admissible(Some(positive));
                let relative = Thresholds { relative_margin: Some(margin), ..none }.admissible(Some(positive));
                // Margins of this size put the limit on one of the numbers, or beside one.
                let most = Thresholds { max_similarity: Some(p + 1e-9 * margin), ..none }.admissible(Some(positive));
                let least = Thresholds { min_similarity: Some(p + 1e-9 * margin), ..none }.admissible(Some(positive));
                let ends = [absolute.high, relative.high, most.high, least.low];
                let near = ends.into_iter().flat_map(|end| [end.next_down(), end, end.next_up()]);
                for similarity in near.filter(|end| end.is_finite()).chain(numbers.iter().copied()) {
                    let s = f64::from(similarity);
                    let what = format!("s {similarity:e}, p {positive:e}, margin {margin:e}");
                    assert_eq!(absolute.admits(similarity), s + margin <= p, "absolute: {what}");
                    assert_eq!(relative.admits(similarity), s <= p - p.abs() * margin, "relative: {what}");
                    assert_eq!(most.admits(similarity), s <= p + 1e-9 * margin, "most: {what}");
                    assert_eq!(least.admits(similarity), s >= p + 1e-9 * margin, "least: {what}");
                    on_the_edge += usize::from(s + margin == p);
                }
            }
            let at = |negatives| Thresholds { negatives, ..none }.admissible(Some(positive));
            for &similarity in &numbers {
                assert_eq!(at(Negatives::Below).admits(similarity), similarity < positive);
                assert_eq!(at(Negatives::AtOrBelow).admits(similarity), similarity <= positive);
                assert!(at(Negatives::Any).admits(similarity));
            }
        }
        assert!(on_the_edge > 1000, "{on_the_edge}");
        let all = Thresholds { absolute_margin: Some(0.1), relative_margin: Some(0.1), ..none };
        assert_eq!(all.admissible(None), Admissible::ALL);
    }

    #[test]
    fn bisection_finds_every_number() {
        for limit in [0.0, 1.0, -1.0, 1e-45, -1e-45, f32::MAX, f32::MIN, 0.3, f32::NEG_INFINITY, f32::INFINITY] {
            assert_eq!(last_where(|number| number <= limit), limit);
        }
        assert_eq!(last_where(|_| false), f32::NEG_INFINITY);
    }

    #[test]
    fn a_list_keeps_the_closest() {
        let random = &mut Random(2);
        for k in [1, 2, 3, 10, 64, 200] {
            let mut list = ClosestList::default();
            list.grow(k).unwrap();
            for turn in 0..3 {
                list.open(Admissible { low: -0.5, high: 0.5 }, k);
                let steps = [4.0, 1e6, 16.0][turn];
                let mut all = Vec::new();
                for index in 0..150 {
                    let similarity = (random.unit() * steps).round() / steps;
                    list.offer(index, similarity, OnlyPositive(7));
                    all.push(Neighbour { index, similarity });
                }
                all.retain(|pair| pair.similarity.abs() <= 0.5 && pair.index != 7);
                all.sort_by(|x, y| y.similarity.partial_cmp(&x.similarity).unwrap());
                all.truncate(k);
                assert_eq!(list.sorted(), all, "k {k}");
            }
        }
    }
}
