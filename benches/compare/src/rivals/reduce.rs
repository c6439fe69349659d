//! What stands before and after a product: rows of embeddings are normalised, and rows of similarities become
//! statistics. The loops are written so that the compiler vectorises them, for the best instruction set of the CPU.

use crate::row::Row;

/// Numbers that a loop works on at once: some of the widest registers, so that a sum does not wait for itself.
const LANES: usize = 64;

/// A loop, to be compiled for several instruction sets; `run` must be `#[inline(always)]` for it.
trait Loop {
    type Output;
    fn run(self) -> Self::Output;
}

/// Runs the loop as compiled for the best instruction set of this CPU.
#[cfg(target_arch = "x86_64")]
fn vectorised<L: Loop>(work: L) -> L::Output {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
    fn avx512<L: Loop>(work: L) -> L::Output {
        work.run()
    }
    #[target_feature(enable = "avx2,fma")]
    fn avx2<L: Loop>(work: L) -> L::Output {
        work.run()
    }
    let has_512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
    if has_512 && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512dq") {
        // SAFETY: the CPU has all four.
        unsafe { avx512(work) }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has AVX2 and FMA.
        unsafe { avx2(work) }
    } else {
        work.run()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectorised<L: Loop>(work: L) -> L::Output {
    work.run()
}

/// Scales every row to norm 1.
pub(super) fn normalize(rows: &[f32], dim: usize, output: &mut [f32]) {
    vectorised(Normalize { rows, dim, output });
}

struct Normalize<'a> {
    rows: &'a [f32],
    dim: usize,
    output: &'a mut [f32],
}

impl Loop for Normalize<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for (row, output) in self.rows.chunks_exact(self.dim).zip(self.output.chunks_exact_mut(self.dim)) {
            let scale = 1.0 / sum_of_squares(row).sqrt();
            output.iter_mut().zip(row).for_each(|(output, value)| *output = value * scale);
        }
    }
}

#[inline(always)]
fn sum_of_squares(row: &[f32]) -> f32 {
    let (blocks, tail) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, value)| *sum += value * value);
    }
    sums.iter().sum::<f32>() + tail.iter().map(|value| value * value).sum::<f32>()
}

/// The statistics of an anchor from its similarities with all candidates.
pub(super) fn reduce(similarities: &[f32], positive: usize) -> Row {
    vectorised(Reduce { similarities, positive })
}

struct Reduce<'a> {
    similarities: &'a [f32],
    positive: usize,
}

impl Loop for Reduce<'_> {
    type Output = Row;
    #[inline(always)]
    fn run(self) -> Row {
        let Self { similarities, positive } = self;
        let limit = similarities[positive];
        let (sum, closest) = sum_and_closest(similarities, limit);
        let mean_negative = (sum - limit) / (similarities.len() - 1) as f32;
        let index = closest.is_finite().then(|| position(similarities, closest));
        Row { positive: limit, mean_negative, closest: index.map(|index| (index, closest)) }
    }
}

/// The sum of the similarities and the largest below `limit`, which is never the positive: that one is not below
/// itself.
#[inline(always)]
fn sum_and_closest(similarities: &[f32], limit: f32) -> (f32, f32) {
    let below = |value: f32| if value < limit { value } else { f32::NEG_INFINITY };
    let larger = |one: f32, other: f32| if one > other { one } else { other };
    let (blocks, tail) = similarities.as_chunks::<LANES>();
    let (mut sums, mut largest) = ([0.0; LANES], [f32::NEG_INFINITY; LANES]);
    for block in blocks {
        for ((sum, largest), &value) in sums.iter_mut().zip(&mut largest).zip(block) {
            *sum += value;
            *largest = larger(*largest, below(value));
        }
    }
    let sum = sums.iter().sum::<f32>() + tail.iter().sum::<f32>();
    let largest = largest.into_iter().chain(tail.iter().map(|&value| below(value)));
    (sum, largest.fold(f32::NEG_INFINITY, larger))
}

/// The first place of `wanted`, which is there: the block first, so that most comparisons are vectorised.
#[inline(always)]
fn position(similarities: &[f32], wanted: f32) -> usize {
    let has = |block: &[f32; LANES]| block.iter().fold(false, |found, &value| found | (value == wanted));
    let (blocks, _) = similarities.as_chunks::<LANES>();
    let start = LANES * blocks.iter().position(has).unwrap_or(blocks.len());
    let within = similarities[start..].iter().position(|&value| value == wanted);
    start + within.expect("it was found before")
}
