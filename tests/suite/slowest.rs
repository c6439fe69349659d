//! A search for the batch that takes the most work: no rows, whatever they hold, make a call slow.

use hardneg::{Backend, Screening, Workspace};

use crate::common::Random;
use crate::common::genome::{BatchShape, Genome, SHAPES, ceiling, work};

/// Climbs to the genome whose batch takes the most work.
struct Search {
    backend: Backend,
    shape: BatchShape,
    workspace: Workspace,
    random: Random,
}

impl Search {
    fn new(backend: Backend, shape: BatchShape, seed: u64) -> Search {
        Search { backend, shape, workspace: Workspace::new(), random: Random(seed) }
    }

    fn screening(&mut self, genome: Genome) -> Screening {
        genome.case(self.shape).screening(self.backend, &mut self.workspace)
    }

    /// The work of a genome's batch.
    fn work(&mut self, genome: Genome) -> f64 {
        work(self.backend, self.screening(genome), self.shape.dim)
    }

    /// The genome with the most work of so many: the first quarter of them are independent, and each of the others is the
    /// best one so far with some numbers changed.
    fn slowest(&mut self, genomes: usize) -> (f64, Genome) {
        let mut best = (0.0, Genome::random(&mut self.random));
        for turn in 0..genomes {
            let random = &mut self.random;
            let next = if turn < genomes / 4 { Genome::random(random) } else { best.1.mutated(random) };
            let work = self.work(next);
            if work >= best.0 {
                best = (work, next);
            }
        }
        best
    }

    /// Panics if the batch of the genome takes more work than any may.
    fn check(&mut self, work: f64, genome: Genome) {
        let Search { backend, shape, .. } = *self;
        let most = ceiling(backend, shape);
        assert!(
            work <= most,
            "{backend}, {shape:?}: {work:.0} of {most:.0}, {:?} by {genome:?}",
            self.screening(genome)
        );
    }
}

/// The search finds batches that take several times the work of random rows, and none that takes more than any may.
#[test]
fn no_batch_takes_more_work_than_it_may() {
    for backend in Backend::available() {
        for (turn, shape) in SHAPES.into_iter().enumerate() {
            let mut search = Search::new(backend, shape, turn as u64);
            let ordinary = search.work(Genome::ordinary());
            let (most, genome) = search.slowest(200);
            search.check(most, genome);
            assert!(most > 1.5 * ordinary, "{backend}, {shape:?}: {most:.0} is not much more than {ordinary:.0}");
        }
    }
}

/// A search for as many seconds as `HARDNEG_SEARCH_SECONDS` says, for each backend and shape, from a seed of its own each
/// time: it prints the slowest batches.
#[test]
#[ignore = "it takes as long as one likes"]
fn search_for_long() {
    let seconds: f64 = std::env::var("HARDNEG_SEARCH_SECONDS").map_or(10.0, |text| text.parse().unwrap());
    for backend in Backend::available() {
        for shape in SHAPES {
            let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
            let mut search = Search::new(backend, shape, seed);
            let (start, mut best) = (std::time::Instant::now(), (0.0, Genome::ordinary()));
            while start.elapsed().as_secs_f64() < seconds {
                let found = search.slowest(500);
                best = if found.0 > best.0 { found } else { best };
            }
            let pairs = (shape.rows * shape.candidates) as f64;
            let ordinary = search.work(Genome::ordinary());
            println!("{backend}, {shape:?}: {:.2} products, {:.1} x random rows", best.0 / pairs, best.0 / ordinary);
            println!("  at most {:.2} products", ceiling(backend, shape) / pairs);
            println!("  {:?}\n  {:?}", best.1, search.screening(best.1));
            search.check(best.0, best.1);
        }
    }
}
