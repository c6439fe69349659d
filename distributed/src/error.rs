//! `Error`: why a call of all ranks was refused, the same on each of them; and how a rank tells it the others.

use std::fmt;

use hardneg::Side;

/// Why a call was refused. Every rank returns the same error of the same call, and may make the next call.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// What a call of one process with the rows of all ranks would have answered: rows are numbered over all ranks.
    Call(hardneg::Error),
    /// The arguments or the memory of one rank: lengths are those of its slices.
    OnRank {
        /// The first such rank.
        rank: usize,
        /// What is wrong there.
        error: hardneg::Error,
    },
    /// A rank was called with another setting than rank 0.
    Settings {
        /// The first such rank.
        rank: usize,
        /// The setting.
        setting: Setting,
    },
    /// An error that the ranks cannot tell each other.
    Unnamed {
        /// The first rank that met one.
        rank: usize,
    },
}

/// An argument that must be the same on all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The call itself: a forward pass, with or without a backward pass; or mining.
    Call,
    /// The length of a row.
    Dim,
    /// The margin of the loss.
    Margin,
    /// Which negatives may be the closest.
    Negatives,
    /// Sum or mean.
    Reduction,
    /// The kind of positives, and the offset where they have one.
    Positives,
    /// Which gradients are asked for.
    Gradients,
    /// How candidates are excluded: not at all, by labels or by lists.
    Exclusions,
    /// How many negatives a query gets, and which qualify.
    Miner,
    /// Whether a function excludes candidates.
    Predicate,
    /// The corpus that is asked.
    Corpus,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setting::Call => "call",
            Setting::Dim => "dim",
            Setting::Margin => "margin",
            Setting::Negatives => "choice of negatives",
            Setting::Reduction => "reduction",
            Setting::Positives => "kind of positives",
            Setting::Gradients => "choice of gradients",
            Setting::Exclusions => "choice of exclusions",
            Setting::Miner => "choice of negatives to mine",
            Setting::Predicate => "choice of a predicate",
            Setting::Corpus => "corpus",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Call(error) => error.fmt(f),
            Error::OnRank { rank, error } => write!(f, "rank {rank}: {error}"),
            Error::Settings { rank, setting } => write!(f, "rank {rank}: its {setting} is not that of rank 0"),
            Error::Unnamed { rank } => write!(f, "rank {rank}: an error without a name"),
        }
    }
}

impl std::error::Error for Error {}

/// The words of a status: a code, and up to five numbers.
pub(crate) const STATUS_WORDS: usize = 6;

/// A status without an error.
const FINE: u64 = 0;

/// The sides that errors of this package's calls name, in the order of their codes.
const SIDES: [Side; 14] = [
    Side::Weights,
    Side::Anchors,
    Side::Candidates,
    Side::Positives,
    Side::PositiveIndices,
    Side::RowStats,
    Side::AnchorGradients,
    Side::CandidateGradients,
    Side::PositiveGradients,
    Side::KnownPositives,
    Side::AnchorLabels,
    Side::CandidateLabels,
    Side::Exclusions,
    Side::Output,
];

/// The thresholds of mining, in the order of their codes.
const THRESHOLDS: [&str; 4] = ["absolute_margin", "relative_margin", "max_similarity", "min_similarity"];

fn threshold_code(option: &str) -> u64 {
    THRESHOLDS.iter().position(|&known| known == option).unwrap_or(0) as u64
}

fn side_code(side: Side) -> u64 {
    SIDES.iter().position(|&known| known == side).unwrap_or(SIDES.len() - 1) as u64
}

/// Codes of errors, in the order in which one process would look for them.
mod code {
    pub(super) const ZERO_DIM: u64 = 1;
    pub(super) const PARTIAL_ROW: u64 = 2;
    pub(super) const LENGTH: u64 = 3;
    pub(super) const SIZE_OVERFLOW: u64 = 4;
    pub(super) const OFFSETS: u64 = 5;
    pub(super) const POSITIVE_OUT_OF_RANGE: u64 = 6;
    /// Offsets of lists of excluded candidates, or one that does not exist: whichever row is the first.
    pub(super) const EXCLUDED: u64 = 7;
    pub(super) const MARGIN_NOT_FINITE: u64 = 8;
    pub(super) const ZERO_K: u64 = 9;
    pub(super) const THRESHOLD_NOT_FINITE: u64 = 10;
    pub(super) const OUTPUT_LENGTH: u64 = 11;
    pub(super) const NOT_FINITE: u64 = 12;
    pub(super) const OUT_OF_MEMORY: u64 = 13;
    /// An error that has no code of its own.
    pub(super) const UNNAMED: u64 = 14;
}

/// Writes what a rank has to say.
pub(crate) fn encode(status: Result<(), hardneg::Error>) -> [u64; STATUS_WORDS] {
    use hardneg::Error as E;
    let Err(error) = status else { return [FINE; STATUS_WORDS] };
    let mut words = [0; STATUS_WORDS];
    let mut write = |code: u64, numbers: &[u64]| {
        words[0] = code;
        words[1..][..numbers.len()].copy_from_slice(numbers);
    };
    match error {
        E::ZeroDim => write(code::ZERO_DIM, &[]),
        E::PartialRow { side, dim, actual } => {
            write(code::PARTIAL_ROW, &[side_code(side), dim as u64, actual as u64]);
        }
        E::Length { side, expected, actual } => {
            let code = if is_output(side) { code::OUTPUT_LENGTH } else { code::LENGTH };
            write(code, &[side_code(side), expected as u64, actual as u64]);
        }
        E::SizeOverflow { side, rows, columns } => {
            write(code::SIZE_OVERFLOW, &[side_code(side), rows as u64, columns as u64]);
        }
        E::Offsets { side: Side::Exclusions, row } => write(code::EXCLUDED, &[row as u64]),
        E::ExcludedOutOfRange { row, index, candidates } => {
            // There is at least one candidate, which tells the two errors apart.
            write(code::EXCLUDED, &[row as u64, candidates as u64, index as u64, (index >> 64) as u64]);
        }
        E::Offsets { side, row } => write(code::OFFSETS, &[side_code(side), row as u64]),
        E::PositiveOutOfRange { row, index, candidates } => {
            let [low, high] = [index as u64, (index >> 64) as u64];
            write(code::POSITIVE_OUT_OF_RANGE, &[row as u64, low, high, candidates as u64]);
        }
        E::MarginNotFinite { margin } => write(code::MARGIN_NOT_FINITE, &[margin.to_bits().into()]),
        E::ZeroK => write(code::ZERO_K, &[]),
        E::ThresholdNotFinite { option, threshold } => {
            write(code::THRESHOLD_NOT_FINITE, &[threshold_code(option), threshold.to_bits()]);
        }
        E::NotFinite { side, row } => write(code::NOT_FINITE, &[side_code(side), row as u64]),
        E::OutOfMemory { bytes } => write(code::OUT_OF_MEMORY, &[bytes as u64]),
        _ => write(code::UNNAMED, &[]),
    }
    words
}

fn is_output(side: Side) -> bool {
    matches!(side, Side::AnchorGradients | Side::CandidateGradients | Side::PositiveGradients | Side::Output)
}

/// What rank `rank` had to say.
fn decode(rank: usize, words: &[u64]) -> Error {
    use hardneg::Error as E;
    let number = |index: usize| usize::try_from(words[index]).unwrap_or(usize::MAX);
    let side = || SIDES[number(1).min(SIDES.len() - 1)];
    let error = match words[0] {
        code::ZERO_DIM => E::ZeroDim,
        code::PARTIAL_ROW => E::PartialRow { side: side(), dim: number(2), actual: number(3) },
        code::LENGTH | code::OUTPUT_LENGTH => E::Length { side: side(), expected: number(2), actual: number(3) },
        code::SIZE_OVERFLOW => E::SizeOverflow { side: side(), rows: number(2), columns: number(3) },
        code::OFFSETS => E::Offsets { side: side(), row: number(2) },
        code::POSITIVE_OUT_OF_RANGE => {
            let index = (i128::from(words[3] as i64) << 64) | i128::from(words[2]);
            E::PositiveOutOfRange { row: number(1), index, candidates: number(4) }
        }
        code::EXCLUDED if number(2) == 0 => E::Offsets { side: Side::Exclusions, row: number(1) },
        code::EXCLUDED => {
            let index = (i128::from(words[4] as i64) << 64) | i128::from(words[3]);
            E::ExcludedOutOfRange { row: number(1), index, candidates: number(2) }
        }
        code::MARGIN_NOT_FINITE => E::MarginNotFinite { margin: f32::from_bits(words[1] as u32) },
        code::ZERO_K => E::ZeroK,
        code::THRESHOLD_NOT_FINITE => {
            let option = THRESHOLDS[number(1).min(THRESHOLDS.len() - 1)];
            E::ThresholdNotFinite { option, threshold: f64::from_bits(words[2]) }
        }
        code::NOT_FINITE => E::NotFinite { side: side(), row: number(2) },
        code::OUT_OF_MEMORY => E::OutOfMemory { bytes: number(1) },
        _ => return Error::Unnamed { rank },
    };
    Error::of_rank(rank, error)
}

impl Error {
    /// An error that rank `rank` found, whose rows are numbered over all ranks.
    pub(crate) fn of_rank(rank: usize, error: hardneg::Error) -> Error {
        use hardneg::Error as E;
        match error {
            E::PartialRow { .. } | E::Length { .. } | E::SizeOverflow { .. } | E::OutOfMemory { .. } => {
                Error::OnRank { rank, error }
            }
            _ => Error::Call(error),
        }
    }

    /// The error of a call in which each rank had this to say: what one process would have found first.
    pub(crate) fn first<'a>(statuses: impl Iterator<Item = &'a [u64]>) -> Result<(), Error> {
        let failed = statuses.enumerate().filter(|(_, words)| words[0] != FINE);
        // Of one kind, the lowest side and row.
        let first = failed.min_by_key(|&(rank, words)| (words[0], words[1], words[2], rank));
        first.map_or(Ok(()), |(rank, words)| Err(decode(rank, words)))
    }
}

/// Fails unless a slice of `side` is as long as the others ask for.
pub(crate) fn check_length(side: Side, expected: usize, actual: usize) -> Result<(), hardneg::Error> {
    if actual == expected { Ok(()) } else { Err(hardneg::Error::Length { side, expected, actual }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_arrive_as_they_were_sent() {
        use hardneg::Error as E;
        let side = Side::Candidates;
        for error in [
            E::ZeroDim,
            E::PartialRow { side, dim: 3, actual: 7 },
            E::Length { side: Side::AnchorGradients, expected: 3, actual: 7 },
            E::SizeOverflow { side, rows: usize::MAX, columns: 7 },
            E::PositiveOutOfRange { row: 7, index: -1, candidates: 3 },
            E::PositiveOutOfRange { row: 7, index: i128::from(u64::MAX), candidates: 3 },
            E::MarginNotFinite { margin: f32::INFINITY },
            E::NotFinite { side, row: 17 },
            E::OutOfMemory { bytes: 1 << 40 },
            E::Offsets { side: Side::KnownPositives, row: 3 },
            E::Offsets { side: Side::Exclusions, row: 4 },
            E::ExcludedOutOfRange { row: 7, index: 1 << 40, candidates: 3 },
            E::NotFinite { side: Side::Weights, row: 5 },
            E::ZeroK,
            E::ThresholdNotFinite { option: "max_similarity", threshold: f64::NEG_INFINITY },
        ] {
            assert_eq!(decode(2, &encode(Err(error))), Error::of_rank(2, error));
        }
    }

    #[test]
    fn the_error_of_one_process_is_the_first() {
        use hardneg::Error as E;
        let not_finite = |side, row| encode(Err(E::NotFinite { side, row }));
        let statuses = [
            encode(Ok(())),
            not_finite(Side::Candidates, 0),
            not_finite(Side::Anchors, 9),
            not_finite(Side::Anchors, 7),
            encode(Err(E::OutOfMemory { bytes: 1 })),
        ];
        let first = Error::first(statuses.iter().map(|words| &words[..]));
        assert_eq!(first, Err(Error::Call(E::NotFinite { side: Side::Anchors, row: 7 })));
        assert_eq!(Error::first(statuses[..1].iter().map(|words| &words[..])), Ok(()));
    }
}
