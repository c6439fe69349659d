//! All that is computed of a batch with a few rows, as many on both sides, in one kernel: norms, the sum of the
//! candidates, all similarities and the means. The dot products of two rows with two others are added up side by side, so
//! that they hide each other's latency, and roots and quotients are taken of a whole register at a time.

use core::hint::black_box;

use super::dots::{mean_negative, roots};
use super::exact_tile::cosine;
use super::lanes::{
    Block, LANES, Lanes, TOGETHER, add_scaled, fold_together, padded, padded_start, sum_dots_in_registers,
};
use super::sums::inverse;
use crate::arch::{Backend, Simd, WithSimd};
use crate::rows::Rows;

/// The most rows of a side.
pub(crate) const MOST_FEW: usize = TOGETHER;

/// As many anchors as candidates, `count`, from 2 to [`MOST_FEW`], and the candidate that is the positive of each anchor.
#[derive(Clone, Copy)]
pub(crate) struct FewRows<'a> {
    pub(crate) anchors: Rows<'a>,
    pub(crate) candidates: Rows<'a>,
    pub(crate) count: usize,
    pub(crate) positives: [usize; MOST_FEW],
}

/// What is computed of each row, and anything beyond the last one. It stays in memory from call to call, so that nothing is
/// cleared.
#[derive(Debug, Default)]
pub(crate) struct FewMeasures {
    pub(crate) anchor_norms: [f64; MOST_FEW],
    pub(crate) candidate_norms: [f64; MOST_FEW],
    /// The dot products of each anchor with the candidates.
    dots: [[f64; MOST_FEW]; MOST_FEW],
    /// The similarities of each anchor with the candidates.
    pub(crate) similarities: [[f32; MOST_FEW]; MOST_FEW],
    /// The mean similarity of each anchor with all candidates but its positive.
    pub(crate) means: [f64; MOST_FEW],
}

/// Computes everything of a few rows, and writes the sum of the candidates, each scaled to norm 1, into `sum`.
pub(crate) fn measure_few(backend: Backend, rows: &FewRows<'_>, sum: &mut [f64], measures: &mut FewMeasures) {
    debug_assert!(rows.anchors.count() == rows.count && rows.candidates.count() == rows.count);
    backend.run_widening(MeasureFew { rows, sum, measures });
}

struct MeasureFew<'a, 'b> {
    rows: &'b FewRows<'a>,
    sum: &'b mut [f64],
    measures: &'b mut FewMeasures,
}

impl WithSimd for MeasureFew<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows: &FewRows { anchors, candidates, count, positives }, sum, measures } = self;
        let (count, dim) = (count.min(MOST_FEW), anchors.dim());
        let (anchors, candidates) = (anchors.data(), candidates.data());
        let FewMeasures { anchor_norms, candidate_norms, dots, similarities, means } = measures;
        let mut scales = [0.0; MOST_FEW];
        for a in (0..count).step_by(2) {
            let [x, y] = two_rows(anchors, dim, a, count);
            for c in (0..count).step_by(2) {
                let [u, v] = two_rows(candidates, dim, c, count);
                let products = if a == c {
                    let products = fold_together(simd, &multiply::<S, 8>(simd, [x, y, u, v], dim), TOGETHER);
                    // Of all eight, which takes as long as of one: the first four are no squares, and what comes of
                    // them is not used.
                    let norms = roots(products);
                    let inverses = norms.map(inverse);
                    [anchor_norms[a], anchor_norms[a + 1]] = [norms[4], norms[5]];
                    [candidate_norms[a], candidate_norms[a + 1]] = [norms[6], norms[7]];
                    [scales[a], scales[a + 1]] = [inverses[6], inverses[7]];
                    products
                } else {
                    fold_four(simd, &multiply::<S, 4>(simd, [x, y, u, v], dim))
                };
                [dots[a][c], dots[a][c + 1]] = [products[0], products[1]];
                [dots[a + 1][c], dots[a + 1][c + 1]] = [products[2], products[3]];
            }
        }
        let mut totals = [simd.splat64(0.0); TOGETHER];
        let first = two_rows(anchors, dim, 0, count);
        // How many there are is hidden: the compiler would write the loop over them out for each number, and spill.
        let scales = black_box(&scales[..count]);
        [totals[0], totals[1]] = sum_and_multiply(simd, candidates, scales, first, sum);
        for a in (2..count).step_by(2) {
            [totals[a], totals[a + 1]] = sum_dots_in_registers(simd, two_rows(anchors, dim, a, count), sum);
        }
        let totals = fold_together(simd, &totals, count);
        let other_norms = *candidate_norms;
        for row in 0..count {
            // In arrays of their own, which no store may change: so that they are computed in whole registers.
            let (norm, dots, mut cosines) = (anchor_norms[row], dots[row], [0.0; MOST_FEW]);
            for other in 0..MOST_FEW {
                cosines[other] = cosine(dots[other], norm, other_norms[other]);
            }
            similarities[row] = cosines.map(|cosine| cosine as f32);
            means[row] = mean_negative(totals[row], norm, Some(cosines[positives[row]]), count);
        }
    }
}

/// Writes the sum of rows, each times its scale, and returns the dot products of two rows of the other side with it, before
/// the lanes of one register are folded: two rows are multiplied with what is in registers then.
#[inline(always)]
fn sum_and_multiply<S: Simd>(
    simd: S,
    rows: &[f32],
    scales: &[f64],
    others: [&[f32]; 2],
    sum: &mut [f64],
) -> [S::F64; 2] {
    let (dim, mut lanes) = (sum.len(), [Lanes::zero(simd); 2]);
    let (blocks, tail) = sum.as_chunks_mut::<LANES>();
    let (whole, rest) = (blocks.len(), tail.len());
    let other_blocks = others.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    for (k, block) in blocks.iter_mut().enumerate() {
        let mut held = Lanes::zero(simd);
        for (row, &scale) in scales.iter().enumerate() {
            let from: &[f32; LANES] = &rows[row * dim + k * LANES..].as_chunks().0[0];
            held.add_scaled(simd, from, simd.splat64(scale));
        }
        held.store(simd, block);
        for (lanes, blocks) in lanes.iter_mut().zip(other_blocks) {
            lanes.add_rounded_products(simd, &blocks[k], block);
        }
    }
    if rest > 0 {
        tail.fill(0.0);
        for (row, &scale) in scales.iter().enumerate() {
            add_scaled(&rows[row * dim + whole * LANES..][..rest], scale, tail);
        }
        let block = padded(tail);
        for (lanes, row) in lanes.iter_mut().zip(others) {
            lanes.add_rounded_products(simd, &padded_start(&row[whole * LANES..], rest), &block);
        }
    }
    [lanes[0].in_one_register(simd), lanes[1].in_one_register(simd)]
}

/// Row `first` of `count` rows and the one after it, or itself where there is none, and all that follows them.
#[inline(always)]
fn two_rows(rows: &[f32], dim: usize, first: usize, count: usize) -> [&[f32]; 2] {
    let second = (first + 1).min(count - 1);
    [&rows[first * dim..], &rows[second * dim..]]
}

/// The dot products of the first two of four rows of `dim` elements, x and y, with the last two, u and v, and with eight
/// `SUMS` those of each with itself: x.u, x.v, y.u, y.v, x.x, y.y, u.u, v.v, before the lanes of one register are folded.
/// The slices may go on beyond the rows.
#[inline(always)]
fn multiply<S: Simd, const SUMS: usize>(simd: S, rows: [&[f32]; 4], dim: usize) -> [S::F64; SUMS] {
    let mut lanes = [Lanes::zero(simd); SUMS];
    // As many of the lanes at a time as there are registers for, beside a part of each row.
    if S::F64_LANES == 8 || SUMS == 4 {
        multiply_parts::<S, SUMS, 2>(simd, rows, dim, &mut lanes);
    } else {
        multiply_parts::<S, SUMS, 1>(simd, rows, dim, &mut lanes);
    }
    let mut registers = [simd.splat64(0.0); SUMS];
    for sum in 0..SUMS {
        registers[sum] = lanes[sum].in_one_register(simd);
    }
    registers
}

/// [`multiply`], `REGISTERS` of the lanes of each sum at a time. By index: iterators over four rows have counters of their
/// own.
#[inline(always)]
fn multiply_parts<S: Simd, const SUMS: usize, const REGISTERS: usize>(
    simd: S,
    rows: [&[f32]; 4],
    dim: usize,
    lanes: &mut [Lanes<S>; SUMS],
) {
    let (whole, rest) = (dim / LANES, dim % LANES);
    let padded;
    // Nothing is cleared where rows end with a whole block.
    let ends = if rest > 0 {
        padded = pad(rows, whole * LANES, rest);
        core::slice::from_ref(&padded)
    } else {
        &[]
    };
    let [x, y, u, v] = rows;
    let (x, y) = (&x.as_chunks::<LANES>().0[..whole], &y.as_chunks::<LANES>().0[..whole]);
    let (u, v) = (&u.as_chunks::<LANES>().0[..whole], &v.as_chunks::<LANES>().0[..whole]);
    for part in (0..LANES / S::F64_LANES).step_by(REGISTERS) {
        let mut sums = [[simd.splat64(0.0); SUMS]; REGISTERS];
        for k in 0..whole {
            add_blocks(simd, part, [&x[k], &y[k], &u[k], &v[k]], &mut sums);
        }
        for blocks in ends {
            add_blocks(simd, part, blocks.each_ref(), &mut sums);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (lanes, &sum) in lanes.iter_mut().zip(sums) {
                lanes.0[part + r] = sum;
            }
        }
    }
}

/// The `rest` elements of four rows from element `from` on, filled up with zeros. A function of its own, as it moves numbers
/// only.
#[inline(never)]
fn pad(rows: [&[f32]; 4], from: usize, rest: usize) -> [Block<f32>; 4] {
    let mut blocks = [[0.0; LANES]; 4];
    for (block, row) in blocks.iter_mut().zip(rows) {
        *block = padded_start(&row[from..], rest);
    }
    blocks
}

/// Adds the products of a block of each row, those of the lanes from register `part` on.
#[inline(always)]
fn add_blocks<S: Simd, const SUMS: usize, const REGISTERS: usize>(
    simd: S,
    part: usize,
    [x, y, u, v]: [&Block<f32>; 4],
    sums: &mut [[S::F64; SUMS]; REGISTERS],
) {
    for r in 0..REGISTERS {
        let (at, sums) = ((part + r) * S::F64_LANES, &mut sums[r]);
        let (x, y) = (simd.widen(&x[at..]), simd.widen(&y[at..]));
        let (u, v) = (simd.widen(&u[at..]), simd.widen(&v[at..]));
        let pairs = [(x, u), (x, v), (y, u), (y, v), (x, x), (y, y), (u, u), (v, v)];
        for (sum, (one, other)) in sums.iter_mut().zip(pairs) {
            *sum = simd.mul_add_exact(one, other, *sum);
        }
    }
}

/// Folds the lanes of four sums.
#[inline(always)]
fn fold_four<S: Simd>(simd: S, sums: &[S::F64; 4]) -> [f64; TOGETHER] {
    let mut all = [simd.splat64(0.0); TOGETHER];
    all[..4].copy_from_slice(sums);
    fold_together(simd, &all, 4)
}
