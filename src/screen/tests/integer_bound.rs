//! An attack on the error bounds of the integer screens: near-ties whose roundings all point the same way.
//!
//! A row is rounded to a grid, and the bound of a pair is `|p| |e_v| + |e_u| |v'|`: what the rounding leaves out (e) of
//! one row, times the length of the other. By Cauchy and Schwarz nothing is gained on it where the residual of a
//! candidate is parallel to the anchor. So candidates are built the other way round, from a point of the grid and a
//! residual of almost half a step in each element, with the signs of the anchor, or all against them; and the last
//! element brings the exact similarity to within 3 units in the last place of one target. A pair that should win is
//! then screened too low by nearly the whole bound, and its rivals too high. How much of the bound the errors reach is
//! asserted, as a harmless batch would prove nothing.
//!
//! The proof of the bound rests on numbers that are measured of each row. They are checked against the true ones.

use super::intervals::assert_intervals;
use crate::arch::Backend;
use crate::common::near_ties::{NearTies, scaled, sign};
use crate::common::{ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, Pairing, Random, check_forward};
use crate::error::Side;
use crate::kernels::{Format, LARGEST_NORM, MAX_LANES, PanelTarget, RawRows, SLACK, norm, scratch_len};
use crate::rows::Rows;
use crate::screen::center::sample_size;
use crate::screen::quantize::MAX_DIM;
use crate::screen::rounding::ROUNDING;
use crate::screen::{Center, Params, center_len, pack_candidates};
use crate::{Workspace, reference};

/// An integer format, as the screen's source has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    format: Format,
    /// The largest integer of the side that is attacked. The other side is flat, and on the grid whatever that is.
    largest: f64,
    /// The largest norm of a row in steps.
    largest_norm: f64,
    /// What an element is away from the grid, in steps: near the half, but for what rounding its row to `f32` moves it.
    off: f64,
}

const BYTES: Grid = Grid::of(Format::Int8, 127, f64::INFINITY, 0.49);
/// The bytes of candidates and of anchors where two products are added in 16 bits.
const SMALL_BYTES: [Grid; 2] = [Grid { largest: 90.0, ..BYTES }, Grid { largest: 91.0, ..BYTES }];
const WORDS: Grid = Grid::of(Format::Int16, 32767, LARGEST_NORM as f64, 0.48);

const DIMS: [usize; 8] = [4, 16, 17, 64, 128, 384, 768, 1024];
const ANCHORS: usize = 6;
/// The candidates that nearly tie. There are as many opposite ones.
const PAIRS: usize = 30;

/// What decides the step of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// Its largest element.
    Element,
    /// Its norm.
    Norm,
}

const ALL_GRIDS: [(Grid, Limit); 5] = [
    (BYTES, Limit::Element),
    (SMALL_BYTES[0], Limit::Element),
    (SMALL_BYTES[1], Limit::Element),
    (WORDS, Limit::Element),
    (WORDS, Limit::Norm),
];

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// The row with norm 1.
fn unit(row: &[f32]) -> Vec<f64> {
    let norm = reference::norm(row);
    row.iter().map(|&value| f64::from(value) / norm).collect()
}

/// The unit row in direction `y` from `center`.
fn beyond(center: &[f64], y: &[f64]) -> Vec<f64> {
    // | center + step y | = 1
    let (a, b, c) = (dot(y, y), dot(center, y), dot(center, center) - 1.0);
    let step = ((b * b - a * c).sqrt() - b) / a;
    center.iter().zip(y).map(|(center, y)| center + step * y).collect()
}

fn to_f32(row: &[f64]) -> Vec<f32> {
    row.iter().map(|&value| value as f32).collect()
}

/// The rows as the crate takes them.
fn rows_of(rows: &[f32], dim: usize) -> Rows<'_> {
    Rows::new(Side::Candidates, rows, dim).expect("whole rows")
}

/// The rows of `count` that a center is the mean of.
fn sampled(count: usize) -> Vec<usize> {
    rows_of(&vec![0.0; count], 1).spread(sample_size(count)).collect()
}

/// What the screen takes for the center of `rows`.
fn center(rows: &[f32], dim: usize) -> Vec<f64> {
    let mut buffer = vec![0.0; center_len(dim)];
    let center = Center::of(Backend::portable(), rows_of(rows, dim), &mut buffer);
    center.values()[..dim].iter().map(|&value| value.into()).collect()
}

/// A row on a grid: what is left without its center, as a point of the grid and what is between.
struct Rounded {
    rest: Vec<f64>,
    point: Vec<f64>,
    residual: Vec<f64>,
}

impl Grid {
    const fn of(format: Format, largest: i32, largest_norm: f64, off: f64) -> Grid {
        // What a screen measures is taken a little larger than it is.
        Grid { format, largest: largest as f64, largest_norm: largest_norm / (1.0 + SLACK as f64), off }
    }

    /// Whether a backend rounds the elements of candidates so.
    fn is_of_candidates(self) -> bool {
        let largest = |backend| self.format.integer_ranges(backend).expect("integers")[1].largest;
        Backend::available().any(|backend| f64::from(largest(backend)) == self.largest)
    }

    /// Panics unless the intervals of all pairs hold their exact similarities; returns how near they come to the ends.
    fn assert_intervals(self, batch: &OwnedBatch, what: &str) -> [f64; 2] {
        let OwnedBatch { anchors, candidates, dim, .. } = batch;
        assert_intervals(self.format, anchors, candidates, *dim, what)
    }

    fn round(self, row: &[f32], center: &[f64]) -> Rounded {
        let rest: Vec<f64> = unit(row).iter().zip(center).map(|(value, center)| value - center).collect();
        let largest = rest.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let step = (largest / self.largest).max(dot(&rest, &rest).sqrt() / self.largest_norm);
        let point: Vec<f64> = rest.iter().map(|value| (value / step).round_ties_even() * step).collect();
        let residual = rest.iter().zip(&point).map(|(value, point)| value - point).collect();
        Rounded { rest, point, residual }
    }

    /// By how much of its bound a pair is screened too low.
    fn share(self, [anchor, candidate]: [&[f32]; 2], center: &[f64]) -> f64 {
        let (u, v) = (self.round(anchor, center), self.round(candidate, center));
        let norm = |values: &[f64]| dot(values, values).sqrt();
        let error = dot(&u.rest, &v.rest) - dot(&u.point, &v.point);
        error / (norm(&u.point) * norm(&v.residual) + norm(&u.residual) * norm(&v.rest))
    }

    /// The numbers of equal elements, the most of `dim` and half as many at least, of which a row lies on the grid.
    fn flat(self, dim: usize) -> usize {
        let between = |&count: &usize| {
            let element = (self.largest_norm / (count as f64).sqrt()).min(self.largest);
            ((element - element.round()).abs() * 1e9) as u64
        };
        (dim / 2..dim).rev().min_by_key(between).expect("some elements")
    }
}

/// Where the elements of an attacked row have their places.
#[derive(Clone, Copy)]
struct Layout {
    grid: Grid,
    limit: Limit,
    dim: usize,
    /// The elements that count: 1 and -1 in the row that is flat. The others lengthen the rows.
    flat: usize,
}

impl Layout {
    fn new(grid: Grid, limit: Limit, dim: usize) -> Layout {
        Layout { grid, limit, dim, flat: grid.flat(dim) }
    }

    /// A flat row: on the grid, as all its elements are the largest.
    fn flat(&self) -> Vec<f64> {
        (0..self.dim).map(|k| if k < self.flat { f64::from(sign(k)) } else { 0.0 }).collect()
    }

    /// The size of the elements of an attacked row that leaves room for the others.
    fn size(&self) -> f64 {
        let Grid { largest, largest_norm, .. } = self.grid;
        let square = match self.limit {
            Limit::Element => 0.6 * (largest_norm.powi(2) - largest.powi(2)),
            Limit::Norm => 0.8 * largest_norm.powi(2),
        };
        (square / self.flat as f64).sqrt().min(0.8 * largest)
    }

    /// About what the element to aim with is.
    fn aimed(&self) -> f64 {
        match self.limit {
            Limit::Element => (0.4 * self.grid.largest).round(),
            Limit::Norm => self.size(),
        }
    }

    /// Integers of about one size in the directions of the flat row.
    fn integers(&self, random: &mut Random) -> Vec<f64> {
        let element = |k: usize| {
            let size = (self.size() * (1.0 + 0.05 * f64::from(random.unit()))).round();
            if k < self.flat { size * f64::from(sign(k)) } else { 0.0 }
        };
        (0..self.dim).map(element).collect()
    }

    /// The row in direction `y` with `value` in the place to aim with, if its step is what it should be.
    fn complete(&self, center: &[f64], y: &mut [f64], value: f64) -> Option<Vec<f64>> {
        let beside = self.dim - 1;
        match self.limit {
            Limit::Element => (y[0], y[beside]) = (self.grid.largest, -value),
            Limit::Norm => {
                // A positive element, as those of a center are: together with a negative one beside it, it moves the
                // similarity one way.
                (y[(self.flat - 1) & !1], y[beside]) = (value, 0.0);
                y[beside] = -(self.grid.largest_norm.powi(2) - dot(y, y)).sqrt();
            }
        }
        let largest = y.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        (largest <= self.grid.largest && y[beside].is_finite()).then(|| beyond(center, y))
    }

    /// The row near `y` that has the similarity `target` with `anchor`, by the secant method on one element, if there
    /// is one.
    fn aim(&self, anchor: &[f64], center: &[f64], y: &mut [f64], target: f64) -> Option<Vec<f32>> {
        let off = |row: &[f64]| dot(anchor, row) - target;
        let mut x = [self.aimed(), 1.01 * self.aimed()];
        let mut before = off(&self.complete(center, y, x[0])?);
        for _ in 0..30 {
            let row = self.complete(center, y, x[1])?;
            let now = off(&row);
            if now.abs() < 1e-10 {
                return Some(to_f32(&row));
            }
            x = [x[1], x[1] - now * (x[1] - x[0]) / (now - before)];
            before = now;
        }
        None
    }

    /// `count` candidates of nearly one similarity with `anchor`, whose residuals point its way and against it in
    /// turns.
    fn candidates(&self, random: &mut Random, anchor: &[f64], center: &[f64], count: usize) -> Vec<Vec<f32>> {
        let middle = self.integers(random);
        let whole = self.complete(center, &mut middle.clone(), self.aimed()).expect("a row of the middle");
        let target = f64::from(dot(anchor, &whole) as f32);
        let step = f64::from((target as f32).next_up()) - target;
        let candidate = |index: usize| {
            let towards = if random.below(2) == 0 { self.grid.off } else { -self.grid.off };
            let mut y = middle.clone();
            for (k, value) in y[..self.flat].iter_mut().enumerate() {
                let other = if random.below(self.flat) < 4 { 1.0 } else { 0.0 };
                *value += (other + towards) * f64::from(sign(k));
            }
            self.aim(anchor, center, &mut y, target + step * (index % 7) as f64 - 3.0 * step)
        };
        // Some miss, where the anchor is nearly the most similar row there is.
        let rows: Vec<Vec<f32>> = (0..100 * count).filter_map(candidate).take(count).collect();
        assert_eq!(rows.len(), count, "dim {}: too few rows of similarity {target}", self.dim);
        rows
    }

    /// Panics unless the errors of pairs reach most of their bounds, in the directions that are asked for. What is
    /// missing is due to the elements that set the step and the similarity, and to anchors that are not quite on the
    /// grid; rows of few elements have little else.
    fn assert_shares(&self, shares: &[f64], directions: &[f64], what: &str) {
        for direction in directions {
            let reached = shares.iter().map(|share| share * direction).fold(0.0, f64::max);
            assert!(self.dim < 16 || reached > 0.93 - 1.0 / self.flat as f64, "{what}: {reached} of the bound");
        }
        let least = shares.iter().map(|share| share.abs()).fold(1.0, f64::min);
        assert!(self.dim < 16 || least > 0.9 - 1.0 / self.flat as f64, "{what}: {least} of the bound");
    }
}

/// Rows and their opposites, at several scales, in such an order that the mean of a sample is zero.
fn with_opposites(rows: &[Vec<f32>]) -> Vec<f32> {
    let count = 2 * rows.len();
    let sampled = sampled(count);
    let order: Vec<usize> = sampled.iter().copied().chain((0..count).filter(|row| !sampled.contains(row))).collect();
    let mut all = vec![Vec::new(); count];
    for (index, (row, pair)) in rows.iter().zip(order.chunks(2)).enumerate() {
        let row = scaled(row, index);
        all[pair[1]] = row.iter().map(|value| -value).collect();
        all[pair[0]] = row;
    }
    let all = all.concat();
    assert!(center(&all, rows[0].len()).iter().all(|&value| value == 0.0));
    all
}

/// Checks a batch in which every anchor has [`PAIRS`] near-ties: the intervals of all pairs, and every way to run.
fn check_ties(workspace: &mut Workspace, grid: Grid, batch: OwnedBatch, what: &str) {
    grid.assert_intervals(&batch, what);
    let batch = NearTies { attacked: (0..batch.rows()).collect(), batch, ties: PAIRS };
    batch.assert_near_ties(10, what);
    batch.check(workspace, what);
}

#[test]
fn candidates_whose_roundings_are_parallel_to_the_anchor() {
    let mut workspace = Workspace::new();
    for (grid, limit) in ALL_GRIDS {
        for dim in DIMS {
            let what = format!("{grid:?}, {limit:?}, dim {dim}");
            let (layout, zero) = (Layout::new(grid, limit, dim), vec![0.0; dim]);
            let anchor = to_f32(&beyond(&zero, &layout.flat()));
            let rows = layout.candidates(&mut Random(dim as u64), &unit(&anchor), &zero, PAIRS);
            let shares: Vec<f64> = rows.iter().map(|row| grid.share([&anchor, row], &zero)).collect();
            layout.assert_shares(&shares, &[1.0, -1.0], &what);
            let (anchors, candidates) = (with_opposites(&vec![anchor; ANCHORS / 2]), with_opposites(&rows));
            check_ties(&mut workspace, grid, OwnedBatch::new(anchors, candidates, dim, Pairing::Identity), &what);
        }
    }
}

/// Here the anchor is off the grid, towards its candidates or away from them, and they lie on it, but for one element
/// that is very small.
#[test]
fn anchors_whose_roundings_are_parallel_to_the_candidates() {
    let mut workspace = Workspace::new();
    for (grid, limit) in ALL_GRIDS {
        for dim in DIMS {
            for towards in [grid.off, -grid.off] {
                let what = format!("{grid:?}, {limit:?}, dim {dim}, {towards}");
                let (layout, zero) = (Layout::new(grid, limit, dim), vec![0.0; dim]);
                let off = |value: &f64| value * (layout.size().round() + towards);
                let mut y: Vec<f64> = layout.flat().iter().map(off).collect();
                let aimed = if limit == Limit::Norm { y[0].abs() } else { layout.aimed() };
                let anchor =
                    to_f32(&layout.complete(&zero, &mut y, aimed).expect("a row between the points of the grid"));
                let beside = unit(&anchor)[dim - 1];
                let candidate = |index: usize| {
                    let mut y = layout.flat();
                    y[dim - 1] = (index % 7) as f64 * 2.0_f64.powi(-24) / beside * dot(&y, &y).sqrt();
                    to_f32(&beyond(&zero, &y))
                };
                let rows: Vec<Vec<f32>> = (0..PAIRS).map(candidate).collect();
                let shares: Vec<f64> = rows.iter().map(|row| grid.share([&anchor, row], &zero)).collect();
                layout.assert_shares(&shares, &[towards.signum()], &what);
                let (anchors, candidates) = (with_opposites(&vec![anchor; ANCHORS / 2]), with_opposites(&rows));
                check_ties(&mut workspace, grid, OwnedBatch::new(anchors, candidates, dim, Pairing::Identity), &what);
            }
        }
    }
}

/// Candidates with a strong common mean, of which the center is made; and between those that are sampled for it, rows
/// that attack the grid around that center, with anchors that do as well.
#[test]
fn roundings_around_a_center() {
    let mut workspace = Workspace::new();
    for (grid, limit) in ALL_GRIDS {
        for dim in [16, 67, 130, 256] {
            let what = format!("{grid:?}, {limit:?}, dim {dim}");
            let (layout, mut random) = (Layout::new(grid, limit, dim), Random(dim as u64));
            let OwnedBatch { mut anchors, mut candidates, .. } = Data::CommonMean.batch(dim as u64, 66, 128, dim);
            let common = center(&candidates, dim);
            assert!(dot(&common, &common).sqrt() > 0.9);
            let anchor = to_f32(&beyond(&common, &layout.flat()));
            let rows = layout.candidates(&mut random, &unit(&anchor), &common, 64);
            let shares: Vec<f64> = rows.iter().map(|row| grid.share([&anchor, row], &common)).collect();
            layout.assert_shares(&shares, &[1.0, -1.0], &what);
            let attacked = vec![32, 65];
            for &row in &attacked {
                anchors[row * dim..][..dim].copy_from_slice(&scaled(&anchor, row));
            }
            let between = (0..128).filter(|index| !sampled(128).contains(index));
            for (row, index) in rows.iter().zip(between) {
                candidates[index * dim..][..dim].copy_from_slice(&scaled(row, index));
            }
            assert_eq!(center(&candidates, dim), common);
            let batch = OwnedBatch::new(anchors, candidates, dim, Pairing::Identity);
            let places = grid.assert_intervals(&batch, &what);
            // The bound of 16-bit integers is mostly what roundings of the products with the center may be.
            if dim > 16 && grid.format == Format::Int8 && grid.is_of_candidates() {
                let reached = [-places[0], places[1]];
                assert!(reached.iter().all(|&place| place > 0.85), "{what}: {reached:?} of the bound");
            }
            let batch = NearTies { batch, attacked, ties: 64 };
            batch.assert_near_ties(10, &what);
            batch.check(&mut workspace, &what);
        }
    }
}

/// The longest rows that are rounded.
const LONGEST: usize = MAX_DIM;

/// A long row with one element that sets the step, many that count, and a last one that lengthens the row until it has
/// the similarity `target` with the signs of those that count.
fn long_row(target: f64, mut element: impl FnMut() -> f64) -> Vec<f32> {
    let mut y: Vec<f64> = (0..LONGEST).map(|k| element() * f64::from(sign(k))).collect();
    (y[0], y[LONGEST - 1]) = (BYTES.largest, 0.0);
    let along = dot(&y, &signs()) / ((LONGEST - 2) as f64).sqrt();
    y[LONGEST - 1] = ((along / target).powi(2) - dot(&y, &y)).sqrt();
    to_f32(&beyond(&vec![0.0; LONGEST], &y))
}

/// The signs of the elements that count.
fn signs() -> Vec<f64> {
    let mut signs: Vec<f64> = (0..LONGEST).map(|k| f64::from(sign(k))).collect();
    (signs[0], signs[LONGEST - 1]) = (0.0, 0.0);
    signs
}

/// The similarity of a long row whose elements are all `off`, the last one being 20 whole steps.
fn long_similarity(off: f64) -> f64 {
    let along = off * off * (LONGEST - 2) as f64;
    f64::from((along / (along + BYTES.largest.powi(2) + 400.0)).sqrt() as f32)
}

/// By how much, relatively, a sum in `f32` of as many equal products as rows have elements is too small: in four parts,
/// as the screens add up.
fn loss(x: f64, y: f64) -> f64 {
    let (x, y, count) = (x as f32, y as f32, LONGEST / 4);
    let part = (0..count).fold(0.0_f32, |sum, _| x.mul_add(y, sum));
    1.0 - f64::from(part) / (count as f64 * f64::from(x) * f64::from(y))
}

/// Long rows of nearly the similarity that is lost the most of, half of them with equal elements, of whose sums it is
/// lost. The others' elements differ, so that they lose little: against them, the former have no chance if a bound does
/// not allow for such a loss. `lost` says how much of the sums of rows with elements of such a size is lost.
fn long_rows(lost: impl Fn(f64) -> f64) -> Vec<Vec<f32>> {
    let mut random = Random(1);
    let lost = |off: f64| lost(f64::from(long_row(long_similarity(off), || off)[1]).abs());
    let offs = (440..490).map(|off| f64::from(off) / 1000.0);
    let off = offs.max_by(|&x, &y| lost(x).total_cmp(&lost(y))).expect("some");
    assert!(lost(off) > 8e-5, "only {:e} are lost", lost(off));
    let row = |index: usize| {
        let target = long_similarity(off) - (index % 7) as f64 * 2.0_f64.powi(-24);
        let varied = index.is_multiple_of(2);
        long_row(target, || if varied { 0.5 + 0.2 * f64::from(random.unit()) } else { off })
    };
    (0..PAIRS).map(row).collect()
}

/// The measured norm of residuals is too small by many roundings, and the bound with it.
#[test]
fn residuals_that_are_measured_too_small() {
    let zero = vec![0.0; LONGEST];
    let anchor = to_f32(&beyond(&zero, &signs()));
    let rows = long_rows(|element| loss(element, element));
    for row in rows.iter().skip(1).step_by(2) {
        let share = BYTES.share([&anchor, row], &zero);
        assert!(share > 1.0 - 1e-6, "{share} of the bound");
    }
    let (anchors, candidates) = (with_opposites(&[anchor]), with_opposites(&rows));
    let batch = OwnedBatch::new(anchors, candidates, LONGEST, Pairing::Identity);
    check_ties(&mut Workspace::new(), BYTES, batch, "long rows");
}

/// The anchors and the candidates that the center is made of are all alike, so that nothing is left of them: the
/// similarities of the other candidates are their products with the center, and wrong by many roundings.
#[test]
fn centers_whose_products_are_measured_too_small() {
    let anchor = to_f32(&beyond(&vec![0.0; LONGEST], &signs()));
    let element = f64::from(anchor[1]).abs();
    let rows = long_rows(|other| loss(element - other, element));
    let count = 16 + PAIRS;
    let sampled = sampled(count);
    let (ties, between): (Vec<f32>, Vec<usize>) =
        (rows.concat(), (0..count).filter(|index| !sampled.contains(index)).collect());
    let mut candidates = anchor.repeat(count);
    for (row, &index) in rows.iter().zip(&between) {
        candidates[index * LONGEST..][..LONGEST].copy_from_slice(&scaled(row, index));
    }
    let common = center(&candidates, LONGEST);
    let rest: Vec<f64> = unit(&anchor).iter().zip(&common).map(|(value, center)| value - center).collect();
    assert!(dot(&rest, &rest).sqrt() < 1e-6, "the anchors are not at the center");
    let anchors = [anchor.clone(), anchor].concat();
    // The candidates at the center are more similar than all others: the near-ties are looked at without them.
    let alone = OwnedBatch::new(anchors.clone(), ties, LONGEST, Pairing::Identity);
    let alone = NearTies { batch: alone, attacked: vec![0, 1], ties: PAIRS };
    alone.assert_near_ties(10, "long rows");
    let batch = OwnedBatch::new(anchors, candidates, LONGEST, Pairing::Identity);
    for grid in [BYTES, WORDS] {
        grid.assert_intervals(&batch, "long rows");
    }
    for (turn, negatives) in ALL_NEGATIVES.into_iter().enumerate() {
        let positives = alone.positives(turn).into_iter().map(|index| between[index]).collect();
        let batch = batch.clone().with(Pairing::Indices(positives));
        check_forward(batch.batch(), negatives, &mut Workspace::new(), "long rows");
    }
}

/// What a screen keeps of a candidate.
#[derive(Debug)]
struct Measured {
    integers: Vec<i32>,
    quant_step: f64,
    center_dot: f64,
    residual: f64,
    norm: f64,
}

/// The center of some rows, and what a screen keeps of each of them as a candidate.
fn measure(backend: Backend, format: Format, rows: &[f32], dim: usize) -> (Vec<f64>, Vec<Measured>) {
    let norms: Vec<f64> = rows.chunks(dim).map(|row| norm(backend, row)).collect();
    let (mut buffer, mut scratch) = (vec![0.0; center_len(dim)], vec![0.0; scratch_len(dim)]);
    let center = Center::of(Backend::portable(), rows_of(rows, dim), &mut buffer);
    let (words_per_row, width) = (format.words_per_candidate(dim), MAX_LANES);
    let mut measured = Vec::new();
    for (first, group) in (RawRows { rows, norms: &norms, dim }).groups(width) {
        let mut panel = vec![0; width * words_per_row];
        let target = PanelTarget { panels: &mut panel, width, padded: width, words_per_row, first: 0 };
        pack_candidates(backend, format, group, Params { center, float_bound: 0.0 }, &mut scratch, target);
        for lane in 0..width.min(norms.len() - first) {
            let (per_word, bits) = (format.per_word(), 32 / format.per_word());
            let integer = |k: usize| {
                let part =
                    (panel[k / per_word * width + lane] >> (k % per_word * bits) & (u32::MAX >> (32 - bits))) as i32;
                match format {
                    Format::Int8 => i32::from((part - backend.traits().i8_offset) as i8),
                    _ => i32::from(part as i16),
                }
            };
            let number = |row: usize| f64::from(f32::from_bits(panel[(format.steps(dim) + row) * width + lane]));
            let integers = (0..dim).map(integer).collect();
            let [quant_step, center_dot, residual, norm] = [0, 1, 2, 3].map(number);
            measured.push(Measured { integers, quant_step, center_dot, residual, norm });
        }
    }
    (center.values()[..dim].iter().map(|&value| value.into()).collect(), measured)
}

/// Panics unless what the screen measures of rows is what the proof of its bound needs: norms at least as large as the
/// true ones, integers in their range whose products stay in theirs, and products with the center that are as near as
/// the slack allows.
fn assert_measured(format: Format, rows: &[f32], dim: usize, what: &str) {
    let norm = |values: &[f64]| dot(values, values).sqrt();
    for backend in Backend::available() {
        let (center, measured) = measure(backend, format, rows, dim);
        let [_, range] = format.integer_ranges(backend).expect("integers");
        for (index, (row, measured)) in rows.chunks(dim).zip(measured).enumerate() {
            let what = format!("{what}, {backend}, {:?}, row {index}", format);
            let Measured { integers, quant_step, center_dot, residual, norm: measured_norm } = measured;
            let unit = if reference::norm(row) == 0.0 { vec![0.0; dim] } else { unit(row) };
            let rest: Vec<f64> = unit.iter().zip(&center).map(|(value, center)| value - center).collect();
            let left: Vec<f64> =
                rest.iter().zip(&integers).map(|(rest, &integer)| rest - quant_step * f64::from(integer)).collect();
            assert!(norm(&rest) <= measured_norm, "{what}: norm {measured_norm} of {}", norm(&rest));
            assert!(norm(&left) <= residual, "{what}: residual {residual} of {}", norm(&left));
            assert!(integers.iter().all(|integer| integer.abs() <= range.largest), "{what}: {integers:?}");
            let square: i64 = integers.iter().map(|&integer| i64::from(integer).pow(2)).sum();
            assert!(square < 1 << 31, "{what}: the integers' square is {square}");
            let roundings = (dim / 4 + 8) as f64 * norm(&rest) * norm(&center) + 8.0 * norm(&center);
            let error = (center_dot - dot(&rest, &center)).abs();
            assert!(error <= roundings * ROUNDING, "{what}: a product with the center that is off by {error:e}");
        }
    }
}

/// All kinds of rows, and rows of equal elements, of which the rounding leaves out nothing but what their own roundings
/// were.
#[test]
fn what_is_measured_of_rows_is_what_the_bound_needs() {
    for dim in [1, 2, 3, 4, 7, 16, 17, 33, 64, 100, 255, 384] {
        for data in ALL_DATA {
            let rows = data.rows(&mut Random(dim as u64), 40, dim);
            let what = format!("{data:?}, dim {dim}");
            assert_measured(Format::Int8, &rows, dim, &what);
            assert_measured(Format::Int16, &rows, dim, &what);
        }
        let mut random = Random(dim as u64);
        let flat = |index: usize| {
            let value = 1.0 + random.unit() / 3.0;
            (0..dim).map(move |k| if index.is_multiple_of(2) { value * sign(k) } else { -value * sign(k) })
        };
        let rows: Vec<f32> = (0..64).flat_map(flat).collect();
        assert_measured(Format::Int8, &rows, dim, &format!("equal elements, dim {dim}"));
        assert_measured(Format::Int16, &rows, dim, &format!("equal elements, dim {dim}"));
    }
}

/// Rows whose squares are lost, all of them or some, as hardly anything is left of the rows without their center.
#[test]
fn rows_at_their_center() {
    for dim in [16, 100, 1000] {
        for exponent in [-75, -70, -66, -62, -50, -30] {
            let mut random = Random(dim as u64);
            // All rows are the same, but for elements so small that the center knows nothing of them.
            let mut rows = vec![0.0; 40 * dim];
            for (index, row) in rows.chunks_mut(dim).enumerate() {
                row[0] = 1.0;
                let size = 2.0_f32.powi(exponent) / (1 + index % 5) as f32;
                row[1..].iter_mut().for_each(|value| *value = size * (random.unit() + 1.5));
            }
            let what = format!("2^{exponent}, dim {dim}");
            assert_intervals(Format::Int8, &rows[..8 * dim], &rows, dim, &what);
            assert_intervals(Format::Int16, &rows[..8 * dim], &rows, dim, &what);
        }
    }
}

/// The longest rows: sums of equal squares lose the most.
#[test]
fn what_is_measured_of_the_longest_rows() {
    let rows = [long_rows(|element| loss(element, element)).concat(), to_f32(&signs())].concat();
    let opposite: Vec<f32> = rows.iter().map(|value| -value).collect();
    let rows = [rows, opposite].concat();
    assert_measured(Format::Int8, &rows, LONGEST, "long rows");
    assert_measured(Format::Int16, &rows, LONGEST, "long rows");
}
