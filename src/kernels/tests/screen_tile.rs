//! The tile against sums of integers: every format, every number of registers, exactly.

use core::marker::PhantomData;

use super::intervals::AllIntervals;
use crate::arch::{Backend, Simd, WithSimd};
use crate::common::Random;
use crate::screen::{
    AnchorConstants, Float32, Format, Int8, Int16, Precision, Prefetch, ScreenTile, Tile, TileBounds, Window,
};

/// The integers that a tile multiplies: from the least to the largest, both among them.
#[derive(Clone, Copy)]
struct Range {
    least: i32,
    largest: i32,
}

impl Range {
    /// An end of the range, or a number inside.
    fn draw(self, random: &mut Random) -> i32 {
        match random.below(4) {
            0 => self.least,
            1 => self.largest,
            _ => self.least + random.below((self.largest - self.least) as usize + 1) as i32,
        }
    }
}

/// A word of a format that holds these integers, the first one in the lowest bits.
fn word<F: Format>(integers: &[i32]) -> u32 {
    if F::PER_WORD == 1 {
        return (integers[0] as f32).to_bits();
    }
    let bits = 32 / F::PER_WORD;
    let mask = u32::MAX >> (32 - bits);
    integers.iter().rev().fold(0, |word, &integer| word << bits | integer.cast_unsigned() & mask)
}

/// The words of rows as a tile reads them, `[step][row]`.
fn words<F: Format>(rows: &[Vec<i32>]) -> Vec<u32> {
    let steps = rows[0].len() / F::PER_WORD;
    (0..steps)
        .flat_map(|step| rows.iter().map(move |row| word::<F>(&row[step * F::PER_WORD..][..F::PER_WORD])))
        .collect()
}

/// Tiles of a format with integers of these ranges.
struct Tiles<F> {
    anchors: Range,
    candidates: Range,
    /// The largest of the small whole numbers that stand for steps, norms and the like: sums that are not small leave
    /// no room for any but 1 and 0.
    largest_constant: usize,
    format: PhantomData<F>,
}

impl<F: Format> WithSimd for Tiles<F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut random = Random(S::F32_LANES as u64);
        for (rows, registers) in (1..=S::TILE_ANCHORS).flat_map(|rows| (1..=S::TILE_REGISTERS).map(move |r| (rows, r)))
        {
            for steps in [1, 2, 3, 16, 67] {
                self.check(simd, &mut random, (rows, registers), steps);
            }
        }
    }
}

impl<F: Format> Tiles<F> {
    /// A small whole number from `least` on, or `least` where constants are to change nothing.
    fn constant(&self, random: &mut Random, least: usize) -> f32 {
        (least + random.below(self.largest_constant + 1 - least.min(self.largest_constant))) as f32
    }

    /// One tile, in which the first `present` rows are those of anchors: its intervals, and that it hands over the rows
    /// with hits alone.
    fn check<S: Simd>(&self, simd: S, random: &mut Random, (present, registers): (usize, usize), steps: usize) {
        let (width, elements) = (registers * S::F32_LANES, steps * F::PER_WORD);
        let mut draw = |range: Range, offset: i32, count: usize| -> Vec<Vec<i32>> {
            (0..count).map(|_| (0..elements).map(|_| range.draw(random) + offset).collect()).collect()
        };
        let offset = if F::PRECISION == Precision::Int8 { S::I8_OFFSET } else { 0 };
        let (anchors, candidates) = (draw(self.anchors, 0, S::TILE_ANCHORS), draw(self.candidates, offset, width));
        let starts: Vec<i32> = (0..S::TILE_ANCHORS).map(|_| self.anchors.draw(random)).collect();
        let mut constant = |least| self.constant(random, least);
        let rows: Vec<AnchorConstants> = starts
            .iter()
            .map(|&start| AnchorConstants {
                start: if F::PER_WORD == 1 { (start as f32).to_bits() } else { start.cast_unsigned() },
                quant_step: constant(1),
                norm: constant(0),
                residual: constant(0),
                length: constant(0),
                shift: 0.0,
            })
            .collect();
        // The step, what is added, the residual and the norm of each candidate.
        let of_candidates: Vec<[f32; 4]> =
            (0..width).map(|_| [constant(1), constant(0), constant(0), constant(0)]).collect();
        let constants: Vec<u32> = if F::CONSTANTS == 0 {
            Vec::new()
        } else {
            (0..4).flat_map(|number| of_candidates.iter().map(move |of| of[number].to_bits())).collect()
        };
        let expected = |row: usize, column: usize| {
            let products = anchors[row].iter().zip(&candidates[column]).map(|(&a, &c)| i64::from(a) * i64::from(c));
            // Sums in 32 bits wrap around.
            let sum = (products.sum::<i64>() + i64::from(starts[row])) as i32 as f32;
            if F::CONSTANTS == 0 {
                return [sum, sum - rows[row].length];
            }
            let (anchor, [quant_step, center_dot, residual, norm]) = (rows[row], of_candidates[column]);
            let error = residual * anchor.norm + norm * anchor.residual;
            let upper = sum * quant_step * anchor.quant_step + center_dot + error;
            [upper, upper - (anchor.length + 2.0 * error)]
        };
        // The window of every other row has one candidate's upper end, and that of the others has none.
        let window = |row: usize| {
            let end = expected(row, random.below(width))[0];
            if row < present && row.is_multiple_of(2) { Window { low: end, high: end } } else { Window::CLOSED }
        };
        let windows: Vec<Window> = (0..S::TILE_ANCHORS).map(window).collect();
        let (anchor_words, candidate_words) = (words::<F>(&anchors), words::<F>(&candidates));
        let tile = Tile {
            anchors: &anchor_words,
            candidates: &candidate_words,
            constants: &constants,
            prefetch: Prefetch::nothing(&anchor_words),
        };
        let mut bounds = TileBounds::ZERO;
        let mut sink = AllIntervals { constants: &rows, windows, taken: Vec::new() };
        let kernel = ScreenTile { tile, bounds: &mut bounds, sink: &mut sink, format: PhantomData::<F> };
        simd.run_tile(present, registers, kernel);
        assert_eq!(sink.taken.len(), present.div_ceil(2), "rows with hits");
        for (index, (row, lower, upper)) in sink.taken.into_iter().enumerate() {
            assert_eq!((row, lower.len(), upper.len()), (2 * index, width, width));
            for column in 0..width {
                let what = format!(
                    "{:?}, {present} rows, {registers} registers, {steps} steps, row {row}, {column}",
                    F::PRECISION
                );
                assert_eq!([upper[column], lower[column]], expected(row, column), "{what}");
            }
        }
    }
}

/// Runs tiles of a format on every backend.
fn check<F: Format>(anchors: [i32; 2], candidates: [i32; 2], largest_constant: usize) {
    let range = |[least, largest]: [i32; 2]| Range { least, largest };
    for backend in Backend::available() {
        let (anchors, candidates, format) = (range(anchors), range(candidates), PhantomData::<F>);
        backend.run(Tiles { anchors, candidates, largest_constant, format });
    }
}

#[test]
fn tiles_are_sums_of_integers() {
    check::<Float32>([-40, 40], [-40, 40], 9);
    check::<Int16>([-40, 40], [-40, 40], 9);
    check::<Int8>([-5, 5], [-5, 5], 9);
}

/// The sums leave the range of 32 bits: they wrap around, and are converted with one rounding.
#[test]
fn tiles_of_the_largest_integers() {
    check::<Int16>([-32767, 32767], [-32767, 32767], 0);
    check::<Int8>([-127, 127], [-127, 127], 0);
}
