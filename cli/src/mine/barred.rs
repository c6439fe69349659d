//! Passages that are no negatives of some queries, though nobody calls them positives.

use std::ops::Range;

use hardneg::{Error, Exclusions};

use super::known::Known;
use crate::score::Excluded;

/// What is excluded of the rows that are mined.
pub(crate) enum Barred {
    Nothing,
    Labels { queries: Vec<u64>, corpus: Vec<u64> },
    Lists(Known),
}

/// What is excluded of some queries in a piece of the corpus.
pub(crate) enum Part<'a> {
    Nothing,
    Labels { queries: &'a [u64], corpus: &'a [u64] },
    Lists(Known),
}

impl Barred {
    pub(crate) fn new(excluded: Excluded) -> Barred {
        match excluded {
            Excluded::Nothing => Barred::Nothing,
            Excluded::Labels { anchors, candidates } => Barred::Labels { queries: anchors, corpus: candidates },
            Excluded::Lists { offsets, indices } => Barred::Lists(Known { offsets, indices }),
        }
    }

    pub(crate) fn part(&self, queries: Range<usize>, piece: &Range<usize>) -> Result<Part<'_>, Error> {
        Ok(match self {
            Barred::Nothing => Part::Nothing,
            Barred::Labels { queries: of_queries, corpus } => {
                Part::Labels { queries: &of_queries[queries], corpus: &corpus[piece.clone()] }
            }
            Barred::Lists(lists) => Part::Lists(lists.part(queries, piece)?),
        })
    }
}

impl Part<'_> {
    /// As the library takes it.
    pub(crate) fn exclusions(&self) -> Exclusions<'_> {
        match self {
            Part::Nothing => Exclusions::None,
            Part::Labels { queries, corpus } => Exclusions::Labels { anchors: queries, candidates: corpus },
            Part::Lists(lists) => lists.exclusions(),
        }
    }
}
