//! `Queries`: what one rank asks of a corpus that is spread over the ranks.

use std::ops::Range;

use hardneg::{Exclusions, KnownPositives, Positives, Predicate, Side};

use crate::corpus::Corpus;
use crate::error::check_length;
use crate::piece::NO_CANDIDATE;
use crate::shard::check_exclusions;

/// The queries of one rank, any number, none too, and what is known of them. Candidates are numbered over all ranks,
/// and so are queries where they are numbers: by [`Positives::Identity`] and [`Positives::Offset`], and for a
/// predicate.
///
/// ```
/// use hardneg::KnownPositives;
/// use hardneg_mpi::Queries;
///
/// // Two queries; the first one has two known positives, which any rank may have, the second one none.
/// let rows = [1.0, 0.0, 0.0, 1.0];
/// let known = KnownPositives::Lists { offsets: &[0, 2, 2], indices: &[1_000_000, 3] };
/// let queries = Queries::new(&rows).known_positives(known);
/// # let _ = queries;
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct Queries<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) known: KnownPositives<'a>,
    pub(crate) exclusions: Exclusions<'a>,
    pub(crate) predicate: Option<Predicate<'a>>,
}

impl<'a> Queries<'a> {
    /// Some queries, as long as the rows of the corpus, none of which has a known positive.
    pub fn new(rows: &'a [f32]) -> Queries<'a> {
        Queries { rows, known: KnownPositives::None, exclusions: Exclusions::None, predicate: None }
    }

    /// Sets the known positives of each of these queries. [`Positives::Outside`] has one row for each of them. A list that
    /// all queries share ([`KnownPositives::Shared`]) is refused with [`hardneg::Error::Offsets`].
    pub fn known_positives(self, known: KnownPositives<'a>) -> Queries<'a> {
        Queries { known, ..self }
    }

    /// Excludes candidates of any rank: by a label for each of these queries and for each candidate of this rank's part
    /// of the corpus, or by lists for each of these queries, which name candidates by their number over all ranks. Every
    /// rank excludes in the same way, a rank without rows too. A list that all queries share ([`Exclusions::Shared`]) is
    /// refused with [`hardneg::Error::Offsets`]: each query needs a list of its own.
    pub fn excluding(self, exclusions: Exclusions<'a>) -> Queries<'a> {
        Queries { exclusions, ..self }
    }

    /// Excludes candidates by a function of (query, candidate): those for which it is true are no negatives of the
    /// query. Every rank is asked about its own candidates and the queries of all ranks, so that all ranks must have a
    /// function if one has, and all must give the same answers.
    pub fn exclude_where(self, predicate: Predicate<'a>) -> Queries<'a> {
        Queries { predicate: Some(predicate), ..self }
    }

    /// Some of them, of `dim` elements each.
    pub(crate) fn rows(&self, range: Range<usize>, dim: usize) -> &'a [f32] {
        &self.rows[range.start * dim..range.end * dim]
    }

    /// Checks the queries of a corpus, and that their known positives and what is excluded for them are in it. The first
    /// query is query `first` of all ranks.
    pub(crate) fn check(&self, corpus: &Corpus<'_>, first: usize) -> Result<(), hardneg::Error> {
        use hardneg::Error as E;
        let (dim, candidates) = (corpus.bank().dim(), corpus.len());
        let (side, rows) = (Side::PositiveIndices, self.rows.len() / dim);
        match self.known {
            KnownPositives::One(Positives::Indices(indices)) => check_length(side, rows, indices.len())?,
            KnownPositives::One(Positives::IndicesU32(indices)) => check_length(side, rows, indices.len())?,
            KnownPositives::One(Positives::IndicesI64(indices)) => check_length(side, rows, indices.len())?,
            KnownPositives::One(Positives::Outside(outside)) => {
                check_length(Side::Positives, self.rows.len(), outside.len())?;
            }
            KnownPositives::Lists { offsets, indices } => {
                check_offsets(Side::KnownPositives, offsets, indices.len(), rows, first)?;
            }
            KnownPositives::Shared(_) | KnownPositives::SharedU32(_) => {
                return Err(E::Offsets { side: Side::KnownPositives, row: first });
            }
            _ => {}
        }
        for row in 0..rows {
            for index in self.positives(row, first) {
                if !usize::try_from(index).is_ok_and(|index| index < candidates) {
                    return Err(E::PositiveOutOfRange { row: first + row, index, candidates });
                }
            }
        }
        check_exclusions(self.exclusions, rows, corpus.own().len())?;
        if let Exclusions::Lists { offsets, indices } = self.exclusions {
            check_offsets(Side::Exclusions, offsets, indices.len(), rows, first)?;
        }
        for row in 0..rows {
            if let Some(index) = self.excluded(row).find(|&index| index >= candidates as u64) {
                return Err(E::ExcludedOutOfRange { row: first + row, index: index.into(), candidates });
            }
        }
        check_finite(Side::Anchors, self.rows, dim, first)?;
        match self.known {
            KnownPositives::One(Positives::Outside(outside)) => check_finite(Side::Positives, outside, dim, first),
            _ => Ok(()),
        }
    }

    /// The known positives of a query that are candidates, by their index, in the order in which they were given. The
    /// first query is query `first` of all ranks.
    pub(crate) fn positives(&self, row: usize, first: usize) -> impl Iterator<Item = i128> + use<'a> {
        let (mut one, mut list): (Option<i128>, &[usize]) = (None, &[]);
        match self.known {
            KnownPositives::One(Positives::Identity) => one = Some((first + row) as i128),
            KnownPositives::One(Positives::Offset(offset)) => one = Some(offset as i128 + (first + row) as i128),
            KnownPositives::One(Positives::Indices(indices)) => one = Some(indices[row] as i128),
            KnownPositives::One(Positives::IndicesU32(indices)) => one = Some(indices[row].into()),
            KnownPositives::One(Positives::IndicesI64(indices)) => one = Some(indices[row].into()),
            KnownPositives::Lists { offsets, indices } => list = &indices[offsets[row]..offsets[row + 1]],
            _ => {}
        }
        one.into_iter().chain(list.iter().map(|&index| index as i128))
    }

    /// The known positives of a query as they travel: its own row as no candidate, and the candidates by their index.
    pub(crate) fn known(&self, row: usize, first: usize, dim: usize) -> impl Iterator<Item = u64> + use<'a> {
        let outside = self.outside(row, dim).map(|_| NO_CANDIDATE);
        outside.into_iter().chain(self.positives(row, first).map(|index| index as u64))
    }

    /// The candidates that a list excludes for a query.
    pub(crate) fn excluded(&self, row: usize) -> impl Iterator<Item = u64> + use<'a> {
        let list = match self.exclusions {
            Exclusions::Lists { offsets, indices } => &indices[offsets[row]..offsets[row + 1]],
            _ => &[],
        };
        list.iter().map(|&index| index as u64)
    }

    /// The row of its own that is the positive of a query.
    pub(crate) fn outside(&self, row: usize, dim: usize) -> Option<&'a [f32]> {
        match self.known {
            KnownPositives::One(Positives::Outside(rows)) => Some(&rows[row * dim..][..dim]),
            _ => None,
        }
    }
}

/// Checks that there is an offset for each query and one more, and that they ascend from 0 to `end`.
fn check_offsets(side: Side, offsets: &[usize], end: usize, rows: usize, first: usize) -> Result<(), hardneg::Error> {
    check_length(side, rows + 1, offsets.len())?;
    let bad = |row| Err(hardneg::Error::Offsets { side, row: first + row });
    if offsets[0] != 0 {
        return bad(0);
    }
    match offsets.windows(2).position(|ends| ends[0] > ends[1] || ends[1] > end) {
        Some(row) => bad(row),
        None if offsets[rows] != end => bad(rows.saturating_sub(1)),
        None => Ok(()),
    }
}

/// Fails with the first row that is not finite; the first one is row `first` of all ranks.
fn check_finite(side: Side, rows: &[f32], dim: usize, first: usize) -> Result<(), hardneg::Error> {
    match rows.chunks_exact(dim).position(|row| row.iter().any(|value| !value.is_finite())) {
        Some(row) => Err(hardneg::Error::NotFinite { side, row: first + row }),
        None => Ok(()),
    }
}
