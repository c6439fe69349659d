//! A search for the batch that takes the most work.

use hardneg::{Backend, Workspace};

use crate::common::Random;
use crate::common::genome::{BatchShape, Genome, ceiling, work};

const SHAPES: [BatchShape; 4] = [
    BatchShape { rows: 192, candidates: 192, dim: 64 },
    BatchShape { rows: 192, candidates: 192, dim: 192 },
    BatchShape { rows: 96, candidates: 768, dim: 64 },
    BatchShape { rows: 40, candidates: 1600, dim: 33 },
];

struct Search {
    backend: Backend,
    shape: BatchShape,
    workspace: Workspace,
    random: Random,
}

impl Search {
    fn work(&mut self, genome: Genome) -> f64 {
        let screening = genome.case(self.shape).screening(self.backend, &mut self.workspace);
        work(self.backend, screening, self.shape.dim) / (self.shape.rows * self.shape.candidates) as f64
    }

    fn slowest(&mut self, steps: usize) -> (f64, Genome) {
        let mut best = (0.0, Genome::random(&mut self.random));
        for step in 0..steps {
            let next =
                if step < steps / 4 { Genome::random(&mut self.random) } else { best.1.mutated(&mut self.random) };
            let work = self.work(next);
            if work >= best.0 {
                best = (work, next);
            }
        }
        best
    }
}

#[test]
#[ignore]
fn search_for_long() {
    let seconds: u64 = std::env::var("SECONDS_EACH").map_or(10, |s| s.parse().unwrap());
    let only = std::env::var("ONLY").unwrap_or_default();
    for backend in Backend::available().filter(|b| only.is_empty() || b.name() == only) {
        for shape in SHAPES {
            let mut search = Search {
                backend,
                shape,
                workspace: Workspace::new(),
                random: Random(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64),
            };
            let start = std::time::Instant::now();
            let mut best = (0.0, Genome([0; 20]));
            let mut count = 0;
            while start.elapsed().as_secs() < seconds {
                let found = search.slowest(400);
                count += 400;
                if found.0 > best.0 {
                    best = found;
                }
            }
            let case = best.1.case(shape);
            let screening = case.screening(backend, &mut Workspace::new());
            println!(
                "{backend} {shape:?} after {count}: {:.3} of {:.2}\n  {:?}\n  {screening:?} {:?} {:?}",
                best.0,
                ceiling(backend),
                best.1,
                case.negatives,
                case.bank
            );
        }
    }
}
