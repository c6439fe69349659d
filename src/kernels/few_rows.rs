//! All that is computed of a batch with a few rows, as many on both sides, in one kernel: norms, the sum of the
//! candidates, all similarities and the means. The dot products of two rows with two others are added up side by side, so
//! that they hide each other's latency, and roots and quotients are taken of a whole register at a time.

use super::dots::{mean_negative, roots};
use super::exact_tile::cosine;
use super::lanes::{Block, LANES, Lanes, TOGETHER, fold_together, padded_start, sum_dots_in_registers};
use super::sums::{add_multiples, inverse};
use crate::arch::{Backend, Simd, WithSimd};
use crate::rows::Rows;

/// The most rows of a side.
pub(crate) const MOST_FEW: usize = TOGETHER;

/// As many anchors as candidates, from 2 to [`MOST_FEW`], and the candidate that is the positive of each anchor.
#[derive(Clone, Copy)]
pub(crate) struct FewRows<'a> {
    pub(crate) anchors: Rows<'a>,
    pub(crate) candidates: Rows<'a>,
    pub(crate) positives: [usize; MOST_FEW],
}

/// What was computed of each row, and anything beyond the last one.
pub(crate) struct FewMeasures {
    pub(crate) anchor_norms: [f64; MOST_FEW],
    pub(crate) candidate_norms: [f64; MOST_FEW],
    /// The similarities of each anchor with the candidates.
    pub(crate) similarities: [[f32; MOST_FEW]; MOST_FEW],
    /// The mean similarity of each anchor with all candidates but its positive.
    pub(crate) means: [f64; MOST_FEW],
}

/// Computes everything of a few rows, and writes the sum of the candidates, each scaled to norm 1, into `sum`.
pub(crate) fn measure_few(backend: Backend, rows: &FewRows<'_>, sum: &mut [f64]) -> FewMeasures {
    debug_assert!(rows.anchors.count() == rows.candidates.count() && rows.anchors.count() <= MOST_FEW);
    backend.run_widening(MeasureFew { rows, sum })
}

struct MeasureFew<'a, 'b> {
    rows: &'b FewRows<'a>,
    sum: &'b mut [f64],
}

impl WithSimd for MeasureFew<'_, '_> {
    type Output = FewMeasures;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> FewMeasures {
        let Self { rows: &FewRows { anchors, candidates, positives }, sum } = self;
        let (count, dim) = (anchors.count().min(MOST_FEW), anchors.dim());
        let (anchors, candidates) = (anchors.data(), candidates.data());
        let mut dots = [[0.0; MOST_FEW]; MOST_FEW];
        let (mut anchor_norms, mut candidate_norms) = ([0.0; MOST_FEW], [0.0; MOST_FEW]);
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
        add_multiples(simd, candidates, &scales[..count], sum, true);
        let mut totals = [simd.splat64(0.0); TOGETHER];
        for a in (0..count).step_by(2) {
            [totals[a], totals[a + 1]] = sum_dots_in_registers(simd, two_rows(anchors, dim, a, count), sum);
        }
        let totals = fold_together(simd, &totals, count);
        let (mut positive_dots, mut positive_norms) = ([0.0; MOST_FEW], [0.0; MOST_FEW]);
        for row in 0..count {
            positive_dots[row] = dots[row][positives[row]];
            positive_norms[row] = candidate_norms[positives[row]];
        }
        let mut means = [0.0; MOST_FEW];
        for row in 0..MOST_FEW {
            let positive = cosine(positive_dots[row], anchor_norms[row], positive_norms[row]);
            means[row] = mean_negative(totals[row], anchor_norms[row], Some(positive), count);
        }
        let mut similarities = [[0.0; MOST_FEW]; MOST_FEW];
        for row in 0..count {
            for other in 0..MOST_FEW {
                similarities[row][other] = cosine(dots[row][other], anchor_norms[row], candidate_norms[other]) as f32;
            }
        }
        FewMeasures { anchor_norms, candidate_norms, similarities, means }
    }
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

/// [`multiply`], `REGISTERS` of the lanes of each sum at a time.
#[inline(always)]
fn multiply_parts<S: Simd, const SUMS: usize, const REGISTERS: usize>(
    simd: S,
    rows: [&[f32]; 4],
    dim: usize,
    lanes: &mut [Lanes<S>; SUMS],
) {
    let (whole, rest) = (dim / LANES, dim % LANES);
    let mut tails = [[0.0; LANES]; 4];
    if rest > 0 {
        pad(rows, whole * LANES, rest, &mut tails);
    }
    let [x, y, u, v] = rows;
    let (x, y) = (&x.as_chunks::<LANES>().0[..whole], &y.as_chunks::<LANES>().0[..whole]);
    let (u, v) = (&u.as_chunks::<LANES>().0[..whole], &v.as_chunks::<LANES>().0[..whole]);
    for part in (0..LANES / S::F64_LANES).step_by(REGISTERS) {
        let mut sums = [[simd.splat64(0.0); SUMS]; REGISTERS];
        for (((x, y), u), v) in x.iter().zip(y).zip(u).zip(v) {
            add_blocks(simd, part, [x, y, u, v], &mut sums);
        }
        if rest > 0 {
            add_blocks(simd, part, tails.each_ref(), &mut sums);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (lanes, &sum) in lanes.iter_mut().zip(sums) {
                lanes.0[part + r] = sum;
            }
        }
    }
}

/// Writes the `rest` elements of four rows from element `from` on, filled up with zeros. A function of its own, as it moves
/// numbers only.
#[inline(never)]
fn pad(rows: [&[f32]; 4], from: usize, rest: usize, tails: &mut [Block<f32>; 4]) {
    for (tail, row) in tails.iter_mut().zip(rows) {
        *tail = padded_start(&row[from..], rest);
    }
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
