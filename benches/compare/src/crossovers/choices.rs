//! What `Auto` loses to the best of the fixed screens, at many shapes and kinds of rows.

use hardneg::Screen;

use super::{Bench, Kind, Shape, percent};

/// What `Auto` may lose.
const MOST: f64 = 0.10;

/// Without a screen, and with every fixed one.
const FIXED: [Screen; 4] = [Screen::Off, Screen::F32, Screen::I16, Screen::I8];

/// The multiply-adds of the largest batch of which all pairs are computed exactly.
const MOST_EXACT: usize = 1 << 30;

fn shapes() -> Vec<Shape> {
    let squares = [2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024].map(|rows| (rows, rows));
    let few = [(1, 4096), (2, 4096), (4, 4096), (8, 4096), (16, 4096), (32, 4096), (64, 4096)];
    let mut shapes = Vec::new();
    for (rows, candidates) in squares.into_iter().chain(few) {
        for dim in [128, 768] {
            shapes.push(Shape::new(rows, candidates, dim, Kind::Trained));
            if rows >= 64 {
                shapes.push(Shape::new(rows, candidates, dim, Kind::Independent));
            }
            if [64, 256, 1024].contains(&candidates) {
                shapes.push(Shape::new(rows, candidates, dim, Kind::Alike));
            }
        }
    }
    shapes
}

pub(super) fn print(bench: &Bench) {
    println!("\n| batch | off | f32 | i16 | i8 | lost by auto |\n|---|---:|---:|---:|---:|---:|");
    let (mut over, mut worst, mut count) = (0, 0.0_f64, 0);
    for shape in shapes().into_iter().filter(|shape| !bench.test || shape.work() < 1 << 20) {
        eprintln!("{}", shape.label());
        let fixed = FIXED.into_iter().filter(|&screen| screen != Screen::Off || shape.work() <= MOST_EXACT);
        let screens: Vec<Screen> = [Screen::Auto].into_iter().chain(fixed).collect();
        let times = bench.times(shape, &screens);
        let best = times[1..].iter().copied().fold(f64::INFINITY, f64::min);
        let loss = times[0] / best - 1.0;
        (over, worst, count) = (over + usize::from(loss > MOST), worst.max(loss), count + 1);
        let of = |screen| {
            screens
                .iter()
                .position(|&other| other == screen)
                .map_or(String::new(), |at| format!("{:.2}", times[at] / times[0]))
        };
        let [off, float, int16, int8] = FIXED.map(of);
        println!("| {} | {off} | {float} | {int16} | {int8} | {} |", shape.label(), percent(loss));
    }
    println!(
        "\nTimes over that of auto. It loses more than {} at {over} of {count} batches, at most {}.",
        percent(MOST),
        percent(worst)
    );
}
