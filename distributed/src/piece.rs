//! `Piece`: some queries of one rank, and what is known of them, as all ranks have it.

use std::ops::Range;

use hardneg::Side;

use crate::ranks::resize;

/// The index of no candidate: what follows the last neighbour of a list, and a known positive that is no candidate.
pub(crate) const NO_CANDIDATE: u64 = u64::MAX;

/// The queries of a piece, and what is known of them.
#[derive(Default)]
pub(crate) struct Piece {
    pub(crate) rows: Vec<f32>,
    pub(crate) known: Lists,
    /// The similarities of the known positives that this rank has, and of all.
    pub(crate) own_similarities: Vec<f32>,
    pub(crate) similarities: Vec<f32>,
    /// The smallest similarity of each query.
    pub(crate) smallest: Vec<Option<f32>>,
    /// The candidates that are excluded by lists.
    pub(crate) excluded: Lists,
    /// The labels of the queries, where there are labels.
    pub(crate) labels: Vec<u64>,
}

/// A list of candidates for each query of a piece.
#[derive(Default)]
pub(crate) struct Lists {
    /// How many candidates each has.
    pub(crate) lengths: Vec<u64>,
    /// The candidates of all, by their index in the whole corpus.
    pub(crate) entries: Vec<u64>,
    /// Those that this rank has, as compressed lists of indices into its part.
    pub(crate) offsets: Vec<usize>,
    pub(crate) indices: Vec<usize>,
}

impl Piece {
    /// Gets the memory for `queries` queries, but for their lists.
    pub(crate) fn grow(&mut self, queries: usize, dim: usize) -> Result<(), hardneg::Error> {
        resize(&mut self.rows, Side::Anchors, queries, dim, 0.0)?;
        resize(&mut self.smallest, Side::KnownPositives, queries, 1, None)?;
        resize(&mut self.labels, Side::AnchorLabels, queries, 1, 0)?;
        self.known.grow(Side::KnownPositives, queries)?;
        self.excluded.grow(Side::Exclusions, queries)
    }

    /// Gets the memory for the lists of the first `count` queries, whose lengths are known.
    pub(crate) fn grow_lists(&mut self, count: usize) -> Result<(), hardneg::Error> {
        self.excluded.grow_entries(Side::Exclusions, count)?;
        let known = self.known.grow_entries(Side::KnownPositives, count)?;
        resize(&mut self.own_similarities, Side::KnownPositives, known, 1, 0.0)?;
        resize(&mut self.similarities, Side::KnownPositives, known, 1, 0.0)
    }

    /// Finds the smallest similarity of each query, and what of the lists is among candidates `own`.
    pub(crate) fn complete(&mut self, count: usize, own: Range<usize>) {
        let mut first = 0;
        for (smallest, &length) in self.smallest.iter_mut().zip(&self.known.lengths[..count]) {
            let of_query = &self.similarities[first..first + length as usize];
            first += length as usize;
            // Of equal ones the first, which may differ in the sign of a zero.
            *smallest = of_query.iter().copied().reduce(|a, b| if a <= b { a } else { b });
        }
        self.known.keep(count, own.clone());
        self.excluded.keep(count, own);
    }
}

impl Lists {
    fn grow(&mut self, side: Side, queries: usize) -> Result<(), hardneg::Error> {
        resize(&mut self.lengths, side, queries, 1, 0)?;
        resize(&mut self.offsets, side, queries + 1, 1, 0)
    }

    /// Writes how long the lists of some queries are, of which `list` is one.
    pub(crate) fn set_lengths<I: Iterator<Item = u64>>(&mut self, queries: Range<usize>, list: impl Fn(usize) -> I) {
        self.lengths.iter_mut().zip(queries).for_each(|(length, query)| *length = list(query).count() as u64);
    }

    /// Gets the memory for lists of these lengths. Returns how many entries they have.
    fn grow_entries(&mut self, side: Side, count: usize) -> Result<usize, hardneg::Error> {
        let lengths = self.lengths[..count].iter();
        let rows =
            lengths.fold(0, |sum: usize, &length| sum.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)));
        if i32::try_from(rows).is_err() {
            // More than MPI counts.
            return Err(hardneg::Error::SizeOverflow { side, rows, columns: 1 });
        }
        resize(&mut self.entries, side, rows, 1, 0)?;
        resize(&mut self.indices, side, rows, 1, 0)?;
        Ok(rows)
    }

    /// Writes the lists of some queries, whose lengths are known.
    pub(crate) fn set_entries<I: Iterator<Item = u64>>(&mut self, queries: Range<usize>, list: impl Fn(usize) -> I) {
        self.entries.iter_mut().zip(queries.flat_map(list)).for_each(|(place, entry)| *place = entry);
    }

    /// Finds what is among candidates `own`.
    fn keep(&mut self, count: usize, own: Range<usize>) {
        let Lists { lengths, entries, offsets, indices } = self;
        let (mut rest, mut end) = (&entries[..], 0);
        for (query, &length) in lengths[..count].iter().enumerate() {
            let (list, after) = rest.split_at(length as usize);
            rest = after;
            for index in list.iter().filter_map(|&index| usize::try_from(index).ok()) {
                if own.contains(&index) {
                    indices[end] = index - own.start;
                    end += 1;
                }
            }
            offsets[query + 1] = end;
        }
        indices.truncate(end);
    }
}
