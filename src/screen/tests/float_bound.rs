//! An attack on the screen's error bound: pairs that an `f32` sum gets as wrong as it can, among exact near-ties.
//!
//! A screen may rule out a pair only if its error bound says so. A bound that is too small shows when the pair that
//! should win is screened far too low, or far too high, while its rivals differ from it by a unit in the last place.
//! So each batch is built in three steps: rows whose `f32` sums go wrong by much, in both directions; a last element
//! for each, which brings its exact similarity to within 3 units in the last place of one target; and positives in
//! the midst of them. That the data is what it should be is asserted, as a harmless batch would prove nothing.

use super::intervals::assert_intervals;
use crate::Workspace;
use crate::common::near_ties::{NearTies, aim, cosine, disturb, scaled, sign};
use crate::common::{ALL_NEGATIVES, OwnedBatch, Pairing, Random, check_forward};
use crate::kernels::Format;
use crate::reference;
use crate::screen::float::{LAST_BELOW_ONE, SHRINK, bound};
use crate::screen::rounding::ROUNDING;

/// The last two are where the formula of the bound changes.
const DIMS: [usize; 16] =
    [1, 2, 3, 7, 16, 17, 64, 100, 255, 384, 768, 1024, 2048, 4096, LAST_BELOW_ONE, LAST_BELOW_ONE + 1];
const ROWS: usize = 8;
const CANDIDATES: usize = 60;

/// Elements from which sums in `f32` go wrong, each kind in its own way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attack {
    /// One huge element, then products of almost exactly half a unit in the last place of the sum: every one of them
    /// is lost, or every one is rounded up to a whole unit.
    Tail,
    /// The same with alternating signs in both rows, whose products are positive.
    AlternatingTail,
    /// The same with products of alternating signs: those of one sign are lost, the others are doubled.
    CancellingTail,
    /// Equal magnitudes, all positive.
    Equal,
    /// Equal magnitudes, alternating signs.
    Alternating,
    /// One element a million times as large as the others.
    Huge,
    /// A rising ramp.
    Ramp,
    /// A falling ramp: large terms first, so that the rest is added to a large sum.
    Fall,
    /// Elements just above and below boundaries at which normalisation and products are rounded.
    Boundaries,
    /// Nothing in particular.
    Random,
}

const ALL_ATTACKS: [Attack; 10] = [
    Attack::Tail,
    Attack::AlternatingTail,
    Attack::CancellingTail,
    Attack::Equal,
    Attack::Alternating,
    Attack::Huge,
    Attack::Ramp,
    Attack::Fall,
    Attack::Boundaries,
    Attack::Random,
];

/// The anchors of an attack: fewer of the longest, each of which costs as much as several others.
fn anchors_of(dim: usize) -> usize {
    if dim > 4096 { 3 } else { ROWS }
}

impl Attack {
    fn is_tail(self) -> bool {
        matches!(self, Attack::Tail | Attack::AlternatingTail | Attack::CancellingTail)
    }

    fn anchor(self, random: &mut Random, dim: usize) -> Vec<f32> {
        // Together with a candidate's tail of the same size, half a unit in the last place of sums from 1/2 to 1.
        let half_unit = 2.0_f32.powf(-12.5);
        let element = |k: usize| match self {
            Attack::Tail if k > 0 => half_unit,
            Attack::AlternatingTail | Attack::CancellingTail if k > 0 => half_unit * sign(k),
            Attack::Tail | Attack::AlternatingTail | Attack::CancellingTail | Attack::Equal => 1.0,
            Attack::Alternating => sign(k),
            Attack::Huge => [1e6, 1.0 + k as f32 * 1e-3][usize::from(k > 0)],
            Attack::Ramp => (k + 1) as f32,
            Attack::Fall => (dim - k) as f32,
            Attack::Boundaries => [1.0 + f32::EPSILON, 1.0 - f32::EPSILON / 2.0, 1.0 + 2.0_f32.powi(-12)][k % 3],
            Attack::Random => 0.0,
        };
        match self {
            Attack::Random => random.rows(1, dim),
            _ => (0..dim).map(element).collect(),
        }
    }

    /// A candidate that resembles `anchor`, but for its last element.
    fn candidate(self, random: &mut Random, anchor: &[f32]) -> Vec<f32> {
        let mut row = anchor.to_vec();
        let above = random.below(2) == 0;
        for (k, value) in row.iter_mut().enumerate() {
            // A little above or below one half unit: the tails' direction, which follows the sign of the product.
            let up = above != (self == Attack::CancellingTail && k % 2 == 1);
            let off = if up { 1.0 + 2.0_f32.powi(-11) } else { 1.0 - 2.0_f32.powi(-11) };
            match self {
                Attack::Tail | Attack::AlternatingTail if k > 0 => *value *= off,
                Attack::CancellingTail if k > 0 => *value = value.abs() * off,
                Attack::Tail | Attack::AlternatingTail | Attack::CancellingTail => {}
                Attack::Boundaries => *value = f32::from_bits(value.to_bits() + random.below(3) as u32),
                Attack::Equal | Attack::Alternating if random.below(16) > 0 => {}
                Attack::Huge if k == 0 => {}
                _ => *value *= 1.0 + random.unit() * 0.5,
            }
        }
        row
    }
}

/// What a sum in `f32` gets wrong: the similarity of rows as the screen has them, added up in order, less the exact
/// one.
fn error(x: &[f32], y: &[f32]) -> f64 {
    let unit = |row: &[f32]| {
        let scale = (SHRINK / reference::norm(row)) as f32;
        row.iter().map(|value| value * scale).collect::<Vec<f32>>()
    };
    let sum = unit(x).iter().zip(unit(y)).fold(0.0_f32, |sum, (x, y)| x.mul_add(y, sum));
    f64::from(sum) - SHRINK * SHRINK * cosine(x, y)
}

impl Attack {
    /// A batch of near-ties that this attack gets wrong.
    fn batch(self, dim: usize, seed: u64) -> NearTies {
        let mut random = Random(seed);
        let anchor = self.anchor(&mut random, dim);
        let mut pool: Vec<Vec<f32>> = (0..16).map(|_| self.candidate(&mut random, &anchor)).collect();
        for row in &mut pool {
            // An element beside the anchor's direction, to aim with. What comes before it is left with a similarity
            // of about 3/4, where sums are rounded to the largest units.
            let beside = reference::norm(row) * if dim > 1 { 0.8 } else { 1.0 };
            row[dim - 1] = (beside as f32).copysign(anchor[dim - 1]);
            if self.is_tail() && dim > 2 {
                // The tail's products have their size after normalisation, in the screen's units.
                let norms = (reference::norm(&anchor) * reference::norm(row) / (SHRINK * SHRINK)) as f32;
                row[1..dim - 1].iter_mut().for_each(|value| *value *= norms);
            }
        }
        pool.sort_by(|x, y| error(&anchor, x).total_cmp(&error(&anchor, y)));
        let (low, high) = (&pool[0], &pool[15]);
        if self.is_tail() && dim > 16 {
            let spread = error(&anchor, high) - error(&anchor, low);
            assert!(spread > 0.9 * (dim - 2) as f64 * ROUNDING, "{self:?}, dim {dim}: a spread of {spread:e} only");
        }
        let target = f64::from(cosine(&anchor, low) as f32);
        let unit = f64::from((target as f32).next_up()) - target;
        let mut candidates = Vec::new();
        for index in 0..CANDIDATES {
            let mut row = if random.below(2) == 0 { low.clone() } else { high.clone() };
            disturb(&mut random, &mut row);
            if dim > 1 {
                aim(&anchor, &mut row, target + unit * (index % 7) as f64 - 3.0 * unit);
            }
            candidates.extend(scaled(&row, index));
        }
        let mut anchors = anchor.clone();
        for row in 1..anchors_of(dim) {
            let mut other = anchor.clone();
            if row > 2 {
                disturb(&mut random, &mut other);
            }
            anchors.extend(scaled(&other, row));
        }
        let batch = OwnedBatch::new(anchors, candidates, dim, Pairing::Identity);
        NearTies { batch, attacked: (0..anchors_of(dim)).collect(), ties: CANDIDATES }
    }
}

#[test]
fn near_ties_that_an_f32_sum_gets_wrong() {
    let mut workspace = Workspace::new();
    for dim in DIMS {
        for (turn, attack) in ALL_ATTACKS.into_iter().enumerate() {
            let what = format!("{attack:?}, dim {dim}");
            let batch = attack.batch(dim, (dim * 16 + turn) as u64);
            if dim > 1 {
                batch.assert_near_ties(10, &what);
            }
            batch.check(&mut workspace, &what);
            let places = assert_intervals(Format::Float32, &batch.batch.anchors, &batch.batch.candidates, dim, &what);
            if attack.is_tail() && dim > 512 && dim <= LAST_BELOW_ONE {
                assert!(places[1] - places[0] > 0.8, "{what}: from {} to {} of the bound", places[0], places[1]);
            }
        }
    }
}

/// Pairs whose sums begin near the largest that there is, the square of the norm of the screen's rows, and then take
/// products of almost exactly half a unit in the last place: every one is lost, or every one is rounded up to a unit.
/// Above 1 that unit would be twice as large, and the errors twice the bound.
#[test]
fn sums_that_begin_near_the_largest() {
    for dim in [2, 64, 1024, 4096, LAST_BELOW_ONE] {
        let largest = (SHRINK * SHRINK) as f32;
        let half_unit = f64::from(largest.next_up() - largest) / 2.0;
        for off in [1.0 - 2.0_f64.powi(-8), 1.0 + 2.0_f64.powi(-8)] {
            // In the screen's units; both rows have the norm SHRINK and are the same.
            let element = (half_unit * off).sqrt();
            let first = (SHRINK * SHRINK - (dim - 1) as f64 * element * element).sqrt();
            let row: Vec<f32> = (0..dim).map(|k| (if k == 0 { first } else { element }) as f32).collect();
            let rows: Vec<f32> = [0, 1, 4].iter().flat_map(|&index| scaled(&row, index)).collect();
            let what = format!("dim {dim}, {off} of half a unit");
            let places = assert_intervals(Format::Float32, &rows, &rows, dim, &what);
            let reached = if off < 1.0 { places[1] } else { -places[0] };
            let expected = 0.9 * (dim - 1) as f64 * half_unit / f64::from(bound(dim));
            assert!(dim < 1024 || reached > expected, "{what}: {reached} of the bound");
        }
    }
}

/// Short rows of equal elements, of those sizes that normalisation makes too large by the most, and too small: hardly
/// anything is added up, and nearly all of the error is due to their normalisation.
#[test]
fn rows_that_normalisation_gets_wrong() {
    let (mut random, mut reached) = (Random(1), 0.0_f64);
    for dim in 1..=16 {
        // The relative error of an element in units of the roundings.
        let error = |row: &[f32]| {
            let norm = reference::norm(row);
            let element = row[0] * (SHRINK / norm) as f32;
            (f64::from(element) * norm / f64::from(row[0]) / SHRINK - 1.0) / ROUNDING
        };
        let mut rows: Vec<Vec<f32>> = (0..20_000).map(|_| vec![1.5 + random.unit() / 2.0; dim]).collect();
        rows.sort_by(|x, y| error(x).total_cmp(&error(y)));
        let (worst, best) = (rows[..8].concat(), rows[rows.len() - 8..].concat());
        let what = format!("dim {dim}, errors from {} to {}", error(&rows[0]), error(&rows[rows.len() - 1]));
        let rows = [worst, best].concat();
        let places = assert_intervals(Format::Float32, &rows, &rows, dim, &what);
        let largest = places[1].max(-places[0]) * f64::from(bound(dim)) / ROUNDING;
        reached = reached.max(largest);
    }
    assert!(reached > 3.9, "{reached} roundings only");
}

/// Rows whose norm is beyond the range of `f32`, so that its inverse has lost most of its digits: a screen that
/// multiplied with it would be off by more than its bound, by another amount for each row.
#[test]
fn norms_beyond_the_range_of_f32() {
    let mut workspace = Workspace::new();
    for dim in [16, 36, 64, 100] {
        for seed in 0..8 {
            let mut random = Random(seed);
            let mut row = || {
                let scale = f64::from(f32::MAX) * (0.5 + 0.49 * f64::from(random.unit().abs()));
                let mut row: Vec<f32> = (0..dim).map(|k| (f64::from(sign(k)) * scale) as f32).collect();
                disturb(&mut random, &mut row);
                row
            };
            let rows: Vec<Vec<f32>> = (0..ROWS + CANDIDATES).map(|_| row()).collect();
            let (anchors, candidates) = (rows[..ROWS].concat(), rows[ROWS..].concat());
            assert!(rows.iter().all(|row| reference::norm(row) > f64::from(f32::MAX)));
            assert_intervals(Format::Float32, &anchors, &candidates, dim, &format!("dim {dim}"));
            let batch = OwnedBatch::new(anchors, candidates, dim, Pairing::Offset(seed as usize));
            for negatives in ALL_NEGATIVES {
                check_forward(batch.batch(), negatives, &mut workspace, &format!("dim {dim}"));
            }
        }
    }
}
