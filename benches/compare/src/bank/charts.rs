//! Plots of calls against banks: by the number of anchors, and by the size of the bank.

use std::path::Path;

use crate::plot::{self, Chart, Series};

/// The numbers of anchors that have a line in the plot by size.
const ANCHORS: [usize; 3] = [1, 8, 32];

/// The seconds of a call, of the same with rows passed raw, and of reading the bank's panels once.
pub(super) struct Point {
    pub anchors: usize,
    pub candidates: usize,
    pub dim: usize,
    pub bank: f64,
    pub raw: f64,
    pub reading: f64,
}

/// Draws both plots, of the largest dim.
pub(super) fn draw(directory: &Path, points: &[Point]) -> Result<(), String> {
    let Some(dim) = points.iter().map(|point| point.dim).max() else { return Ok(()) };
    let points: Vec<&Point> = points.iter().filter(|point| point.dim == dim).collect();
    plot::lines(directory, &by_anchors(&points, dim))?;
    plot::lines(directory, &by_size(&points, dim))
}

fn by_anchors(points: &[&Point], dim: usize) -> Chart {
    let sizes = distinct(points.iter().map(|point| point.candidates));
    let of = |size: usize, time: fn(&Point) -> f64| {
        let points = points.iter().filter(|point| point.candidates == size);
        points.map(|point| (point.anchors as f64, 1e6 * time(point))).collect()
    };
    let mut series = Vec::new();
    for &size in sizes.iter().rev() {
        series.push(Series { name: format!("{size} rows in a bank"), points: of(size, |point| point.bank) });
        series.push(Series { name: format!("{size} rows passed raw"), points: of(size, |point| point.raw) });
    }
    let reading = |size: &usize| (format!("reading the panels of {size} rows"), of(*size, |point| point.reading)[0].1);
    Chart {
        file: "bank_anchors",
        title: format!("A call by its anchors, dim {dim}, one thread"),
        x_label: "anchors",
        y_label: "us",
        series,
        roofs: sizes.iter().map(reading).collect(),
    }
}

fn by_size(points: &[&Point], dim: usize) -> Chart {
    let of = |anchors: usize, time: fn(&Point) -> f64| {
        let points = points.iter().filter(|point| point.anchors == anchors);
        points.map(|point| (point.candidates as f64, 1e6 * time(point))).collect()
    };
    let drawn = distinct(points.iter().map(|point| point.anchors).filter(|anchors| ANCHORS.contains(anchors)));
    let mut series = Vec::new();
    for &anchors in drawn.iter().rev() {
        series.push(Series { name: format!("anchors: {anchors}, bank"), points: of(anchors, |point| point.bank) });
    }
    if let Some(&fewest) = drawn.first() {
        series.push(Series { name: format!("anchors: {fewest}, raw"), points: of(fewest, |point| point.raw) });
        series.push(Series { name: "reading the panels".to_owned(), points: of(fewest, |point| point.reading) });
    }
    Chart {
        file: "bank_rows",
        title: format!("A call by the rows of the bank, dim {dim}, one thread"),
        x_label: "rows of the bank",
        y_label: "us",
        series,
        roofs: Vec::new(),
    }
}

/// The values once each, ascending.
fn distinct(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values: Vec<usize> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
