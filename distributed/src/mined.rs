//! What mining over ranks has found.

use std::fmt;

use hardneg::{Neighbour, Screening};

/// The result of [`Ranks::mine`](crate::Ranks::mine): a list for each query of this rank.
#[derive(Clone, Copy)]
#[must_use]
pub struct ShardMined<'r> {
    pub(crate) k: usize,
    pub(crate) places: usize,
    pub(crate) neighbours: &'r [Neighbour],
    pub(crate) found: &'r [usize],
    pub(crate) smallest: &'r [Option<f32>],
    pub(crate) screening: Screening,
}

impl<'r> ShardMined<'r> {
    /// How many queries this rank has.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.found.len()
    }

    /// The list of query `query` of this rank: the most similar first, and the lower index first on a tie. Indices are
    /// those of the whole corpus.
    ///
    /// # Panics
    /// There is no such query.
    #[must_use]
    pub fn row(&self, query: usize) -> &'r [Neighbour] {
        &self.neighbours[query * self.places..][..self.found[query]]
    }

    /// The lists of this rank's queries, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'r [Neighbour]> + '_ {
        (0..self.queries()).map(|query| self.row(query))
    }

    /// The smallest similarity of query `query` and its known positives, or `None` where it has none.
    ///
    /// # Panics
    /// There is no such query.
    #[must_use]
    pub fn positive_similarity(&self, query: usize) -> Option<f32> {
        self.smallest[query]
    }

    /// How many neighbours the lists of this rank have together.
    #[must_use]
    pub fn found(&self) -> usize {
        self.found.iter().sum()
    }

    /// How many queries of this rank have a list shorter than k.
    #[must_use]
    pub fn short_queries(&self) -> usize {
        self.found.iter().filter(|&&found| found < self.k).count()
    }

    /// Counts of the work done on all ranks.
    #[must_use]
    pub fn screening(&self) -> Screening {
        self.screening
    }
}

impl fmt::Debug for ShardMined<'_> {
    /// Counts, without the lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardMined")
            .field("queries", &self.queries())
            .field("found", &self.found())
            .field("screening", &self.screening)
            .finish_non_exhaustive()
    }
}
