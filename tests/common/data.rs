//! `Data`: kinds of rows, each difficult for the fast path in another way.

use super::{OwnedBatch, Pairing, Random};

/// A kind of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data {
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
    /// Rows that differ from one row in the last bit of an element: similarities closer than any screen can separate.
    NearTies,
    /// All rows parallel or opposite.
    Parallel,
}

/// Every kind.
pub const ALL_DATA: [Data; 8] = [
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
    pub fn rows(self, random: &mut Random, rows: usize, dim: usize) -> Vec<f32> {
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

    /// Anchors and candidates of this kind, paired by [`Pairing::Identity`]; anchors resemble candidates, as they do in
    /// use.
    #[must_use]
    pub fn batch(self, seed: u64, rows: usize, candidates: usize, dim: usize) -> OwnedBatch {
        let mut anchors = self.rows(&mut Random(seed), rows + candidates, dim);
        let candidates = anchors.split_off(rows * dim);
        OwnedBatch::new(anchors, candidates, dim, Pairing::Identity)
    }
}
