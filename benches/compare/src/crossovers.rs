//! What the constants should be on this machine by which `Screen::Auto` chooses, beside what they are; and what `Auto`
//! loses to the best of the fixed screens.
//!
//! Screens are forced by the options that users have. What a constant is, the library says by a function that is hidden.

mod choices;
mod ladders;
mod ratios;

use std::hint::black_box;

use hardneg::{Backend, KnownPositives, Miner, MiningBatch, Negatives, Positives, Screen, TripletLoss, Workspace};

use crate::args::Crossovers;
use crate::common::{Call, OwnedBatch, Rotation, Turns, in_turns, sets};
use crate::rivals::MARGIN;

/// How much faster calls must be with another constant before it is proposed.
const NOISE: f64 = 0.01;

/// How batches are measured, and the constants of the instruction set.
struct Bench {
    backend: Backend,
    /// Seconds for each batch, and rounds at least.
    effort: (f64, usize),
    test: bool,
    costs: Vec<(&'static str, f64)>,
}

/// The shape of a batch, and where its positives stand.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    rows: usize,
    candidates: usize,
    dim: usize,
    kind: Kind,
}

/// What the rows are like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Positives stand above the bulk of the similarities.
    Trained,
    /// Positives stand in the bulk.
    Independent,
    /// All rows are alike but for a small difference.
    Alike,
}

pub(crate) fn run(options: &Crossovers) -> Result<(), String> {
    if cfg!(debug_assertions) && !options.test {
        return Err("built without optimisation: cargo run --release -p hardneg-compare".to_owned());
    }
    let backend = match &options.backend {
        Some(name) => name.parse().map_err(|error| format!("--backend {name}: {error}"))?,
        None => Backend::detect(),
    };
    let effort = if options.test { (0.0, 1) } else { (options.seconds, 5) };
    let bench = Bench { backend, effort, test: options.test, costs: backend.costs().to_vec() };
    bench.check()?;
    println!("Constants of {backend}. Losses are of whole calls, over the best choice at each batch.");
    ladders::print(&bench);
    ratios::print(&bench);
    ratios::print_widened(&bench);
    choices::print(&bench);
    Ok(())
}

impl Bench {
    /// Refuses a constant that nothing here measures.
    fn check(&self) -> Result<(), String> {
        let is_measured = |name| ladders::names().contains(name) || ratios::NAMES.contains(name);
        match self.costs.iter().find(|(name, _)| !is_measured(name)) {
            Some((name, _)) => Err(format!("the constant {name} is not measured")),
            None => Ok(()),
        }
    }

    /// A constant of the instruction set.
    fn cost(&self, name: &str) -> f64 {
        let found = self.costs.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no constant {name}")).1
    }

    /// The same as a number of rows or elements.
    fn count(&self, name: &str) -> usize {
        self.cost(name) as usize
    }

    /// The times of calls with these screens, in turns, and over that of the first.
    fn times(&self, shape: Shape, screens: &[Screen]) -> Vec<f64> {
        let sets = shape.sets();
        let calls = screens.iter().map(|&screen| self.call(&sets, screen)).collect();
        let turns = in_turns(self.effort.0, self.effort.1, calls);
        (0..screens.len()).map(|screen| turns.ratio(screen, 0)).collect()
    }

    /// The same of the search for the one closest negative of each query, as losses want it: of several more pairs are left.
    fn mining_times(&self, shape: Shape, screens: &[Screen]) -> Vec<f64> {
        let sets = shape.sets();
        let calls = screens.iter().map(|&screen| self.mining_call(&sets, screen)).collect();
        let turns = in_turns(self.effort.0, self.effort.1, calls);
        (0..screens.len()).map(|screen| turns.ratio(screen, 0)).collect()
    }

    fn mining_call<'a>(&self, sets: &'a [OwnedBatch], screen: Screen) -> Call<'a> {
        let miner = Miner::new().k(1).negatives(Negatives::Below).backend(self.backend).screen(screen);
        let (mut sets, mut workspace) = (Rotation::new(sets), Workspace::new());
        Box::new(move || {
            let OwnedBatch { anchors, candidates, dim, .. } = sets.turn();
            let batch = MiningBatch::new(anchors, candidates, *dim);
            let batch =
                batch.and_then(|batch| batch.known_positives(KnownPositives::One(Positives::Identity))).expect("pairs");
            black_box(miner.mine(batch, &mut workspace).expect("finite rows").found());
        })
    }

    fn call<'a>(&self, sets: &'a [OwnedBatch], screen: Screen) -> Call<'a> {
        let plan = TripletLoss::new().margin(MARGIN).backend(self.backend).screen(screen);
        let (mut sets, mut workspace) = (Rotation::new(sets), Workspace::new());
        Box::new(move || {
            let forward = plan.forward(sets.turn().batch(), &mut workspace).expect("finite rows");
            black_box(forward.loss());
        })
    }

    /// The medians of contenders that take turns.
    fn turns(&self, calls: Vec<Call<'_>>) -> Turns {
        in_turns(self.effort.0, self.effort.1, calls)
    }
}

impl Shape {
    fn new(rows: usize, candidates: usize, dim: usize, kind: Kind) -> Shape {
        Shape { rows, candidates, dim, kind }
    }

    fn work(self) -> usize {
        self.rows * self.candidates * self.dim
    }

    fn label(self) -> String {
        let kind = match self.kind {
            Kind::Trained => "",
            Kind::Independent => ", in the bulk",
            Kind::Alike => ", alike",
        };
        format!("{} x {} x {}{kind}", self.rows, self.candidates, self.dim)
    }

    /// Batches of this shape, several of them if they are small.
    fn sets(self) -> Vec<OwnedBatch> {
        let Shape { rows, candidates, dim, kind } = self;
        let make = |seed| match kind {
            Kind::Trained => OwnedBatch::trained_among(seed, rows, candidates, dim),
            Kind::Independent => OwnedBatch::independent_among(seed, rows, candidates, dim),
            Kind::Alike => {
                let OwnedBatch { mut anchors, mut candidates, .. } =
                    OwnedBatch::independent_among(seed, rows, candidates, dim);
                let row = anchors[..dim].to_vec();
                for side in [&mut anchors, &mut candidates] {
                    side.iter_mut().zip(row.iter().cycle()).for_each(|(value, row)| *value = row + 1e-6 * *value);
                }
                OwnedBatch::among(anchors, candidates, dim)
            }
        };
        (0..sets((rows + candidates) * dim)).map(make).collect()
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_is_measured() {
        for backend in Backend::available() {
            let bench = Bench { backend, effort: (0.0, 1), test: true, costs: backend.costs().to_vec() };
            assert_eq!(bench.check(), Ok(()), "{backend}");
            let unknown = Bench { costs: vec![("unknown", 1.0)], ..bench };
            assert!(unknown.check().is_err());
        }
    }
}
