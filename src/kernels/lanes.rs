//! The virtual lanes of a sum over the elements of a row, in which every dot product of the crate is added up.

use crate::arch::{Simd, prefetch};

/// How many virtual lanes there are. Frozen: another value is another definition of similarity.
///
/// Chosen among 8, 16 and 32 by the time of one dot product at dim 64 to 1024, on AVX-512, AVX2 and SSE2 (a core of the
/// Sapphire Rapids class). 8 leave AVX-512 waiting for its own additions (120 ns against 95 ns at dim 768); 32 gain
/// nothing more, cost AVX2 and SSE2 registers they do not have, and make the incomplete block at the end of a row
/// longer (27 ns against 22 ns at dim 100 on AVX2).
pub(crate) const LANES: usize = 16;

/// How far ahead of the row that it computes a pass over rows in memory asks for them, in elements: enough to hide the
/// latency of memory, little beside a first-level cache. The hardware does it by itself for a loop that reads on and on;
/// a pass that stops after some rows to compute with them ran at 14 GB/s without this and at 30 with it (1 anchor,
/// 16384 x 768).
pub(super) const READ_AHEAD: usize = 6 << 10;

/// The elements of a row that are added at once, one to each lane.
pub(super) type Block<T> = [T; LANES];

/// The most registers that the lanes of a sum fill: where one holds two numbers.
pub(super) const MOST_REGISTERS: usize = LANES / 2;

/// A sum in its virtual lanes: `LANES` numbers in registers of `f64`. An instruction set with more than two numbers in
/// a register uses the first few registers.
#[derive(Clone, Copy)]
pub(super) struct Lanes<S: Simd>(pub(super) [S::F64; MOST_REGISTERS]);

impl<S: Simd> Lanes<S> {
    /// Zeros.
    #[inline(always)]
    pub(super) fn zero(simd: S) -> Lanes<S> {
        Lanes([simd.splat64(0.0); MOST_REGISTERS])
    }

    /// Adds the products of two blocks, which are exact.
    #[inline(always)]
    fn add_products(&mut self, simd: S, x: &Block<f32>, y: &Block<f32>) {
        for r in 0..LANES / S::F64_LANES {
            let at = r * S::F64_LANES;
            self.0[r] = simd.mul_add_exact(simd.widen(&x[at..]), simd.widen(&y[at..]), self.0[r]);
        }
    }

    /// Adds the products with numbers of `f64`. They are not exact, so that they are rounded before they are added, on
    /// every instruction set.
    #[inline(always)]
    pub(super) fn add_rounded_products(&mut self, simd: S, x: &Block<f32>, y: &Block<f64>) {
        for r in 0..LANES / S::F64_LANES {
            let at = r * S::F64_LANES;
            let product = simd.mul64(simd.widen(&x[at..]), simd.load64(&y[at..]));
            self.0[r] = simd.add64(self.0[r], product);
        }
    }

    /// Adds the products with the elements of another row, times `scale`. The two products are rounded one after the
    /// other.
    #[inline(always)]
    fn add_scaled_products(&mut self, simd: S, x: &Block<f32>, y: &Block<f32>, scale: S::F64) {
        for r in 0..LANES / S::F64_LANES {
            let at = r * S::F64_LANES;
            let scaled = simd.mul64(simd.widen(&y[at..]), scale);
            self.0[r] = simd.add64(self.0[r], simd.mul64(simd.widen(&x[at..]), scaled));
        }
    }

    /// Adds the elements times `scale`, the products rounded before they are added.
    #[inline(always)]
    pub(super) fn add_scaled(&mut self, simd: S, x: &Block<f32>, scale: S::F64) {
        for r in 0..LANES / S::F64_LANES {
            self.0[r] = simd.add64(self.0[r], simd.mul64(simd.widen(&x[r * S::F64_LANES..]), scale));
        }
    }

    #[inline(always)]
    fn load(simd: S, block: &Block<f64>) -> Lanes<S> {
        let mut lanes = Lanes::zero(simd);
        for r in 0..LANES / S::F64_LANES {
            lanes.0[r] = simd.load64(&block[r * S::F64_LANES..]);
        }
        lanes
    }

    #[inline(always)]
    pub(super) fn store(&self, simd: S, block: &mut Block<f64>) {
        for r in 0..LANES / S::F64_LANES {
            simd.store64(self.0[r], &mut block[r * S::F64_LANES..]);
        }
    }

    /// Adds the elements.
    #[inline(always)]
    fn add_values(&mut self, simd: S, x: &Block<f32>) {
        for r in 0..LANES / S::F64_LANES {
            self.0[r] = simd.add64(self.0[r], simd.widen(&x[r * S::F64_LANES..]));
        }
    }

    /// Folds the lanes by halves, lane `l` taking lane `l + LANES / 2` and so on, until they are in one register.
    #[inline(always)]
    pub(super) fn in_one_register(mut self, simd: S) -> S::F64 {
        let mut registers = LANES / S::F64_LANES;
        while registers > 1 {
            registers /= 2;
            for r in 0..registers {
                self.0[r] = simd.add64(self.0[r], self.0[r + registers]);
            }
        }
        self.0[0]
    }

    /// Folds the lanes by halves down to one.
    #[inline(always)]
    fn fold(self, simd: S) -> f64 {
        simd.fold(self.in_one_register(simd))
    }
}

/// How many sums are folded together: whole registers of every instruction set.
pub(super) const TOGETHER: usize = 8;

/// Folds the first `count` of some sums, each of which is in one register. What comes after them in the result is
/// anything.
#[inline(always)]
pub(super) fn fold_together<S: Simd>(simd: S, sums: &[S::F64; TOGETHER], count: usize) -> [f64; TOGETHER] {
    const { assert!(TOGETHER.is_multiple_of(S::F64_LANES)) }
    let mut folded = [0.0; TOGETHER];
    for first in (0..count).step_by(S::F64_LANES) {
        simd.store64(simd.fold_each(&sums[first..]), &mut folded[first..]);
    }
    folded
}

/// The last, incomplete block of a row, filled up with zeros, which add nothing to their lanes.
#[inline(always)]
pub(super) fn padded<T: Copy + Default>(tail: &[T]) -> Block<T> {
    let mut block = [T::default(); LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

/// The exact dot products of some pairs of rows, all of one length.
#[inline(always)]
pub(super) fn dots<S: Simd, const PAIRS: usize>(simd: S, x: [&[f32]; PAIRS], y: [&[f32]; PAIRS]) -> [f64; PAIRS] {
    let registers = dots_in_registers(simd, x, y);
    let mut sums = [0.0; PAIRS];
    let together = PAIRS - PAIRS % S::F64_LANES;
    for first in (0..together).step_by(S::F64_LANES) {
        simd.store64(simd.fold_each(&registers[first..]), &mut sums[first..]);
    }
    for pair in together..PAIRS {
        sums[pair] = simd.fold(registers[pair]);
    }
    sums
}

/// [`dots`] before the lanes of one register are folded. Each pair has lanes of its own, so that they hide each other's
/// latency; a row that belongs to several pairs is loaded once.
#[inline(always)]
pub(super) fn dots_in_registers<S: Simd, const PAIRS: usize>(
    simd: S,
    x: [&[f32]; PAIRS],
    y: [&[f32]; PAIRS],
) -> [S::F64; PAIRS] {
    let mut lanes = [Lanes::zero(simd); PAIRS];
    let whole = x[0].len() / LANES;
    let x_blocks = x.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let y_blocks = y.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    for k in 0..whole {
        for pair in 0..PAIRS {
            lanes[pair].add_products(simd, &x_blocks[pair][k], &y_blocks[pair][k]);
        }
    }
    if !x[0].len().is_multiple_of(LANES) {
        for pair in 0..PAIRS {
            let [x, y] = [x[pair], y[pair]].map(|row| padded(row.as_chunks::<LANES>().1));
            lanes[pair].add_products(simd, &x, &y);
        }
    }
    let mut registers = [simd.splat64(0.0); PAIRS];
    for pair in 0..PAIRS {
        registers[pair] = lanes[pair].in_one_register(simd);
    }
    registers
}

/// The first `length` elements of `from`, fewer than `LANES`, filled up with zeros. Where more of them follow, which is
/// the case of all rows but the last few of a matrix, that is a whole block of which some lanes are cleared.
#[inline(always)]
pub(super) fn padded_start(from: &[f32], length: usize) -> Block<f32> {
    let Some(block) = from.first_chunk() else { return padded(&from[..length]) };
    let mut block: Block<f32> = *block;
    for (lane, value) in block.iter_mut().enumerate() {
        *value = if lane < length { *value } else { 0.0 };
    }
    block
}

/// Rows of one length, with what they have beyond whole blocks, filled up with zeros.
#[derive(Clone, Copy)]
pub(super) struct PaddedRows<'a, const ROWS: usize> {
    pub(super) rows: [&'a [f32]; ROWS],
    pub(super) tails: [Block<f32>; ROWS],
}

impl<'a, const ROWS: usize> PaddedRows<'a, ROWS> {
    #[inline(always)]
    pub(super) fn new(rows: [&'a [f32]; ROWS]) -> PaddedRows<'a, ROWS> {
        let mut tails = [[0.0; LANES]; ROWS];
        for (tail, row) in tails.iter_mut().zip(rows) {
            *tail = padded(row.as_chunks::<LANES>().1);
        }
        PaddedRows { rows, tails }
    }
}

/// The exact dot products of each of some rows of `dim` elements that come from memory, with itself and with each of
/// `others`. The slices may go on beyond the rows. While a line is read, the one [`READ_AHEAD`] further on is asked for,
/// which may be anything.
#[inline(always)]
pub(super) fn passing_dots<S: Simd, const ROWS: usize, const OTHERS: usize>(
    simd: S,
    rows: [&[f32]; ROWS],
    dim: usize,
    others: &PaddedRows<'_, OTHERS>,
) -> ([f64; ROWS], [[f64; OTHERS]; ROWS]) {
    let mut own = [Lanes::zero(simd); ROWS];
    let mut mixed = [[Lanes::zero(simd); OTHERS]; ROWS];
    let whole = dim / LANES;
    let row_blocks = rows.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let other_blocks = others.rows.map(|other| &other.as_chunks::<LANES>().0[..whole]);
    for k in 0..whole {
        for row in 0..ROWS {
            let block = &row_blocks[row][k];
            own[row].add_products(simd, block, block);
            for other in 0..OTHERS {
                mixed[row][other].add_products(simd, block, &other_blocks[other][k]);
            }
            prefetch(block.as_ptr().wrapping_add(READ_AHEAD).cast());
        }
    }
    if !dim.is_multiple_of(LANES) {
        for row in 0..ROWS {
            let block = padded_start(&rows[row][whole * LANES..], dim % LANES);
            own[row].add_products(simd, &block, &block);
            for (mixed, tail) in mixed[row].iter_mut().zip(&others.tails) {
                mixed.add_products(simd, &block, tail);
            }
        }
    }
    let (mut squared_norms, mut dots) = ([0.0; ROWS], [[0.0; OTHERS]; ROWS]);
    for row in 0..ROWS {
        squared_norms[row] = own[row].fold(simd);
        for other in 0..OTHERS {
            dots[row][other] = mixed[row][other].fold(simd);
        }
    }
    (squared_norms, dots)
}

/// What an anchor needs of itself, its positive and the sum of all candidates, in one pass: the dot products with
/// itself, with `row` and with `sum`, before the lanes of one register are folded.
#[inline(always)]
pub(super) fn anchor_dots<S: Simd>(simd: S, x: &[f32], row: &[f32], sum: &[f64]) -> [S::F64; 3] {
    let mut lanes = [Lanes::zero(simd); 3];
    let ((x, x_tail), (row, row_tail), (sum, sum_tail)) = (x.as_chunks(), row.as_chunks(), sum.as_chunks());
    for ((x, row), sum) in x.iter().zip(row).zip(sum) {
        add_anchor_products(simd, x, row, sum, &mut lanes);
    }
    if !x_tail.is_empty() {
        add_anchor_products(simd, &padded(x_tail), &padded(row_tail), &padded(sum_tail), &mut lanes);
    }
    [lanes[0].in_one_register(simd), lanes[1].in_one_register(simd), lanes[2].in_one_register(simd)]
}

/// Adds the products of a block of an anchor with itself, with `row` and with `sum`. Register by register: with AVX2 the sums
/// fill twelve of the sixteen registers, and beside a whole block of the anchor one of them would lie in memory, where each
/// addition waits for the one before it.
#[inline(always)]
fn add_anchor_products<S: Simd>(
    simd: S,
    x: &Block<f32>,
    row: &Block<f32>,
    sum: &Block<f64>,
    [own, dot, total]: &mut [Lanes<S>; 3],
) {
    for r in 0..LANES / S::F64_LANES {
        let at = r * S::F64_LANES;
        let x = simd.widen(&x[at..]);
        own.0[r] = simd.mul_add_exact(x, x, own.0[r]);
        dot.0[r] = simd.mul_add_exact(x, simd.widen(&row[at..]), dot.0[r]);
        total.0[r] = simd.add64(total.0[r], simd.mul64(x, simd.load64(&sum[at..])));
    }
}

/// The dot product of a row with a vector of `f64`.
#[inline(always)]
pub(super) fn dot_sum<S: Simd>(simd: S, x: &[f32], sum: &[f64]) -> f64 {
    let [product] = sum_dots_in_registers(simd, [x], sum);
    simd.fold(product)
}

/// The dot products of some rows with a vector of `f64`, before the lanes of one register are folded. The slices may go on
/// beyond the rows.
#[inline(always)]
pub(super) fn sum_dots_in_registers<S: Simd, const ROWS: usize>(
    simd: S,
    rows: [&[f32]; ROWS],
    sum: &[f64],
) -> [S::F64; ROWS] {
    let mut lanes = [Lanes::zero(simd); ROWS];
    let (blocks, tail) = sum.as_chunks::<LANES>();
    let row_blocks = rows.map(|row| &row.as_chunks::<LANES>().0[..blocks.len()]);
    for (k, block) in blocks.iter().enumerate() {
        for row in 0..ROWS {
            lanes[row].add_rounded_products(simd, &row_blocks[row][k], block);
        }
    }
    if !tail.is_empty() {
        let tail_block = padded(tail);
        for row in 0..ROWS {
            let block = padded(&rows[row][blocks.len() * LANES..][..tail.len()]);
            lanes[row].add_rounded_products(simd, &block, &tail_block);
        }
    }
    let mut registers = [simd.splat64(0.0); ROWS];
    for row in 0..ROWS {
        registers[row] = lanes[row].in_one_register(simd);
    }
    registers
}

/// Adds `row * scale`, the product rounded before it is added.
#[inline(always)]
pub(super) fn add_scaled(row: &[f32], scale: f64, sum: &mut [f64]) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum += f64::from(value) * scale;
    }
}

/// Adds rows, each times a number, to `sum`: one after the other, every product rounded before it is added. Returns the
/// dot product of `x` with what is in `sum` then, as [`dot_sum`] does, from the same pass.
#[inline(always)]
pub(super) fn add_scaled_rows<S: Simd>(simd: S, terms: &[(&[f32], f64)], x: &[f32], sum: &mut [f64]) -> f64 {
    let mut lanes = Lanes::zero(simd);
    let ((x, x_tail), (blocks, tail)) = (x.as_chunks::<LANES>(), sum.as_chunks_mut::<LANES>());
    for (k, (x, block)) in x.iter().zip(&mut *blocks).enumerate() {
        let mut held = Lanes::load(simd, block);
        for &(row, scale) in terms {
            held.add_scaled(simd, &row.as_chunks().0[k], simd.splat64(scale));
        }
        held.store(simd, block);
        lanes.add_rounded_products(simd, x, block);
    }
    if !x_tail.is_empty() {
        for &(row, scale) in terms {
            add_scaled(row.as_chunks::<LANES>().1, scale, tail);
        }
        lanes.add_rounded_products(simd, &padded(x_tail), &padded(tail));
    }
    lanes.fold(simd)
}

/// The dot product of a row with another one times `scale`: [`dot_sum`] with a vector of one row.
#[inline(always)]
pub(super) fn dot_scaled<S: Simd>(simd: S, x: &[f32], y: &[f32], scale: f64) -> f64 {
    let (mut lanes, scale) = (Lanes::zero(simd), simd.splat64(scale));
    let ((x, x_tail), (y, y_tail)) = (x.as_chunks(), y.as_chunks());
    for (x, y) in x.iter().zip(y) {
        lanes.add_scaled_products(simd, x, y, scale);
    }
    if !x_tail.is_empty() {
        lanes.add_scaled_products(simd, &padded(x_tail), &padded(y_tail), scale);
    }
    lanes.fold(simd)
}

/// The sum of the elements of a row.
#[inline(always)]
pub(super) fn sum_values<S: Simd>(simd: S, x: &[f32]) -> f64 {
    let mut lanes = Lanes::zero(simd);
    let (x, tail) = x.as_chunks();
    for x in x {
        lanes.add_values(simd, x);
    }
    if !tail.is_empty() {
        lanes.add_values(simd, &padded(tail));
    }
    lanes.fold(simd)
}
