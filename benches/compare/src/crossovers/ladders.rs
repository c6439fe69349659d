//! Constants at which the choice between two ways to compute changes: both ways are measured on a ladder of batches
//! around each.

use hardneg::Screen;

use super::{Bench, Kind, NOISE, Shape, percent};

/// A constant, and the batches that it decides about.
struct Ladder {
    name: &'static str,
    /// Whether what lies at the constant itself is computed as what lies below it.
    up_to: bool,
    /// Whether it decides about batches whose rows are packed: measured by mining, which always packs them.
    is_packed: bool,
    batches: fn(&Bench, usize) -> Vec<Batch>,
}

/// A batch, and how it can be computed.
struct Batch {
    /// Where it stands beside the constant.
    value: usize,
    shape: Shape,
    /// The screens of a call below the constant, and above it: the best of them counts.
    below: Vec<Screen>,
    above: Vec<Screen>,
}

/// The times of a batch's two ways, in any unit.
#[derive(Clone, Copy, Debug)]
struct Point {
    value: usize,
    below: f64,
    above: f64,
}

const LADDERS: [Ladder; 10] = [
    Ladder { name: "unpacked_pairs", up_to: true, is_packed: false, batches: unpacked_pairs },
    Ladder { name: "unpacked_few", up_to: true, is_packed: false, batches: unpacked_few },
    Ladder { name: "exact_square", up_to: true, is_packed: true, batches: exact_square },
    Ladder { name: "exact_few", up_to: true, is_packed: true, batches: exact_few },
    Ladder { name: "integer_dim", up_to: false, is_packed: true, batches: integer_dim },
    Ladder { name: "integer_elements", up_to: false, is_packed: true, batches: integer_elements },
    Ladder { name: "integer_pairs", up_to: false, is_packed: true, batches: integer_pairs },
    Ladder { name: "integer_streamed", up_to: false, is_packed: true, batches: integer_streamed },
    Ladder { name: "sampled_rows", up_to: false, is_packed: true, batches: sampled_rows },
    Ladder { name: "sampled_elements", up_to: false, is_packed: true, batches: sampled_elements },
];

/// The constants that are measured here.
pub(super) fn names() -> [&'static str; LADDERS.len()] {
    LADDERS.map(|ladder| ladder.name)
}

/// Values from half of `is` to twice as much, powers of two among them.
fn around(is: usize) -> Vec<usize> {
    let mut values = [6, 8, 10, 12, 15, 18, 24].map(|twelfths| is * twelfths / 12).to_vec();
    values.push(is.next_power_of_two());
    values.sort_unstable();
    values.dedup();
    values
}

/// The screens of integers that `Auto` takes.
fn integers(bench: &Bench) -> Vec<Screen> {
    let fast = [("fast_i16", Screen::I16), ("fast_i8", Screen::I8)];
    fast.into_iter().filter(|(name, _)| bench.cost(name) > 0.0).map(|(_, screen)| screen).collect()
}

/// Batches that are screened as their rows lie in memory up to the constant, and in integers above it.
fn unpacked(bench: &Bench, value: usize, (rows, candidates, dim): (usize, usize, usize)) -> Option<Batch> {
    let (shape, above) = (Shape::new(rows, candidates, dim, Kind::Trained), integers(bench));
    (!above.is_empty()).then_some(Batch { value, shape, below: vec![Screen::F32], above })
}

/// `F32` packs rows from twice as many pairs on as `Auto`.
fn unpacked_pairs(bench: &Bench, is: usize) -> Vec<Batch> {
    let squares = || around(2 * is).into_iter().filter(move |&rows| rows <= 192.min(4 * is));
    let of_dim = |dim| squares().filter_map(move |rows| unpacked(bench, rows / 2, (rows, rows, dim)));
    [128, 384, 768].into_iter().flat_map(of_dim).collect()
}

fn unpacked_few(bench: &Bench, is: usize) -> Vec<Batch> {
    let of_dim = |(candidates, dim)| {
        around(is).into_iter().filter_map(move |rows| unpacked(bench, rows, (rows, candidates, dim)))
    };
    [(1024, 128), (4096, 384), (4096, 768)].into_iter().flat_map(of_dim).collect()
}

/// Batches that are computed exactly up to the constant, and packed and screened above it.
fn exact(value: usize, shape: Shape) -> Batch {
    Batch { value, shape, below: vec![Screen::Off], above: vec![Screen::F32, Screen::I16] }
}

fn exact_square(_: &Bench, is: usize) -> Vec<Batch> {
    let of_dim = |dim| {
        let squares = around(is).into_iter().filter(|&rows| rows > 1);
        squares.map(move |rows| exact(rows, Shape::new(rows, rows, dim, Kind::Trained)))
    };
    [128, 384, 768].into_iter().flat_map(of_dim).collect()
}

fn exact_few(_: &Bench, is: usize) -> Vec<Batch> {
    let of_dim = |(candidates, dim)| {
        let few = around(is.max(2)).into_iter();
        few.map(move |rows| exact(rows, Shape::new(rows, candidates, dim, Kind::Trained)))
    };
    [(1024, 128), (1024, 768), (4096, 384)].into_iter().flat_map(of_dim).collect()
}

/// Batches that are screened in `f32` below the constant, and in integers from there on, of both kinds.
fn integer(bench: &Bench, value: usize, (rows, candidates, dim): (usize, usize, usize)) -> Vec<Batch> {
    let of_kind = |kind| {
        let (shape, above) = (Shape::new(rows, candidates, dim, kind), integers(bench));
        Batch { value, shape, below: vec![Screen::F32], above }
    };
    let is_small = rows.max(candidates) <= bench.count("exact_square") || rows <= bench.count("exact_few");
    if is_small || integers(bench).is_empty() {
        return Vec::new();
    }
    [Kind::Trained, Kind::Independent].map(of_kind).into()
}

fn integer_dim(bench: &Bench, is: usize) -> Vec<Batch> {
    around(is).into_iter().flat_map(|dim| integer(bench, dim, (1024, 1024, dim))).collect()
}

fn integer_elements(bench: &Bench, is: usize) -> Vec<Batch> {
    let least = 2 * bench.count("integer_pairs");
    let of_dim = |dim| {
        let squares = around(is).into_iter().map(move |elements| elements / dim).filter(move |&rows| rows >= least);
        squares.flat_map(move |rows| integer(bench, rows * dim, (rows, rows, dim)))
    };
    [64, 96, 128, 256].into_iter().flat_map(of_dim).collect()
}

/// The pairs for each row of both sides.
fn pairs_for_each(rows: usize, candidates: usize) -> usize {
    rows * candidates / (rows + candidates)
}

fn integer_pairs(bench: &Bench, is: usize) -> Vec<Batch> {
    let most = is.max(2 * bench.count("exact_few"));
    let of_dim = |(candidates, dim)| {
        let few = around(most).into_iter();
        few.flat_map(move |rows| integer(bench, pairs_for_each(rows, candidates), (rows, candidates, dim)))
    };
    let mut batches: Vec<Batch> = [(1024, 128), (4096, 384)].into_iter().flat_map(of_dim).collect();
    batches.extend(around(2 * is).into_iter().flat_map(|rows| integer(bench, rows / 2, (rows, rows, 768))));
    batches
}

fn integer_streamed(bench: &Bench, is: usize) -> Vec<Batch> {
    let of_rows = |(rows, dim)| {
        let sizes = around(is).into_iter().map(move |elements| elements / dim);
        sizes.flat_map(move |candidates| integer(bench, candidates * dim, (rows, candidates, dim)))
    };
    let few = if is == 0 { Vec::new() } else { vec![(10, 128), (10, 768), (24, 384)] };
    few.into_iter().flat_map(of_rows).collect()
}

/// Batches that begin with 16-bit integers below the constant, and with what a sample says from there on. What the
/// sample takes is not counted below: there the better of both screens stands for it.
fn sampled(bench: &Bench, is_sampled: bool, value: usize, (rows, dim): (usize, usize)) -> Vec<Batch> {
    if integers(bench).len() < 2 {
        return Vec::new();
    }
    let above = if is_sampled { vec![Screen::Auto] } else { integers(bench) };
    let of_kind = |kind| {
        let shape = Shape::new(rows, rows, dim, kind);
        Batch { value, shape, below: vec![Screen::I16], above: above.clone() }
    };
    [Kind::Trained, Kind::Independent].map(of_kind).into()
}

fn sampled_rows(bench: &Bench, is: usize) -> Vec<Batch> {
    let of_dim = |dim| around(is).into_iter().flat_map(move |rows| sampled(bench, rows >= is, rows, (rows, dim)));
    [512, 768, 1024]
        .into_iter()
        .filter(|dim| dim * is / 2 >= bench.count("sampled_elements"))
        .flat_map(of_dim)
        .collect()
}

fn sampled_elements(bench: &Bench, is: usize) -> Vec<Batch> {
    let least = bench.count("sampled_rows");
    let of_dim = |dim| {
        let squares = around(is).into_iter().map(move |elements| elements / dim).filter(move |&rows| rows >= least);
        squares.flat_map(move |rows| sampled(bench, rows * dim >= is, rows * dim, (rows, dim)))
    };
    [64, 128, 256].into_iter().flat_map(of_dim).collect()
}

impl Ladder {
    /// How much more time the points take than at best, on average and at most, if the constant is `constant`.
    fn loss(&self, points: &[Point], constant: usize) -> (f64, f64) {
        let losses = points.iter().map(|&Point { value, below, above }| {
            let is_below = if self.up_to { value <= constant } else { value < constant };
            (if is_below { below } else { above }) / below.min(above) - 1.0
        });
        let (mut sum, mut most) = (0.0, 0.0_f64);
        losses.for_each(|loss| (sum, most) = (sum + loss, most.max(loss)));
        (sum / points.len().max(1) as f64, most)
    }

    /// The constant with the least loss on average; `is` where no other is clearly better.
    fn best(&self, points: &[Point], is: usize) -> usize {
        // One below all points, and one above.
        let ends = points.iter().flat_map(|point| [point.value.saturating_sub(1), point.value, point.value + 1]);
        let best = ends.min_by(|&one, &other| self.loss(points, one).0.total_cmp(&self.loss(points, other).0));
        best.filter(|&best| self.loss(points, best).0 + NOISE < self.loss(points, is).0).unwrap_or(is)
    }
}

fn measure(bench: &Bench, ladder: &Ladder) -> Vec<(Batch, Point)> {
    let mut batches = (ladder.batches)(bench, bench.count(ladder.name));
    batches.retain(|batch| !bench.test || batch.shape.work() < 1 << 20);
    let point = |batch: &Batch| {
        let screens: Vec<Screen> = batch.below.iter().chain(&batch.above).copied().collect();
        let times = if ladder.is_packed {
            bench.mining_times(batch.shape, &screens)
        } else {
            bench.times(batch.shape, &screens)
        };
        let (below, above) = times.split_at(batch.below.len());
        let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
        Point { value: batch.value, below: least(below), above: least(above) }
    };
    batches
        .into_iter()
        .map(|batch| {
            let point = point(&batch);
            (batch, point)
        })
        .collect()
}

/// Measures every ladder, and prints what the constants should be and the ladders.
pub(super) fn print(bench: &Bench) {
    let measured = LADDERS.map(|ladder| {
        eprintln!("{}", ladder.name);
        let found = measure(bench, &ladder);
        (ladder, found)
    });
    println!(
        "\n| constant | is | here | loss of what it is | at most | loss of the other |\n|---|---:|---:|---:|---:|---:|"
    );
    for (ladder, found) in &measured {
        let (name, is) = (ladder.name, bench.count(ladder.name));
        let points: Vec<Point> = found.iter().map(|(_, point)| *point).collect();
        if points.is_empty() {
            println!("| {name} | {is} | | | | |");
            continue;
        }
        let best = ladder.best(&points, is);
        let [(loss, most), (other, _)] = [is, best].map(|constant| ladder.loss(&points, constant));
        println!("| {name} | {is} | {best} | {} | {} | {} |", percent(loss), percent(most), percent(other));
    }
    println!("\n| constant | value | batch | above / below |\n|---|---:|---|---:|");
    for (ladder, found) in &measured {
        for (batch, Point { value, below, above }) in found {
            println!("| {} | {value} | {} | {:.2} |", ladder.name, batch.shape.label(), above / below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Below 20 the first way is faster, and a little so at 25.
    const POINTS: [Point; 4] = [
        Point { value: 10, below: 1.0, above: 1.2 },
        Point { value: 20, below: 1.5, above: 1.0 },
        Point { value: 25, below: 1.0, above: 1.1 },
        Point { value: 40, below: 2.0, above: 1.0 },
    ];

    #[test]
    fn the_best_constant_loses_the_least() {
        let [up_to, from] =
            [true, false].map(|up_to| Ladder { name: "", up_to, is_packed: true, batches: exact_square });
        let (mean, most) = up_to.loss(&POINTS, 10);
        assert!((mean - 0.025).abs() < 1e-9 && (most - 0.1).abs() < 1e-9, "{mean}, {most}");
        assert_eq!((up_to.best(&POINTS, 25), from.best(&POINTS, 40)), (10, 11));
        // What is there stays where another is hardly better.
        assert_eq!((up_to.best(&POINTS, 19), from.best(&POINTS, 20)), (19, 20));
        let alike = [Point { value: 7, below: 1.0, above: 1.005 }];
        assert_eq!(up_to.best(&alike, 3), 3);
    }
}
