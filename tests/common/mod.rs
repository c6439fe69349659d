//! What the tests share: batches that make trouble, and the comparison with the reference, bit for bit.
#![allow(dead_code)] // Every test crate uses a part of it.

pub(crate) mod near_ties;

use hardneg::{
    Backend, Batch, Loss, Negatives, Reduction, RowStats, Screen, Threads, TripletLoss, Workspace, reference,
};

/// A small generator of reproducible numbers (splitmix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// Uniform in -1..1.
    pub(crate) fn unit(&mut self) -> f32 {
        ((self.bits() >> 40) as f32 / (1_u32 << 23) as f32) - 1.0
    }

    pub(crate) fn rows(&mut self, rows: usize, dim: usize) -> Vec<f32> {
        (0..rows * dim).map(|_| self.unit()).collect()
    }
}

/// Kinds of data, each hard in its own way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Data {
    /// Independent uniform elements.
    Random,
    /// Small whole numbers: exact sums, many equal similarities.
    Integers,
    /// A few different rows, repeated: ties everywhere.
    Duplicates,
    /// One strong direction common to all rows: similarities crowd near 1.
    CommonMean,
    /// Rows scaled by powers of two from 2^-120 to 2^120.
    Scaled,
    /// Every third row is zero.
    ZeroRows,
    /// Rows that differ from one row in the last bit of an element: similarities closer than any screen can tell.
    NearTies,
    /// All rows parallel or opposite.
    Parallel,
}

pub(crate) const ALL_DATA: [Data; 8] = [
    Data::Random,
    Data::Integers,
    Data::Duplicates,
    Data::CommonMean,
    Data::Scaled,
    Data::ZeroRows,
    Data::NearTies,
    Data::Parallel,
];

impl Data {
    /// `rows` rows of this kind.
    pub(crate) fn rows(self, random: &mut Random, rows: usize, dim: usize) -> Vec<f32> {
        let mut data = random.rows(rows, dim);
        let first: Vec<f32> = data[..dim].to_vec();
        for (index, row) in data.chunks_mut(dim).enumerate() {
            match self {
                Data::Random => {}
                Data::Integers => row.iter_mut().for_each(|value| *value = (*value * 3.0).round()),
                Data::Duplicates => {
                    let mut source = Random(random.below(3) as u64);
                    row.copy_from_slice(&source.rows(1, dim));
                }
                Data::CommonMean => row.iter_mut().for_each(|value| *value += 3.0),
                Data::Scaled => {
                    let scale = 2.0_f32.powi(random.below(241) as i32 - 120);
                    row.iter_mut().for_each(|value| *value *= scale);
                }
                Data::ZeroRows => {
                    if index % 3 == 1 {
                        row.fill(0.0);
                    }
                }
                Data::NearTies => {
                    row.copy_from_slice(&first);
                    let element = &mut row[random.below(dim)];
                    *element = f32::from_bits(element.to_bits() ^ random.below(4) as u32);
                }
                Data::Parallel => {
                    let scale = random.unit();
                    row.iter_mut().zip(&first).for_each(|(value, first)| *value = first * scale);
                }
            }
        }
        data
    }

    /// Anchors and candidates of this kind; anchors resemble candidates, as they do in use.
    pub(crate) fn batch(self, seed: u64, rows: usize, candidates: usize, dim: usize) -> (Vec<f32>, Vec<f32>) {
        let mut random = Random(seed);
        let all = self.rows(&mut random, rows + candidates, dim);
        let (anchors, candidates) = all.split_at(rows * dim);
        (anchors.to_vec(), candidates.to_vec())
    }
}

pub(crate) const ALL_NEGATIVES: [Negatives; 3] = [Negatives::Below, Negatives::AtOrBelow, Negatives::Any];

/// Every way to run that must not change a bit.
pub(crate) fn all_threads() -> Vec<Threads> {
    vec![
        Threads::Serial,
        #[cfg(feature = "rayon")]
        Threads::Rayon,
    ]
}

/// The bits of a row's statistics.
pub(crate) fn row_bits(row: &RowStats) -> (u32, u32, Option<(usize, u32)>) {
    let closest = row.closest_negative.map(|closest| (closest.index, closest.similarity.to_bits()));
    (row.positive.to_bits(), row.mean_negative.to_bits(), closest)
}

/// Panics unless both sides have the same rows, bit for bit.
pub(crate) fn assert_rows(expected: &[RowStats], actual: &[RowStats], what: &str) {
    assert_eq!(expected.len(), actual.len(), "{what}: rows");
    for (row, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        assert_eq!(row_bits(expected), row_bits(actual), "{what}: row {row}: {expected:?} against {actual:?}");
    }
}

/// Panics unless both losses are the same, bit for bit.
pub(crate) fn assert_loss(expected: &Loss, actual: &Loss, what: &str) {
    for (expected, actual) in [
        (expected.loss, actual.loss),
        (expected.mean_term, actual.mean_term),
        (expected.closest_term, actual.closest_term),
    ] {
        assert_eq!(expected.to_bits(), actual.to_bits(), "{what}: {expected} against {actual}");
    }
    assert_eq!(expected, actual, "{what}");
}

/// Compares the fast path with the reference on every backend, screen and thread mode, with the given rule and
/// workspace.
pub(crate) fn check_forward(batch: Batch<'_>, negatives: Negatives, workspace: &mut Workspace, what: &str) {
    let (loss, rows) = reference::forward(batch, 0.25, negatives, Reduction::Sum).expect("finite rows");
    for backend in Backend::available() {
        for screen in Screen::all() {
            for threads in all_threads() {
                let what = format!("{what}, {negatives:?}, {backend}, {screen:?}, {threads:?}");
                let plan = TripletLoss::new().negatives(negatives).backend(backend).screen(screen).threads(threads);
                let actual = plan.forward(batch, workspace).expect("finite rows");
                assert_rows(&rows, workspace.row_stats(), &what);
                assert_loss(&loss, &actual, &what);
            }
        }
    }
}

/// Every reduction.
pub(crate) const ALL_REDUCTIONS: [Reduction; 2] = [Reduction::Sum, Reduction::Mean];

/// The bits of vectors of `f32`: the only comparison that tells `0.0` from `-0.0`.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
