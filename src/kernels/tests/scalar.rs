//! What kernels are compared with: the definitions as scalar code, and rows that make trouble.

use crate::common::Random;

/// Element `k` of a row is added in lane `k % VIRTUAL_LANES`, whatever a register holds: part of the definition.
const VIRTUAL_LANES: usize = 16;

/// Lengths of rows around those of one block of lanes, of two, and of some with a rest.
pub(super) const LENGTHS: [usize; 10] = [1, 2, 15, 16, 17, 31, 32, 33, 53, 100];

/// Numbers that make trouble: both zeros, subnormals, the largest, and some whose products have all their bits.
const EDGES: [f32; 10] =
    [0.0, -0.0, 1e-45, -1e-45, f32::MIN_POSITIVE, -1.1e-38, 3e38, -3e38, 1.0 + f32::EPSILON, -16_777_215.0];

/// The sum of `terms` in lanes, the first of which takes the first term; then lane `l` takes lane `l + 8`, `l + 4`, and
/// so on.
pub(super) fn lane_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut lanes = [0.0; VIRTUAL_LANES];
    for (k, term) in terms.enumerate() {
        lanes[k % VIRTUAL_LANES] += term;
    }
    let mut half = VIRTUAL_LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

pub(super) fn dot(x: &[f32], y: &[f32]) -> f64 {
    lane_sum(x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)))
}

pub(super) fn norm(x: &[f32]) -> f64 {
    dot(x, x).sqrt()
}

/// Every product is rounded before it is added.
pub(super) fn dot_sum(x: &[f32], sum: &[f64]) -> f64 {
    lane_sum(x.iter().zip(sum).map(|(&x, &sum)| f64::from(x) * sum))
}

/// 0 for a zero row.
pub(super) fn inverse(norm: f64) -> f64 {
    if norm == 0.0 { 0.0 } else { 1.0 / norm }
}

/// Adds a row times a number, every product rounded before it is added.
pub(super) fn add_scaled(row: &[f32], scale: f64, sum: &mut [f64]) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        let product = f64::from(value) * scale;
        *sum += product;
    }
}

/// Rows of numbers of all sizes, whose sums depend on their order. Every third row has numbers that make trouble among
/// them, and the last of several is zero.
pub(super) fn rows(random: &mut Random, count: usize, dim: usize) -> Vec<f32> {
    let mut rows = Vec::new();
    for row in 0..count {
        for _ in 0..dim {
            let sized = random.unit() * 2.0_f32.powi(random.below(24) as i32 - 12);
            let is_edge = row % 3 == 2 && random.below(4) == 0;
            rows.push(if is_edge { random.choose(&EDGES) } else { sized });
        }
    }
    if count > 3 {
        rows[(count - 1) * dim..].fill(0.0);
    }
    rows
}

/// Numbers of `f64` of all sizes, with all their bits.
pub(super) fn wide(random: &mut Random, count: usize) -> Vec<f64> {
    (0..count)
        .map(|_| f64::from(random.unit()) * f64::from(random.unit()) * 3.0_f64.powi(random.below(9) as i32))
        .collect()
}

/// Rows of two sides whose dot products are sums of huge numbers that cancel each other, and of small ones that are
/// lost where a lane is huge just then. So a sum in another order is another number, also when it is rounded to `f32`.
pub(super) fn cancelling_rows(random: &mut Random, [count, others]: [usize; 2], dim: usize) -> [Vec<f32>; 2] {
    let mut places: Vec<usize> = (0..dim).collect();
    for place in (1..dim).rev() {
        places.swap(place, random.below(place + 1));
    }
    let pairs = dim.div_ceil(5).min(dim / 2);
    [(count, -1.0), (others, 1.0)].map(|(count, second)| {
        let mut rows = random.rows(count, dim);
        for row in rows.chunks_mut(dim) {
            for pair in places.chunks_exact(2).take(pairs) {
                let huge = 2.0_f32.powi(30) * random.choose(&[-1.0, 1.0]);
                (row[pair[0]], row[pair[1]]) = (huge, second * huge);
            }
        }
        rows
    })
}

/// The bits of numbers; any NaN is the same as another.
pub(super) fn bits<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> Vec<u64> {
    numbers.into_iter().map(|number| if number.is_nan() { u64::MAX } else { number.to_bits() }).collect()
}

/// The bits of numbers of `f32`.
pub(super) fn bits32<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    numbers.into_iter().map(|number| number.to_bits()).collect()
}
