//! What computing a pair takes in each way, in multiples of screening it in `f32`: from calls against a bank, where
//! nothing is packed but the anchors, and from what more of its rows take.

use std::hint::black_box;

use hardneg::{Bank, BankOptions, Batch, Positives, Screen, TripletLoss, Workspace};

use super::{Bench, Kind, Shape, percent};
use crate::common::{Call, OwnedBatch};

/// The constants that are measured here.
pub(super) const NAMES: [&str; 6] = ["exact", "screening_i8", "screening_i16", "fast_i16", "fast_i8", "widened_pairs"];

/// The rows that a tile of any set divides, and of which a block of anchors is made.
const ANCHORS: usize = 96;

/// The rows of the smaller bank; the larger one has twice as many.
const ROWS: usize = 1536;

/// Screens whose pairs are timed, `f32` first.
const SCREENS: [Screen; 4] = [Screen::F32, Screen::I8, Screen::I16, Screen::Off];

/// What a pair of `dim` elements takes in bytes, in 16-bit integers and in an exact tile, in multiples of `f32`.
fn ratios(bench: &Bench, dim: usize) -> [f64; 3] {
    let owned = Shape::new(ANCHORS, 2 * ROWS, dim, Kind::Trained).sets().swap_remove(0);
    let options = BankOptions::new().backend(bench.backend).screens(&[Screen::I8, Screen::I16, Screen::F32]);
    let [small, large] = [ROWS, 2 * ROWS].map(|rows| {
        let rows = if bench.test { rows / 8 } else { rows };
        options.build(&owned.candidates[..rows * dim], dim).expect("finite rows")
    });
    let calls = SCREENS.iter().flat_map(|&screen| [&small, &large].map(|bank| call(bench, &owned, bank, screen)));
    let turns = bench.turns(calls.collect());
    let [float, int8, int16, exact] = [0, 1, 2, 3].map(|screen| turns.time(2 * screen + 1) - turns.time(2 * screen));
    [int8, int16, exact].map(|time| time / float)
}

fn call<'a>(bench: &Bench, owned: &'a OwnedBatch, bank: &'a Bank<'_>, screen: Screen) -> Call<'a> {
    call_of(bench, &owned.anchors, bank, screen)
}

fn call_of<'a>(bench: &Bench, anchors: &'a [f32], bank: &'a Bank<'_>, screen: Screen) -> Call<'a> {
    let plan = TripletLoss::new().backend(bench.backend).screen(screen);
    let batch = Batch::against(anchors, bank, Positives::Identity).expect("a batch");
    let mut workspace = Workspace::new();
    Box::new(move || _ = black_box(plan.forward(batch, &mut workspace).expect("finite rows").loss()))
}

/// Prints what the constants should be, at two lengths of rows.
pub(super) fn print(bench: &Bench) {
    eprintln!("ratios");
    let dims = [384, 768];
    let [short, long] = dims.map(|dim| {
        let [int8, int16, exact] = ratios(bench, dim);
        // The folding of the lanes is counted apart.
        [int8, int16, exact - 100.0 / dim as f64]
    });
    println!("\n| constant | is | here, dim {} | dim {} | difference |\n|---|---:|---:|---:|---:|", dims[0], dims[1]);
    for (at, name) in ["screening_i8", "screening_i16", "exact"].into_iter().enumerate() {
        let (is, mean) = (bench.cost(name), (short[at] + long[at]) / 2.0);
        println!("| {name} | {is} | {:.2} | {:.2} | {} |", short[at], long[at], percent(mean / is - 1.0));
    }
    let [int8, int16] = [0, 1].map(|at| (short[at] + long[at]) / 2.0);
    for (name, here) in [("fast_i16", int16 < 1.0), ("fast_i8", int8 < int16.min(1.0))] {
        println!("| {name} | {} | {here} | | |", bench.cost(name) > 0.0);
    }
}

/// Prints what widening rows costs and saves, around the constant from which on it is done: a call of so many anchors
/// whose rows are widened, over two calls of half of them, whose rows are not. Below the constant no option widens rows.
pub(super) fn print_widened(bench: &Bench) {
    eprintln!("widened_pairs");
    let is = bench.count("widened_pairs");
    println!("\n| widened_pairs, is {is} | dim 128 | dim 384 |\n|---|---:|---:|");
    for anchors in [is + 2, is + is / 2, 2 * is].map(|anchors| anchors.next_multiple_of(2)) {
        let [short, long] = [128, 384].map(|dim| whole_over_halves(bench, anchors, dim));
        println!("| {anchors} anchors, widened over not | {short:.2} | {long:.2} |");
    }
}

fn whole_over_halves(bench: &Bench, anchors: usize, dim: usize) -> f64 {
    let rows = if bench.test { ROWS / 8 } else { ROWS };
    let owned = Shape::new(anchors, rows, dim, Kind::Trained).sets().swap_remove(0);
    let bank = BankOptions::new().backend(bench.backend).screens(&[Screen::Off]);
    let bank = bank.build(&owned.candidates[..], dim).expect("finite rows");
    let half = &owned.anchors[..anchors / 2 * dim];
    let calls = [&owned.anchors[..], half].map(|anchors| call_of(bench, anchors, &bank, Screen::Off));
    bench.turns(calls.into()).ratio(0, 1) / 2.0
}
