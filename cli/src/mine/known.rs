//! The known positives of each query: a table, or row i for row i.

use std::ops::Range;
use std::path::Path;

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
        read_pairs(path, queries, corpus)
            .map(|pairs| Known::of(&pairs, queries))
            .map_err(|what| format!("{}: {what}", path.display()))
    }

    /// Sorts the pairs by queries.
    fn of(pairs: &[(usize, usize)], queries: usize) -> Known {
        let mut offsets = vec![0; queries + 1];
        for &(query, _) in pairs {
            offsets[query + 1] += 1;
        }
        for query in 0..queries {
            offsets[query + 1] += offsets[query];
        }
        let (mut next, mut indices) = (offsets.clone(), vec![0; pairs.len()]);
        for &(query, index) in pairs {
            indices[next[query]] = index;
            next[query] += 1;
        }
        Known { offsets, indices }
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

fn read_pairs(path: &Path, queries: usize, corpus: usize) -> Result<Vec<(usize, usize)>, String> {
    let mut table =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|error| error.to_string())?;
    let header = table.headers().map_err(|error| error.to_string())?;
    if header != ["query", "index"].as_slice() {
        let found: Vec<&str> = header.iter().take(4).collect();
        return Err(format!("expected the header query,index, found {}", found.join(",")));
    }
    let mut pairs = Vec::new();
    for record in table.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let number = |field: usize, what: &str, end: usize| {
            let number = record[field].parse::<usize>().ok().filter(|&number| number < end);
            number.ok_or_else(|| format!("line {line}: {what} {:?} is no row number below {end}", &record[field]))
        };
        pairs.push((number(0, "query", queries)?, number(1, "index", corpus)?));
    }
    Ok(pairs)
}
