//! Calls from anywhere: inside and outside of pools, pools in pools, more threads than cores, many callers at once.
//!
//! `HARDNEG_SOAK_SECONDS` sets how long the soak runs; it is short unless told otherwise.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{ALL_DATA, ALL_NEGATIVES, Data, Random, all_threads, assert_loss, assert_rows};
use hardneg::{
    Backend, Batch, Loss, Negatives, Positives, Reduction, RowStats, Screen, TripletLoss, Workspace, reference,
};

/// A batch with the answer to every call with it.
struct Known {
    anchors: Vec<f32>,
    candidates: Vec<f32>,
    dim: usize,
    positives: Vec<usize>,
    negatives: Negatives,
    loss: Loss,
    rows: Vec<RowStats>,
    name: String,
}

impl Known {
    fn new(turn: usize, data: Data, (rows, candidates, dim): (usize, usize, usize)) -> Known {
        let mut random = Random(turn as u64);
        let (anchors, others) = data.batch(random.bits(), rows, candidates, dim);
        let positives: Vec<usize> = (0..rows).map(|_| random.below(candidates)).collect();
        let negatives = ALL_NEGATIVES[turn % 3];
        let batch = Batch::new(&anchors, &others, dim, Positives::Indices(&positives)).unwrap();
        let (loss, stats) = reference::forward(batch, 0.25, negatives, Reduction::Sum).unwrap();
        let name = format!("{data:?} {rows} x {candidates} x {dim}, {negatives:?}");
        Known { anchors, candidates: others, dim, positives, negatives, loss, rows: stats, name }
    }

    /// Shapes too small for several threads, and shapes that are divided.
    fn some() -> Vec<Known> {
        let shapes =
            [(1, 2, 1), (30, 50, 20), (97, 193, 33), (7, 500, 64), (300, 301, 31), (65, 400, 110), (49, 49, 1121)];
        let shapes = shapes.into_iter().cycle().zip(ALL_DATA);
        shapes.enumerate().map(|(turn, (shape, data))| Known::new(turn, data, shape)).collect()
    }

    /// Checks one call; the plan says how to run it.
    fn check(&self, plan: TripletLoss, workspace: &mut Workspace, what: &str) {
        let positives = Positives::Indices(&self.positives);
        let batch = Batch::new(&self.anchors, &self.candidates, self.dim, positives).unwrap();
        let loss = plan.negatives(self.negatives).forward(batch, workspace).unwrap();
        let what = format!("{}, {plan:?}, {what}", self.name);
        assert_rows(&self.rows, workspace.row_stats(), &what);
        assert_loss(&self.loss, &loss, &what);
    }

    /// Every backend and thread mode, and the screens in turns.
    fn check_all(&self, workspace: &mut Workspace, what: &str) {
        let mut screens = Screen::all().cycle().skip(self.dim % Screen::all().len());
        for backend in Backend::available() {
            for threads in all_threads() {
                let plan = TripletLoss::new().backend(backend).threads(threads);
                self.check(plan, workspace, what);
                self.check(plan.screen(screens.next().expect("a cycle has no end")), workspace, what);
            }
        }
    }
}

/// Many callers at once, each with a workspace of its own and with calls of all shapes, on a pool they share.
#[test]
fn soak() {
    let seconds = std::env::var("HARDNEG_SOAK_SECONDS").map_or(2.0, |text| text.parse().expect("a number of seconds"));
    let known = Known::some();
    let calls = AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for caller in 0..8 {
            let (known, calls) = (&known, &calls);
            scope.spawn(move || {
                let mut random = Random(caller);
                let mut workspace = Workspace::new();
                let backends: Vec<Backend> = Backend::available().collect();
                let threads = all_threads();
                while started.elapsed() < Duration::from_secs_f64(seconds) {
                    let backend = backends[random.below(backends.len())];
                    let threads = threads[random.below(threads.len())];
                    let known = &known[random.below(known.len())];
                    let screen = Screen::all().nth(random.below(Screen::all().len())).expect("a screen");
                    let plan = TripletLoss::new().backend(backend).threads(threads).screen(screen);
                    known.check(plan, &mut workspace, &format!("caller {caller}"));
                    calls.fetch_add(1, Ordering::Relaxed);
                    if random.below(50) == 0 {
                        workspace = Workspace::new();
                    }
                }
            });
        }
    });
    println!("{} calls in {:.1?}", calls.load(Ordering::Relaxed), started.elapsed());
    assert!(calls.load(Ordering::Relaxed) > 0);
}

/// One batch, looked at by many threads at once.
#[test]
fn callers_may_share_a_batch() {
    let known = Known::new(1, Data::NearTies, (97, 193, 33));
    thread::scope(|scope| {
        for caller in 0..8 {
            let known = &known;
            scope.spawn(move || known.check_all(&mut Workspace::new(), &format!("caller {caller}")));
        }
    });
}

/// A workspace may go from thread to thread.
#[test]
fn a_workspace_that_travels() {
    let mut workspace = Workspace::new();
    for known in Known::some() {
        workspace = thread::spawn(move || {
            known.check_all(&mut workspace, "on a thread of its own");
            workspace
        })
        .join()
        .unwrap();
    }
}

#[cfg(feature = "rayon")]
mod pools {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    /// One workspace goes through pools of any size, as small as 1 and larger than the machine, and through no pool.
    #[test]
    fn inside_and_outside() {
        let pools = [1, 2, 3, 16].map(pool);
        for known in Known::some() {
            let mut workspace = Workspace::new();
            known.check_all(&mut workspace, "outside of any pool");
            for pool in pools.iter().chain(pools.iter().rev()) {
                let what = format!("inside a pool of {}", pool.current_num_threads());
                pool.install(|| known.check_all(&mut workspace, &what));
                known.check_all(&mut workspace, "outside again");
            }
        }
    }

    #[test]
    fn pools_in_pools() {
        let (outer, inner) = (pool(3), pool(2));
        for known in Known::some() {
            let mut workspace = Workspace::new();
            outer.install(|| inner.install(|| known.check_all(&mut workspace, "a pool in a pool")));
            outer.install(|| {
                inner.install(|| outer.install(|| known.check_all(&mut workspace, "a pool in a pool in itself")));
            });
        }
    }

    /// Calls that run at once on one pool take each other's blocks while they wait for their own.
    #[test]
    fn calls_side_by_side_in_one_pool() {
        let known = Known::some();
        for threads in [1, 2, 16] {
            pool(threads).scope(|scope| {
                for turn in 0..3 {
                    for known in &known {
                        scope.spawn(move |_| {
                            known.check_all(&mut Workspace::new(), &format!("task {turn} of a pool of {threads}"));
                        });
                    }
                }
            });
        }
    }

    /// A call within one half of a join, whose other half makes calls, too.
    #[test]
    fn calls_on_both_sides_of_a_join() {
        let known = Known::some();
        pool(4).install(|| {
            for pair in known.windows(2) {
                rayon::join(
                    || pair[0].check_all(&mut Workspace::new(), "the left side"),
                    || pair[1].check_all(&mut Workspace::new(), "the right side"),
                );
            }
        });
    }
}
