//! The statistics of a row of similarities, and the rules that decide them. Ties, absence and hinges are defined in
//! this file alone.

use crate::error::Error;

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
    /// The largest similarity with which a negative qualifies in a row whose positive has this one.
    #[inline(always)]
    pub(crate) fn limit(self, positive: f32) -> f32 {
        match self {
            Negatives::Below => positive.next_down(),
            Negatives::AtOrBelow => positive,
            Negatives::Any => f32::INFINITY,
        }
    }
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

/// The search for a row's closest negative: offer every candidate that may be it, in any order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClosestSearch {
    /// The largest similarity that qualifies.
    limit: f32,
    positive_index: usize,
    /// The largest similarity that was found, and its candidate; negative infinity where there is none yet.
    similarity: f32,
    index: usize,
}

impl ClosestSearch {
    /// A search in no row.
    pub(crate) const EMPTY: ClosestSearch =
        ClosestSearch { limit: f32::INFINITY, positive_index: 0, similarity: f32::NEG_INFINITY, index: 0 };

    /// A search in the row whose positive is candidate `positive_index` with similarity `positive`.
    #[inline(always)]
    pub(crate) fn new(negatives: Negatives, positive: f32, positive_index: usize) -> ClosestSearch {
        let limit = negatives.limit(positive);
        ClosestSearch { limit, positive_index, similarity: f32::NEG_INFINITY, index: 0 }
    }

    /// Considers candidate `index`: it must not be the positive, it must qualify, and it must be more similar than the
    /// one found so far, or as similar with a lower index.
    #[inline(always)]
    pub(crate) fn offer(&mut self, index: usize, similarity: f32) {
        let wins = similarity > self.similarity || (similarity == self.similarity && index < self.index);
        if wins && similarity <= self.limit && index != self.positive_index {
            (self.similarity, self.index) = (similarity, index);
        }
    }

    /// Considers a run of candidates, the first of which is `first`; earlier runs had lower indices. The best of the
    /// run is found without a branch for each candidate, in lanes: hardly any run of a long row holds a better one. The
    /// positive's similarity is overwritten.
    #[inline(always)]
    pub(crate) fn offer_run(&mut self, first: usize, similarities: &mut [f32]) {
        /// Lanes of the search: a register of the widest.
        const LANES: usize = 16;
        let positive = self.positive_index.checked_sub(first).and_then(|index| similarities.get_mut(index));
        if let Some(positive) = positive {
            *positive = f32::NEG_INFINITY;
        }
        let (blocks, tail) = similarities.as_chunks::<LANES>();
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for block in blocks {
            for lane in 0..LANES {
                lanes[lane] = larger(lanes[lane], self.admitted(block[lane]));
            }
        }
        let mut best = f32::NEG_INFINITY;
        for &similarity in tail {
            best = larger(best, self.admitted(similarity));
        }
        if !blocks.is_empty() {
            let mut half = LANES / 2;
            while half > 0 {
                for lane in 0..half {
                    lanes[lane] = larger(lanes[lane], lanes[lane + half]);
                }
                half /= 2;
            }
            best = larger(best, lanes[0]);
        }
        if best > self.similarity {
            let index = similarities.iter().position(|&similarity| similarity == best);
            (self.similarity, self.index) = (best, first + index.unwrap_or(0));
        }
    }

    /// A similarity that qualifies, and negative infinity in the place of others.
    #[inline(always)]
    fn admitted(&self, similarity: f32) -> f32 {
        if similarity <= self.limit { similarity } else { f32::NEG_INFINITY }
    }

    /// Considers what a search of other candidates in the same row has found.
    #[inline(always)]
    pub(crate) fn merge(&mut self, other: &ClosestSearch) {
        if let Some(found) = other.found() {
            self.offer(found.index, found.similarity);
        }
    }

    /// The closest negative among the candidates offered so far.
    #[inline(always)]
    pub(crate) fn found(&self) -> Option<ClosestNegative> {
        let (index, similarity) = (self.index, self.similarity);
        (similarity > f32::NEG_INFINITY).then_some(ClosestNegative { index, similarity })
    }
}

/// The larger one; the second where one is NaN.
#[inline(always)]
fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

/// The three numbers that a row of similarities is reduced to. All of them are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "RowStatsFields"))]
pub struct RowStats {
    positive: f32,
    mean_negative: f32,
    closest_negative: Option<ClosestNegative>,
}

impl RowStats {
    /// The statistics of a row from numbers that were computed elsewhere: by another process, in a file, on a shard.
    ///
    /// ```
    /// use hardneg::{ClosestNegative, RowStats, TripletLoss};
    ///
    /// let row = RowStats::new(0.8, 0.1, Some(ClosestNegative::new(7, 0.75)?))?;
    /// assert!((TripletLoss::new().reduce(&[row])?.loss - 0.2).abs() < 1e-6);
    /// assert!(RowStats::new(f32::NAN, 0.1, None).is_err());
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// A similarity is not finite.
    pub fn new(
        positive: f32,
        mean_negative: f32,
        closest_negative: Option<ClosestNegative>,
    ) -> Result<RowStats, Error> {
        Ok(RowStats { positive: checked(positive)?, mean_negative: checked(mean_negative)?, closest_negative })
    }

    /// A row of zeros: what memory for statistics is filled with.
    pub(crate) const ZERO: RowStats = RowStats { positive: 0.0, mean_negative: 0.0, closest_negative: None };

    /// Statistics that the crate computed. They are not finite where a row is not: the call finds that later and fails,
    /// so that no user gets them.
    #[inline(always)]
    pub(crate) fn computed(positive: f32, mean_negative: f32, closest_negative: Option<ClosestNegative>) -> RowStats {
        RowStats { positive, mean_negative, closest_negative }
    }

    /// Completes a row whose closest negative was found last.
    #[inline(always)]
    pub(crate) fn set_closest_negative(&mut self, closest_negative: Option<ClosestNegative>) {
        self.closest_negative = closest_negative;
    }

    /// The cosine similarity of the anchor and its positive.
    #[must_use]
    #[inline]
    pub fn positive(&self) -> f32 {
        self.positive
    }

    /// The mean cosine similarity of the anchor and its negatives, summed in `f64`.
    #[must_use]
    #[inline]
    pub fn mean_negative(&self) -> f32 {
        self.mean_negative
    }

    /// The closest negative, or `None` where no negative qualifies.
    #[must_use]
    #[inline]
    pub fn closest_negative(&self) -> Option<ClosestNegative> {
        self.closest_negative
    }

    /// The first hinge of the row: `max(mean_negative - positive + margin, 0)`.
    #[must_use]
    pub fn mean_term(&self, margin: f32) -> f64 {
        triplet_loss(self.positive, self.mean_negative, margin)
    }

    /// The second hinge of the row: `max(closest_negative - positive + margin, 0)`, and 0 without a closest negative.
    #[must_use]
    pub fn closest_term(&self, margin: f32) -> f64 {
        self.closest_negative.map_or(0.0, |closest| triplet_loss(self.positive, closest.similarity, margin))
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
    mean_negative: f32,
    closest_negative: Option<ClosestNegative>,
}

#[cfg(feature = "serde")]
impl TryFrom<RowStatsFields> for RowStats {
    type Error = Error;

    fn try_from(fields: RowStatsFields) -> Result<RowStats, Error> {
        RowStats::new(fields.positive, fields.mean_negative, fields.closest_negative)
    }
}
