//! A linear projection that is trained with plain gradient descent, in plain loops.

use std::ops::Range;

/// The elements of a projected row.
pub(crate) const PROJECTED: usize = 64;
/// The step of the descent.
const RATE: f32 = 0.5;

/// A matrix of `PROJECTED` rows, each as long as an embedding.
pub(crate) struct Projection {
    pub(crate) weights: Vec<f32>,
    dim: usize,
}

impl Projection {
    /// Small numbers from a fixed seed (splitmix64).
    pub(crate) fn random(dim: usize) -> Projection {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            0.1 * (((z ^ (z >> 31)) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0)
        };
        Projection { weights: (0..PROJECTED * dim).map(|_| next()).collect(), dim }
    }

    /// Projects every row.
    pub(crate) fn apply(&self, rows: &[f32], output: &mut Vec<f32>) {
        output.clear();
        for row in rows.chunks_exact(self.dim) {
            let dot = |weights: &[f32]| weights.iter().zip(row).map(|(weight, value)| weight * value).sum::<f32>();
            output.extend(self.weights.chunks_exact(self.dim).map(dot));
        }
    }

    /// A step of some of the matrix's rows against the gradient, which each side contributes to with its rows and the
    /// gradients of their projections.
    pub(crate) fn step(&mut self, sides: &[(&[f32], &[f32])], some: Range<usize>) {
        let weights = &mut self.weights[some.start * self.dim..some.end * self.dim];
        for (rows, gradients) in sides {
            let rows = rows.chunks_exact(self.dim);
            for (row, gradient) in rows.zip(gradients.chunks_exact(PROJECTED)) {
                for (weights, &gradient) in weights.chunks_exact_mut(self.dim).zip(&gradient[some.clone()]) {
                    weights.iter_mut().zip(row).for_each(|(weight, &value)| *weight -= RATE * gradient * value);
                }
            }
        }
    }
}
