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
//! The proof of the bound rests on numbers that are measured of each row. They are checked against the true ones in
//! [`measured`].

mod measured;

use super::intervals::assert_intervals;
use crate::arch::Backend;
use crate::common::near_ties::{NearTies, scaled, sign};
use crate::common::{Data, OwnedBatch, Pairing, Random};
use crate::error::Side;
use crate::kernels::{Format, LARGEST_NORM, SLACK};
use crate::rows::Rows;
use crate::screen::center::sample_size;
use crate::screen::{Center, center_len};
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
/// The bytes of candidates where products are added in 16 bits.
const SMALL_BYTES: Grid = Grid { largest: 90.0, ..BYTES };
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

const ALL_GRIDS: [(Grid, Limit); 4] =
    [(BYTES, Limit::Element), (SMALL_BYTES, Limit::Element), (WORDS, Limit::Element), (WORDS, Limit::Norm)];

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
