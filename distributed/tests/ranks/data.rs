//! Rows, and ways of cutting them.

use std::ops::Range;

use hardneg::Exclusions;

/// Numbers in -1..1 from a seed (splitmix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    pub(crate) fn rows(&mut self, rows: usize, dim: usize) -> Vec<f32> {
        (0..rows * dim).map(|_| self.value()).collect()
    }
}

/// Two batches of rows that are alike in pairs, with duplicates among them, so that there are ties, and a zero row.
pub(crate) fn pairs(seed: u64, rows: usize, dim: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = Random(seed);
    let mut anchors = random.rows(rows, dim);
    let mut positives: Vec<f32> = anchors.iter().map(|value| value + 1.5 * random.value()).collect();
    for row in 0..rows / 5 {
        let (from, to) = (random.below(rows) * dim, random.below(rows) * dim);
        let side = if row % 2 == 0 { &mut anchors } else { &mut positives };
        side.copy_within(from..from + dim, to);
    }
    if rows > 6 {
        anchors[3 * dim..4 * dim].fill(0.0);
        positives[5 * dim..6 * dim].fill(0.0);
    }
    (anchors, positives)
}

/// A way of cutting rows into parts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Even,
    /// Each rank has about half of what is left; the last one takes the rest.
    Halves,
    /// Every other rank has none.
    Gaps,
    /// The last rank has all.
    Last,
    /// At random places.
    Random(u64),
}

pub(crate) const CUTS: [Cut; 6] = [Cut::Even, Cut::Halves, Cut::Gaps, Cut::Last, Cut::Random(1), Cut::Random(2)];

impl Cut {
    /// The part of rank `rank` of `size`.
    pub(crate) fn part(self, rows: usize, rank: usize, size: usize) -> Range<usize> {
        let bounds = self.bounds(rows, size);
        bounds[rank]..bounds[rank + 1]
    }

    fn bounds(self, rows: usize, size: usize) -> Vec<usize> {
        let mut bounds: Vec<usize> = match self {
            Cut::Even => (0..=size).map(|rank| rows * rank / size).collect(),
            Cut::Halves => (0..=size).map(|rank| rows - (rows >> rank)).collect(),
            Cut::Gaps => (0..=size).map(|rank| rows * (rank / 2) / size.div_ceil(2)).collect(),
            Cut::Last => vec![0; size + 1],
            Cut::Random(seed) => {
                let mut random = Random(seed);
                let mut bounds: Vec<usize> = (0..=size).map(|_| random.below(rows + 1)).collect();
                bounds.sort_unstable();
                bounds[0] = 0;
                bounds
            }
        };
        bounds[size] = rows;
        bounds
    }
}

/// The elements of rows `range`.
pub(crate) fn part(rows: &[f32], range: Range<usize>, dim: usize) -> &[f32] {
    &rows[range.start * dim..range.end * dim]
}

/// The offsets of the lists of `anchors`, if there are lists.
pub(crate) fn part_offsets(exclusions: Exclusions<'_>, anchors: Range<usize>) -> Vec<usize> {
    match exclusions {
        Exclusions::Lists { offsets, .. } => {
            offsets[anchors.start..=anchors.end].iter().map(|offset| offset - offsets[anchors.start]).collect()
        }
        _ => Vec::new(),
    }
}

/// What is excluded, as the rank with `anchors` and `candidates` says it.
pub(crate) fn part_exclusions<'a>(
    exclusions: Exclusions<'a>,
    part_offsets: &'a [usize],
    anchors: Range<usize>,
    candidates: Range<usize>,
) -> Exclusions<'a> {
    match exclusions {
        Exclusions::Labels { anchors: of_anchors, candidates: of_candidates } => {
            Exclusions::Labels { anchors: &of_anchors[anchors], candidates: &of_candidates[candidates] }
        }
        Exclusions::Lists { offsets, indices } => {
            let indices = &indices[offsets[anchors.start]..offsets[anchors.end]];
            Exclusions::Lists { offsets: part_offsets, indices }
        }
        others => others,
    }
}

/// The same numbers, so that -0 and 0 differ.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
