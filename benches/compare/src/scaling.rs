//! How time and memory grow with threads, rows and dim. What is timed here is checked by the comparison.

use std::hint::black_box;
use std::ops::RangeInclusive;

use hardneg::{TripletLoss, Workspace};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::args::Args;
use crate::common::{Call, OwnedBatch, Rotation, in_turns};
use crate::inputs::Input;
use crate::plot::{self, Chart, Series};
use crate::rivals::{Entrant, Rival, finalists, threads_for};
use crate::units::Unit;
use crate::{ceilings, memory, table};

/// The dim at which rows grow.
const DIM: usize = 384;
/// The rows at which dim grows.
const ROWS: usize = 1024;
/// Exponents of two: the rows, and the dims.
const ROW_RANGE: RangeInclusive<u32> = 8..=14;
const DIM_RANGE: RangeInclusive<u32> = 4..=12;

/// Prints the tables, and draws them.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let mut charts = vec![by_threads(args)?];
    charts.extend(by_rows(args));
    charts.push(by_dims(args));
    match &args.svg {
        Some(directory) => charts.iter().try_for_each(|chart| plot::lines(directory, chart)),
        None => Ok(()),
    }
}

/// The speed-up of one batch.
fn by_threads(args: &Args) -> Result<Chart, String> {
    let pairs = if args.test { OwnedBatch::trained(0, 128, 64) } else { OwnedBatch::trained(0, 2048, DIM) };
    println!("\nThreads: {} x {}, the default screen", pairs.rows(), pairs.dim);
    let most = if cfg!(feature = "rayon") { rayon::current_num_threads() } else { 1 };
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string());
    let pools = (1..=most).map(pool).collect::<Result<Vec<ThreadPool>, String>>()?;
    let calls = pools.iter().map(|pool| in_pool(pool, &pairs)).collect();
    let (seconds, rounds) = args.effort();
    let turns = in_turns(seconds, rounds, calls);
    table::header(&["threads", "time", "speed-up", "of as many times one thread"]);
    let mut series = Series::new("hardneg");
    for threads in 1..=most {
        let gain = turns.ratio(0, threads - 1);
        let share = table::percent(gain / threads as f64);
        table::line(&[threads.to_string(), table::seconds(turns.time(threads - 1)), format!("{gain:.2}"), share]);
        series.points.push((threads as f64, gain));
    }
    let ideal = Series { name: "ideal".to_owned(), points: vec![(1.0, 1.0), (most as f64, most as f64)] };
    Ok(Chart {
        file: "threads",
        title: format!("Speed-up by threads, {} x {}", pairs.rows(), pairs.dim),
        x_label: "threads",
        y_label: "speed-up",
        series: vec![series, ideal],
        roofs: Vec::new(),
    })
}

fn in_pool<'a>(pool: &'a ThreadPool, pairs: &'a OwnedBatch) -> Call<'a> {
    let (plan, mut workspace) = (TripletLoss::new().threads(threads_for(pool.current_num_threads())), Workspace::new());
    Box::new(move || {
        _ = pool.install(|| plan.forward(pairs.batch(), &mut workspace).expect("finite rows").loss());
    })
}

/// What a contender makes of a batch.
struct Point {
    /// The rows or the dim, whichever grows.
    at: usize,
    rows: usize,
    name: String,
    time: f64,
    /// Multiply-adds a second.
    rate: f64,
    memory: usize,
}

/// Rows grow.
fn by_rows(args: &Args) -> [Chart; 2] {
    println!("\nRows, on one thread: the cost of a pair must not grow");
    let points = sweep(args, ROW_RANGE, |rows| (rows, DIM));
    let pairs = |point: &Point| (point.rows * point.rows) as f64;
    let mut memory = series(&points, |point| (point.memory as f64) / MEBIBYTE);
    let matrix = |rows: usize| (rows as f64, (4 * rows * rows) as f64 / MEBIBYTE);
    let all_rows = ROW_RANGE.map(|exponent| matrix(1 << exponent)).collect();
    memory.push(Series { name: "the matrix of similarities alone".to_owned(), points: all_rows });
    [
        Chart {
            file: "rows",
            title: format!("Time of a pair by rows, dim {DIM}, one thread"),
            x_label: "rows (anchors, and as many candidates)",
            y_label: "ns a pair",
            series: series(&points, |point| point.time * 1e9 / pairs(point)),
            roofs: Vec::new(),
        },
        Chart {
            file: "memory",
            title: format!("Memory by rows, dim {DIM}, one thread"),
            x_label: "rows (anchors, and as many candidates)",
            y_label: "MiB beyond the inputs",
            series: memory,
            roofs: Vec::new(),
        },
    ]
}

const MEBIBYTE: f64 = (1 << 20) as f64;

/// The dim grows.
fn by_dims(args: &Args) -> Chart {
    println!("\nDim, on one thread");
    let points = sweep(args, DIM_RANGE, |dim| (ROWS, dim));
    let roofs = ceilings::rates(args).into_iter().map(|(unit, rate)| (unit.name().to_owned(), rate / 1e9)).collect();
    Chart {
        file: "roofline",
        title: format!("Speed by dim beside the machine's ceilings, {ROWS} rows, one thread"),
        x_label: "dim",
        y_label: "billion multiply-adds a second",
        series: series(&points, |point| point.rate / 1e9),
        roofs,
    }
}

/// A line for each name, in the order in which they appear.
fn series(points: &[Point], y: impl Fn(&Point) -> f64) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for point in points {
        let index = all.iter().position(|series| series.name == point.name).unwrap_or_else(|| {
            all.push(Series::new(&point.name));
            all.len() - 1
        });
        all[index].points.push((point.at as f64, y(point)));
    }
    all
}

/// Measures and prints batches whose size doubles.
fn sweep(args: &Args, range: RangeInclusive<u32>, shape: impl Fn(usize) -> (usize, usize)) -> Vec<Point> {
    table::header(&["rows x dim", "contender", "time", "a pair", "of the f32 ceiling", "memory", "n x n matrix"]);
    let mut points = Vec::new();
    for at in range.map(|exponent| 1 << exponent) {
        let (rows, dim) = shape(at);
        if args.includes((rows * rows * dim) as u64) {
            points.extend(measure(args, &Input::trained(rows, dim), at));
        }
    }
    points
}

/// Measures all that take part in turns, after the ceiling, which is contender 0.
fn measure(args: &Args, input: &Input, at: usize) -> Vec<Point> {
    let finalists: Vec<Entrant> = finalists().into_iter().filter(|entrant| entrant.admits(input.work())).collect();
    let build = |entrant: &Entrant| (entrant.build)(input.shape());
    let mut rivals: Vec<Box<dyn Rival>> = finalists.iter().map(build).collect();
    let mut calls: Vec<Call<'_>> = vec![ceilings::call(Unit::F32, 1)];
    calls.extend(rivals.iter_mut().map(|rival| call(rival.as_mut(), input)));
    let (seconds, rounds) = args.effort();
    let turns = in_turns(seconds / 2.0, rounds, calls);
    let point = |(index, entrant): (usize, &Entrant)| {
        let (_, memory) = memory::peak_of(1, || build(entrant).run(&input.sets[0]));
        let time = turns.time(index + 1);
        let (rate, name) = (input.work() as f64 / time, entrant.name.clone());
        let point = Point { at, rows: input.rows(), name, time, rate, memory };
        let share = turns.ratio(0, index + 1) * input.work() as f64 / ceilings::work(1);
        print_line(input, &point, share);
        point
    };
    finalists.iter().enumerate().map(point).collect()
}

fn call<'a>(rival: &'a mut dyn Rival, input: &'a Input) -> Call<'a> {
    let mut sets = Rotation::new(&input.sets);
    Box::new(move || _ = black_box(rival.run(sets.turn())))
}

fn print_line(input: &Input, point: &Point, share: f64) {
    let pairs = input.rows() * input.rows();
    table::line(&[
        input.label.clone(),
        point.name.clone(),
        table::seconds(point.time),
        format!("{:.2} ns", point.time * 1e9 / pairs as f64),
        table::percent(share),
        table::bytes(point.memory),
        table::bytes(4 * pairs),
    ]);
}
