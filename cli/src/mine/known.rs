//! The known positives of each query: a table, or row i for row i.

use std::ops::Range;
use std::path::Path;

use super::Args;
use crate::memory::{filled, reserved, room};
use crate::pairs;

/// The known positives of each query, as compressed lists.
#[derive(Debug)]
pub struct Known {
    pub(super) offsets: Vec<usize>,
    pub(super) indices: Vec<usize>,
}

impl Known {
    /// Those that the options name.
    pub fn of_args(args: &Args, queries: usize, corpus: usize) -> Result<Known, String> {
        match &args.positives {
            Some(path) => Known::read(path, queries, corpus),
            None if args.paired => Known::paired(queries, corpus),
            None => Known::none(queries),
        }
    }

    /// No query has one.
    pub fn none(queries: usize) -> Result<Known, String> {
        Ok(Known { offsets: filled(queries + 1, 0, "offsets")?, indices: Vec::new() })
    }

    /// Row i of the corpus for query i.
    pub(crate) fn paired(queries: usize, corpus: usize) -> Result<Known, String> {
        if queries > corpus {
            return Err(format!(
                "there are {queries} queries, but the corpus has {corpus} rows: every query needs its positive"
            ));
        }
        let mut offsets = reserved(queries + 1, "offsets")?;
        let mut indices = reserved(queries, "positives")?;
        offsets.extend(0..=queries);
        indices.extend(0..queries);
        Ok(Known { offsets, indices })
    }

    /// Reads a table with the header `query,index`.
    pub(crate) fn read(path: &Path, queries: usize, corpus: usize) -> Result<Known, String> {
        let (offsets, indices) = pairs::read(path, queries, corpus)?;
        Ok(Known { offsets, indices })
    }

    /// The lists with other numbers for the passages, or without those that have none.
    pub(crate) fn map(mut self, number: impl Fn(usize) -> Option<usize>) -> Known {
        let (mut begin, mut length) = (0, 0);
        for query in 1..self.offsets.len() {
            for at in begin..self.offsets[query] {
                if let Some(index) = number(self.indices[at]) {
                    self.indices[length] = index;
                    length += 1;
                }
            }
            begin = self.offsets[query];
            self.offsets[query] = length;
        }
        self.indices.truncate(length);
        self
    }

    /// The lists as exclusions.
    pub(crate) fn exclusions(&self) -> hardneg::Exclusions<'_> {
        hardneg::Exclusions::Lists { offsets: &self.offsets, indices: &self.indices }
    }

    /// How many positives all queries have.
    pub(crate) fn len(&self) -> usize {
        self.indices.len()
    }

    /// The positives of one query.
    pub(crate) fn of_query(&self, query: usize) -> &[usize] {
        &self.indices[self.offsets[query]..self.offsets[query + 1]]
    }

    /// The lists of some queries with the positives in a piece of the corpus, counted from its first row.
    pub(crate) fn part(&self, queries: Range<usize>, piece: &Range<usize>) -> Result<Known, hardneg::Error> {
        let of_queries = &self.indices[self.offsets[queries.start]..self.offsets[queries.end]];
        let mut offsets = room(queries.len() + 1)?;
        let mut indices = room(of_queries.iter().filter(|index| piece.contains(index)).count())?;
        offsets.push(0);
        for query in queries {
            let here = self.of_query(query).iter().filter(|index| piece.contains(index));
            indices.extend(here.map(|index| index - piece.start));
            offsets.push(indices.len());
        }
        Ok(Known { offsets, indices })
    }

    /// The lists as the library takes them.
    pub fn lists(&self) -> hardneg::KnownPositives<'_> {
        hardneg::KnownPositives::Lists { offsets: &self.offsets, indices: &self.indices }
    }
}
