//! Candidates that were found: for several of a query, and for the closest negative of a row.

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

    /// The closest negative among candidates with these similarities: of those up to `limit` but for the positive the
    /// largest one, and the first of several.
    pub(crate) fn among(similarities: &[f32], limit: f32, positive: usize) -> Option<ClosestNegative> {
        let (mut closest, mut index) = (f32::NEG_INFINITY, usize::MAX);
        for (candidate, &similarity) in similarities.iter().enumerate() {
            if similarity > closest && similarity <= limit && candidate != positive {
                (closest, index) = (similarity, candidate);
            }
        }
        (index < usize::MAX).then_some(ClosestNegative { index, similarity: closest })
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
