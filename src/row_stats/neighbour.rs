//! Candidates that were found: for several of a query, and for the closest negative of a row.

use crate::arch::in_range;
use crate::error::Error;

/// A candidate near a query: its index and their cosine similarity. With the feature `serde`, one whose similarity is not
/// finite is refused when it is read.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "NeighbourFields"))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "NeighbourFields"))]
pub struct ClosestNegative {
    pub(super) index: usize,
    pub(super) similarity: f32,
}

impl ClosestNegative {
    /// The closest negative that a search has found.
    pub(crate) fn found(neighbour: Neighbour) -> ClosestNegative {
        ClosestNegative { index: neighbour.index, similarity: neighbour.similarity }
    }

    /// The closest negative among the first `count` candidates with these similarities: of those up to `limit` but for the
    /// positive the largest one, and the first of several. In lanes, as every instruction set has them.
    #[inline(always)]
    pub(crate) fn among(similarities: &[f32; 8], count: usize, limit: f32, positive: usize) -> Option<ClosestNegative> {
        // NaN in a window of zeros: what is added to the limit of each lane, so that nothing is up to it in lane `positive`
        // and from lane `count` on.
        const POSITIVE: [f32; 16] = {
            let mut lanes = [0.0; 16];
            lanes[8] = f32::NAN;
            lanes
        };
        const BEYOND: [f32; 16] = {
            let (mut lanes, mut lane) = ([0.0; 16], 8);
            while lane < 16 {
                lanes[lane] = f32::NAN;
                lane += 1;
            }
            lanes
        };
        let (not_positive, not_beyond) = (&POSITIVE[8 - positive..][..8], &BEYOND[8 - count..][..8]);
        let mut admitted = [f32::NEG_INFINITY; 8];
        for lane in 0..8 {
            let is_admitted = similarities[lane] <= limit + not_positive[lane] + not_beyond[lane];
            admitted[lane] = if is_admitted { similarities[lane] } else { f32::NEG_INFINITY };
        }
        let (mut largest, mut half) = (admitted, 4);
        while half > 0 {
            for lane in 0..half {
                let other = largest[lane + half];
                largest[lane] = if other > largest[lane] { other } else { largest[lane] };
            }
            half /= 2;
        }
        let largest = largest[0];
        if largest == f32::NEG_INFINITY {
            return None;
        }
        // The one at the index, as the largest may be a zero of the other sign.
        let index = in_range(&admitted, largest, largest).trailing_zeros() as usize;
        Some(ClosestNegative { index, similarity: admitted[index] })
    }

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

/// What is read of a [`Neighbour`] or a [`ClosestNegative`] before it is checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct NeighbourFields {
    index: usize,
    similarity: f32,
}

#[cfg(feature = "serde")]
impl TryFrom<NeighbourFields> for Neighbour {
    type Error = Error;

    fn try_from(fields: NeighbourFields) -> Result<Neighbour, Error> {
        Ok(Neighbour { index: fields.index, similarity: checked(fields.similarity)? })
    }
}

#[cfg(feature = "serde")]
impl TryFrom<NeighbourFields> for ClosestNegative {
    type Error = Error;

    fn try_from(fields: NeighbourFields) -> Result<ClosestNegative, Error> {
        ClosestNegative::new(fields.index, fields.similarity)
    }
}

/// A similarity that came from elsewhere.
pub(super) fn checked(similarity: f32) -> Result<f32, Error> {
    if similarity.is_finite() { Ok(similarity) } else { Err(Error::SimilarityNotFinite { similarity }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::Random;

    /// In lanes as one by one: with ties, zeros of both signs, and lanes beyond the last candidate.
    #[test]
    fn the_closest_among_a_few() {
        let random = &mut Random(5);
        for turn in 0..20_000 {
            let values = [-0.5, -0.0, 0.0, 0.25, 0.5, 1.0];
            let similarities: [f32; 8] = core::array::from_fn(|_| values[random.below(values.len())]);
            let count = 2 + random.below(7);
            let positive = random.below(count);
            let limit = [f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.25, similarities[positive]][turn % 5];
            let mut expected: Option<(usize, f32)> = None;
            for (index, &similarity) in similarities[..count].iter().enumerate() {
                let is_closer = expected.is_none_or(|(_, closest)| similarity > closest);
                if index != positive && similarity <= limit && is_closer {
                    expected = Some((index, similarity));
                }
            }
            let found = ClosestNegative::among(&similarities, count, limit, positive);
            let bits = |(index, similarity): (usize, f32)| (index, similarity.to_bits());
            let found = found.map(|found| bits((found.index, found.similarity)));
            assert_eq!(found, expected.map(bits), "{similarities:?}, {count} of them, up to {limit}, but {positive}");
        }
    }
}
