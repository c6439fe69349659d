//! A search for the batch that takes the most work: no rows, whatever they hold, make a call slow.

use hardneg::{Backend, Miner, MiningBatch, Screen, Screening, TripletLoss, Workspace};

use crate::common::genome::{BatchShape, Genome, SHAPES, ceiling, work};
use crate::common::{Random, assert_rows};

/// What long searches found: the slowest batches before there was a budget for pairs one by one, a limit to screens that
/// are given up, and tiles for the rest of a block; and the slowest since then.
const KNOWN: [Genome; 8] = [
    Genome([104, 201, 93, 255, 211, 99, 6, 240, 103, 152, 89, 252, 127, 112, 5, 118, 215, 18, 162, 18]),
    Genome([212, 167, 13, 250, 239, 254, 148, 16, 214, 46, 207, 90, 98, 178, 124, 146, 201, 157, 110, 45]),
    Genome([234, 91, 64, 115, 101, 191, 33, 208, 203, 45, 24, 236, 226, 216, 2, 235, 162, 15, 250, 151]),
    Genome([16, 128, 54, 172, 186, 244, 246, 168, 180, 124, 61, 64, 90, 204, 31, 85, 130, 203, 157, 58]),
    Genome([226, 123, 29, 88, 47, 228, 196, 92, 228, 25, 49, 251, 189, 146, 50, 151, 101, 214, 17, 62]),
    Genome([237, 248, 145, 134, 125, 244, 194, 171, 153, 92, 99, 32, 102, 0, 141, 190, 225, 13, 172, 99]),
    Genome([96, 14, 207, 244, 113, 214, 217, 8, 107, 3, 211, 91, 238, 92, 35, 42, 31, 255, 41, 85]),
    Genome([213, 254, 219, 80, 112, 255, 148, 7, 10, 100, 70, 81, 46, 20, 98, 139, 79, 160, 178, 211]),
];

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
        genome.case(self.shape).run(self.backend, &mut self.workspace).1
    }

    /// The work of a genome's batch.
    fn work(&mut self, genome: Genome) -> f64 {
        work(self.backend, self.screening(genome), self.shape.dim)
    }

    /// The genome with the most work of so many: the first ones are given, then a quarter of them are independent, and each
    /// of the others is the best one so far with some numbers changed.
    fn slowest(&mut self, given: &[Genome], genomes: usize) -> (f64, Genome) {
        let mut best = (0.0, Genome::random(&mut self.random));
        for turn in 0..genomes {
            let random = &mut self.random;
            let next = match given.get(turn) {
                Some(&given) => given,
                None if turn < genomes / 4 => Genome::random(random),
                None => best.1.mutated(random),
            };
            let work = self.work(next);
            if work >= best.0 {
                best = (work, next);
            }
        }
        best
    }

    /// Panics unless the batch of the genome, in which screens are given up and tiles take over, has the rows and the
    /// lists of calls that compute all pairs exactly.
    fn check_rows(&mut self, genome: Genome) {
        let Search { backend, shape, .. } = *self;
        let (case, mut exact) = (genome.case(shape), Workspace::new());
        let plan = TripletLoss::new().negatives(case.negatives).screen(Screen::Off);
        let expected = plan.forward(case.batch.batch(), &mut exact).unwrap().into_row_stats();
        let (rows, _) = case.run(backend, &mut self.workspace);
        assert_rows(expected, &rows, &format!("{backend}, {shape:?}, {genome:?}"));
        let batch = MiningBatch::new(&case.batch.anchors, &case.batch.candidates, shape.dim).unwrap();
        let miner = Miner::new().k(5).backend(backend);
        let mined = miner.mine(batch, &mut self.workspace).unwrap();
        let expected = miner.screen(Screen::Off).mine(batch, &mut exact).unwrap();
        assert!(mined.rows().eq(expected.rows()), "{backend}, {shape:?}, {genome:?}: lists");
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
            let (most, genome) = search.slowest(&KNOWN, 400);
            search.check(most, genome);
            search.check_rows(genome);
            KNOWN.into_iter().for_each(|genome| search.check_rows(genome));
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
                let found = search.slowest(&[], 500);
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
