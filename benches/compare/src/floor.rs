//! Where the time of small batches goes, as far as the public functions show it: parts are measured by themselves, in
//! turns with the whole, and the rest is a difference.

use std::hint::black_box;

use hardneg::{Backend, RowStats, Screen, Threads, TripletLoss, Workspace};

use crate::args::Args;
use crate::common::{Call, OwnedBatch, Rotation, Turns, in_turns};
use crate::inputs::Input;
use crate::plot::{self, Chart, Series};
use crate::units::Unit;
use crate::{ceilings, table};

const ROWS: [usize; 5] = [4, 8, 16, 32, 64];
const DIM: usize = 128;

/// What is measured, in the order of the calls; the first is the ceiling.
const PARTS: [&str; 6] = [
    "forward",
    "norms of both sides",
    "dots of the pairs",
    "hinges and sums",
    "forward of 2 rows",
    "forward, no screen",
];

/// Prints the table, and draws it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let gigahertz = counter_gigahertz();
    print_notes(gigahertz);
    table::header(&[
        "rows x dim",
        PARTS[0],
        "cycles",
        PARTS[1],
        PARTS[2],
        PARTS[3],
        PARTS[4],
        "rest",
        "rest, cycles a pair",
        "products at the f32 ceiling",
        PARTS[5],
    ]);
    let mut series = PARTS.map(Series::new);
    for rows in ROWS {
        let input = Input::trained(rows, DIM);
        let turns = measure(args, &input);
        print_line(&input, &turns, gigahertz);
        for (part, series) in series.iter_mut().enumerate() {
            series.points.push((rows as f64, turns.time(part + 1) * 1e6));
        }
    }
    let chart = Chart {
        file: "floor",
        title: format!("Parts of a small batch, dim {DIM}, one thread"),
        x_label: "rows (anchors, and as many candidates)",
        y_label: "us",
        series: series.into(),
        roofs: Vec::new(),
    };
    args.svg.as_ref().map_or(Ok(()), |directory| plot::lines(directory, &chart))
}

fn print_notes(gigahertz: f64) {
    println!(
        "Backend {}, the default screen, one thread. Measured, each by itself, on rows that rotate:
- forward: the whole call; and the same call without a screen
- norms of both sides: Backend::norm of every anchor and every candidate
- dots of the pairs: Backend::dot of every anchor and its positive
- hinges and sums: TripletLoss::reduce of the rows
- forward of 2 rows: the smallest call of this dim, which is mostly overhead
Differences and quotients:
- rest: forward less the four that follow it: unit rows, sums, the screen, exact scores of what it leaves
- products at the f32 ceiling: rows * rows * dim multiply-adds at the rate measured in the same turns
- cycles: of the time stamp counter, {gigahertz:.2} GHz, whatever the core's clock is",
        Backend::detect()
    );
}

/// The ceiling, then the parts.
fn measure(args: &Args, input: &Input) -> Turns {
    let plan = TripletLoss::new().threads(Threads::Serial);
    let (backend, sets) = (Backend::detect(), &input.sets);
    let smallest: Vec<OwnedBatch> = (0..16).map(|seed| OwnedBatch::trained(seed, 2, DIM)).collect();
    let stats: Vec<Vec<RowStats>> = sets.iter().map(|pairs| row_stats(plan, pairs)).collect();
    let (mut norms, mut dots, mut rows) = (Rotation::new(sets), Rotation::new(sets), Rotation::new(&stats));
    let calls: Vec<Call<'_>> = vec![
        ceilings::call(Unit::F32, 1),
        forward(plan, sets),
        Box::new(move || {
            let pairs = norms.turn();
            let rows = pairs.anchors.chunks_exact(DIM).chain(pairs.candidates.chunks_exact(DIM));
            rows.for_each(|row| _ = black_box(backend.norm(row)));
        }),
        Box::new(move || {
            let pairs = dots.turn();
            let rows = pairs.anchors.chunks_exact(DIM).zip(pairs.candidates.chunks_exact(DIM));
            rows.for_each(|(anchor, positive)| _ = black_box(backend.dot(anchor, positive)));
        }),
        Box::new(move || _ = black_box(plan.reduce(rows.turn()))),
        forward(plan, &smallest),
        forward(plan.screen(Screen::Off), sets),
    ];
    let (seconds, rounds) = args.effort();
    in_turns(seconds / 5.0, rounds, calls)
}

/// The rows of a batch, which are seen to be right.
fn row_stats(plan: TripletLoss, pairs: &OwnedBatch) -> Vec<RowStats> {
    let mut workspace = Workspace::new();
    let forward = plan.forward(pairs.batch(), &mut workspace).expect("finite rows");
    pairs.check(forward.row_stats(), "the default screen");
    forward.row_stats().to_vec()
}

fn forward(plan: TripletLoss, sets: &[OwnedBatch]) -> Call<'_> {
    let (mut sets, mut workspace) = (Rotation::new(sets), Workspace::new());
    Box::new(move || _ = black_box(plan.forward(sets.turn().batch(), &mut workspace).expect("finite rows").loss()))
}

fn print_line(input: &Input, turns: &Turns, gigahertz: f64) {
    let [forward, norms, dots, hinges, smallest, no_screen] = [1, 2, 3, 4, 5, 6].map(|part| turns.time(part));
    let rest = forward - norms - dots - hinges - smallest;
    let pairs = (input.rows() * input.rows()) as f64;
    let products = turns.time(0) * input.work() as f64 / ceilings::work(1);
    table::line(&[
        input.label.clone(),
        table::seconds(forward),
        format!("{:.0}", forward * 1e9 * gigahertz),
        table::seconds(norms),
        table::seconds(dots),
        table::seconds(hinges),
        table::seconds(smallest),
        table::seconds(rest.max(0.0)),
        format!("{:.1}", rest.max(0.0) * 1e9 * gigahertz / pairs),
        table::seconds(products),
        table::seconds(no_screen),
    ]);
}

/// The rate of the time stamp counter, seen over a twentieth of a second.
#[cfg(target_arch = "x86_64")]
fn counter_gigahertz() -> f64 {
    use core::arch::x86_64::_rdtsc;
    use std::time::{Duration, Instant};

    // SAFETY: every x86-64 CPU has the counter.
    let count = || unsafe { _rdtsc() };
    let (start, first) = (Instant::now(), count());
    while start.elapsed() < Duration::from_millis(50) {}
    (count() - first) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// No counter is known on other machines.
#[cfg(not(target_arch = "x86_64"))]
fn counter_gigahertz() -> f64 {
    f64::NAN
}
