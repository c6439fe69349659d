//! The known positives of each query: a table, or row i for row i.

use std::ops::Range;
use std::path::Path;

use crate::pairs;

/// The known positives of each query, as compressed lists.
#[derive(Debug)]
pub(crate) struct Known {
    offsets: Vec<usize>,
    indices: Vec<usize>,
}

impl Known {
    /// No query has one.
    pub(crate) fn none(queries: usize) -> Known {
        Known { offsets: vec![0; queries + 1], indices: Vec::new() }
    }

    /// Row i of the corpus for query i.
    pub(crate) fn paired(queries: usize, corpus: usize) -> Result<Known, String> {
        if queries > corpus {
            return Err(format!(
                "there are {queries} queries, but the corpus has {corpus} rows: every query needs its positive"
            ));
        }
        Ok(Known { offsets: (0..=queries).collect(), indices: (0..queries).collect() })
    }

    /// Reads a table with the header `query,index`.
    pub(crate) fn read(path: &Path, queries: usize, corpus: usize) -> Result<Known, String> {
        let (offsets, indices) = pairs::read(path, queries, corpus)?;
        Ok(Known { offsets, indices })
    }

    /// The positives of one query.
    pub(crate) fn of_query(&self, query: usize) -> &[usize] {
        &self.indices[self.offsets[query]..self.offsets[query + 1]]
    }

    /// The lists of some queries with the positives in a piece of the corpus, counted from its first row.
    pub(crate) fn part(&self, queries: Range<usize>, piece: &Range<usize>) -> Known {
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for query in queries {
            let here = self.of_query(query).iter().filter(|index| piece.contains(index));
            indices.extend(here.map(|index| index - piece.start));
            offsets.push(indices.len());
        }
        Known { offsets, indices }
    }

    /// The lists as the library takes them.
    pub(crate) fn lists(&self) -> hardneg::KnownPositives<'_> {
        hardneg::KnownPositives::Lists { offsets: &self.offsets, indices: &self.indices }
    }
}
