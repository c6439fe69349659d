//! `Excluding`: exclusions that own their labels or lists, and kinds of them.

use hardneg::Exclusions;

use super::{Pairing, Random};

/// What is excluded: [`Exclusions`] that owns its slices.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Excluding {
    /// [`Exclusions::None`].
    #[default]
    Nothing,
    /// [`Exclusions::Labels`].
    Labels {
        /// Of the anchors.
        anchors: Vec<u64>,
        /// Of the candidates.
        candidates: Vec<u64>,
    },
    /// [`Exclusions::Lists`].
    Lists {
        /// Where the lists begin and end.
        offsets: Vec<usize>,
        /// The excluded candidates.
        indices: Vec<usize>,
    },
    /// [`Exclusions::Shared`].
    Shared(Vec<usize>),
    /// [`Exclusions::SharedU32`].
    SharedU32(Vec<u32>),
}

/// A kind of exclusions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// One label for all: no anchor has a negative.
    EqualLabels,
    /// Every candidate has a label of its own.
    DifferentLabels,
    /// Labels of a few candidates each.
    SmallGroups,
    /// A few labels.
    LargeGroups,
    /// Labels as frequent as words: one for half of the rows, many for one or none.
    ZipfLabels,
    /// Labels that have nothing to do with the pairing.
    UnrelatedLabels,
    /// A few candidates for each anchor, out of order, some of them several times, the positive among them.
    ShortLists,
    /// Nothing, everything, or all but one candidate.
    LongLists,
    /// A list that all anchors share, out of order and with repetition.
    SharedList,
    /// The same in 32 bits.
    SharedListU32,
}

/// Every kind.
pub const ALL_KINDS: [Kind; 10] = [
    Kind::EqualLabels,
    Kind::DifferentLabels,
    Kind::SmallGroups,
    Kind::LargeGroups,
    Kind::ZipfLabels,
    Kind::UnrelatedLabels,
    Kind::ShortLists,
    Kind::LongLists,
    Kind::SharedList,
    Kind::SharedListU32,
];

impl Excluding {
    /// As the crate takes them.
    #[must_use]
    pub fn exclusions(&self) -> Exclusions<'_> {
        match self {
            Excluding::Nothing => Exclusions::None,
            Excluding::Labels { anchors, candidates } => Exclusions::Labels { anchors, candidates },
            Excluding::Lists { offsets, indices } => Exclusions::Lists { offsets, indices },
            Excluding::Shared(indices) => Exclusions::Shared(indices),
            Excluding::SharedU32(indices) => Exclusions::SharedU32(indices),
        }
    }

    /// Those of the anchors `from..to` alone.
    #[must_use]
    pub fn of_rows(&self, from: usize, to: usize) -> Excluding {
        match self {
            Excluding::Nothing | Excluding::Shared(_) | Excluding::SharedU32(_) => self.clone(),
            Excluding::Labels { anchors, candidates } => {
                Excluding::Labels { anchors: anchors[from..to].to_vec(), candidates: candidates.clone() }
            }
            Excluding::Lists { offsets, indices } => Excluding::Lists {
                offsets: offsets[from..=to].iter().map(|offset| offset - offsets[from]).collect(),
                indices: indices[offsets[from]..offsets[to]].to_vec(),
            },
        }
    }

    /// The lists of these candidates.
    #[must_use]
    pub fn lists(lists: &[Vec<usize>]) -> Excluding {
        let mut offsets = vec![0];
        for list in lists {
            offsets.push(offsets[offsets.len() - 1] + list.len());
        }
        Excluding::Lists { offsets, indices: lists.concat() }
    }
}

impl Kind {
    /// Exclusions of this kind for `rows` anchors and `candidates` candidates with this pairing.
    pub fn of(self, random: &mut Random, rows: usize, candidates: usize, pairing: &Pairing) -> Excluding {
        let inside = !matches!(pairing, Pairing::Outside(_));
        let positives = if inside { pairing.indices(rows) } else { Vec::new() };
        let mut label = |candidate: usize| match self {
            Kind::EqualLabels => 5,
            Kind::DifferentLabels => u64::MAX - candidate as u64,
            Kind::SmallGroups => random.below(1 + candidates / 4) as u64,
            Kind::LargeGroups => random.below(3) as u64,
            Kind::ZipfLabels => {
                let rank = random.below(candidates) + 1;
                (candidates / rank.max(1 + random.below(rank))) as u64
            }
            _ => random.below(1 + candidates / 3) as u64,
        };
        let labels: Vec<u64> = (0..candidates).map(&mut label).collect();
        match self {
            Kind::ShortLists => {
                let list = |row: usize| {
                    let mut list: Vec<usize> = (0..random.below(6)).map(|_| random.below(candidates)).collect();
                    list.extend(positives.get(row).filter(|_| row.is_multiple_of(3)));
                    list.extend(list.first().copied());
                    list
                };
                Excluding::lists(&(0..rows).map(list).collect::<Vec<_>>())
            }
            Kind::LongLists => {
                let list = |row: usize| match row % 4 {
                    0 => Vec::new(),
                    1 => (0..candidates).rev().collect(),
                    2 => (0..candidates).filter(|&candidate| candidate != row * 7 % candidates).collect(),
                    _ => (0..candidates).filter(|candidate| candidate % 5 != row % 5).chain([0, 0]).collect(),
                };
                Excluding::lists(&(0..rows).map(list).collect::<Vec<_>>())
            }
            Kind::SharedList | Kind::SharedListU32 => {
                let mut list: Vec<usize> =
                    (0..random.below(candidates + 1)).map(|_| random.below(candidates)).collect();
                list.extend(list.first().copied());
                if self == Kind::SharedList {
                    return Excluding::Shared(list);
                }
                Excluding::SharedU32(list.into_iter().map(|index| index as u32).collect())
            }
            Kind::UnrelatedLabels => {
                Excluding::Labels { anchors: (0..rows).map(&mut label).collect(), candidates: labels }
            }
            _ => {
                // Some positives stand outside of the group of their anchor.
                let of_positive = |row: usize| positives.get(row).filter(|_| row % 7 != 6).map(|&index| labels[index]);
                let anchor = |row: usize| of_positive(row).unwrap_or_else(|| labels[(row * 5 + 1) % candidates]);
                Excluding::Labels { anchors: (0..rows).map(anchor).collect(), candidates: labels }
            }
        }
    }
}
