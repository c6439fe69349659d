//! Calls from anywhere: inside and outside of pools, pools in pools, more threads than cores, many callers at once, and
//! processes in which rayon cannot start its pool.
//!
//! `HARDNEG_SOAK_SECONDS` sets how long the soak runs, which is 2 seconds by default.

mod common;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, Random, assert_forward, ways, ways_of_one_screen};
use hardneg::{Loss, Negatives, Reduction, RowStats, Screen, TripletLoss, Workspace, reference};

/// A batch with the answer to every call with it.
struct Known {
    batch: OwnedBatch,
    negatives: Negatives,
    answer: (Loss, Vec<RowStats>),
    name: String,
}

impl Known {
    fn new(turn: usize, data: Data, (rows, candidates, dim): (usize, usize, usize)) -> Known {
        let mut random = Random(turn as u64);
        let batch = data.batch(random.bits(), rows, candidates, dim).with_random_positives(&mut random);
        let negatives = ALL_NEGATIVES[turn % 3];
        let answer = reference::forward(batch.batch(), 0.25, negatives, Reduction::Sum).unwrap();
        Known { batch, negatives, answer, name: format!("{data:?} {rows} x {candidates} x {dim}, {negatives}") }
    }

    /// Shapes too small for several threads, and shapes that are divided: the last two always are, one of them by its
    /// candidates; a unit test of the crate asks for that.
    fn some() -> &'static [Known] {
        static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
            let shapes = [
                (1, 2, 1),
                (30, 50, 20),
                (97, 193, 33),
                (7, 500, 64),
                (300, 301, 31),
                (65, 400, 110),
                (49, 49, 1121),
                (48, 10_000, 48),
                (3, 40_000, 32),
            ];
            let shapes = shapes.into_iter().zip(ALL_DATA.into_iter().cycle());
            shapes.enumerate().map(|(turn, (shape, data))| Known::new(turn, data, shape)).collect()
        });
        &KNOWN
    }

    /// Checks one call; the plan says how to run it.
    fn check(&self, plan: TripletLoss, workspace: &mut Workspace, what: &str) {
        let forward = plan.negatives(self.negatives).forward(self.batch.batch(), workspace).unwrap();
        assert_forward(&self.answer, &forward, &format!("{}, {plan:?}, {what}", self.name));
    }

    /// Every backend and thread mode, and the screens in turns.
    fn check_all(&self, workspace: &mut Workspace, what: &str) {
        let mut screens = Screen::all().cycle().skip(self.batch.dim % Screen::all().len());
        for (_, plan) in ways_of_one_screen(TripletLoss::new()) {
            self.check(plan, workspace, what);
            self.check(plan.screen(screens.next().expect("a cycle has no end")), workspace, what);
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
            let calls = &calls;
            scope.spawn(move || {
                let mut random = Random(caller);
                let mut workspace = Workspace::new();
                let plans: Vec<TripletLoss> = ways(TripletLoss::new()).map(|(_, plan)| plan).collect();
                while started.elapsed() < Duration::from_secs_f64(seconds) {
                    let plan = random.choose(&plans);
                    let known = &known[random.below(known.len())];
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
    use hardneg::{Backend, BankOptions, Batch, Miner, MiningBatch, Threads};

    use super::common::assert_lists;
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

    /// Few anchors against a bank, whose rows are divided; a unit test of the crate asks for that. What a call counts
    /// depends on the number of threads, not on time.
    #[test]
    fn few_anchors_against_a_bank() {
        let (anchors, rows, dim) = (16, 40_000, 64);
        let pools = [1, 2, 3, 5, 8].map(pool);
        for (turn, data) in [Data::Random, Data::CommonMean, Data::Duplicates].into_iter().enumerate() {
            let owned = data.batch(9, anchors, rows, dim).with_random_positives(&mut Random(9));
            let negatives = ALL_NEGATIVES[turn];
            let loss = TripletLoss::new().negatives(negatives).threads(Threads::Rayon);
            let raw = MiningBatch::new(&owned.anchors, &owned.candidates, dim).unwrap();
            let is_out = |query: usize, candidate: usize| (query + candidate).is_multiple_of(7);
            let answer = reference::forward(owned.batch(), 0.25, negatives, Reduction::Sum).unwrap();
            let lists = [1, 3, 40].map(|k| {
                let miner = Miner::new().k(k).threads(Threads::Rayon);
                (reference::mine(&miner, raw.exclude_where(&is_out)).unwrap(), miner)
            });
            for backend in Backend::available() {
                let bank = BankOptions::new().backend(backend).build(&owned.candidates[..], dim).unwrap();
                let against = Batch::against(&owned.anchors, &bank, owned.pairing.positives()).unwrap();
                let queries = MiningBatch::against(&owned.anchors, &bank).unwrap().exclude_where(&is_out);
                let mut workspace = Workspace::new();
                for pool in &pools {
                    let what = format!("{data:?}, {backend}, {} threads", pool.current_num_threads());
                    pool.install(|| {
                        let forward = loss.forward(against, &mut workspace).unwrap();
                        assert_forward(&answer, &forward, &what);
                        let screening = forward.screening();
                        assert_eq!(loss.forward(against, &mut workspace).unwrap().screening(), screening, "{what}");
                        for (list, miner) in &lists {
                            assert_lists(list, &miner.mine(queries, &mut workspace).unwrap(), &what);
                        }
                    });
                }
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
                    for known in known {
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

/// Processes in which the system refuses rayon its threads: a call that asks for them runs on its own thread.
#[cfg(all(feature = "rayon", target_os = "linux"))]
mod refused_threads {
    use super::*;

    use std::panic::catch_unwind;
    use std::process::Command;

    use hardneg::{Gradients, Threads};

    /// Set in the child processes.
    const CHILD: &str = "HARDNEG_REFUSE_THREADS";
    /// The stack of a thread, in bytes of addresses.
    const STACK: u64 = 512 << 20;

    /// From now on this process gets less than a stack of further addresses.
    fn refuse_stacks() {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("the size of this process");
        let pages: u64 = pages.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number of pages");
        // SAFETY: the call only reads a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let limit = pages * page as u64 + STACK / 2;
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the pointer is to a limit that lives until the call returns.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    }

    /// Batches that are divided, each with its answer and its gradients, with and without rayon.
    fn check() {
        for known in Known::some() {
            let mut workspace = Workspace::new();
            known.check_all(&mut workspace, "without a pool");
            let gradients = |threads| {
                let batch = &known.batch;
                let (mut a, mut c) = (vec![7.0; batch.anchors.len()], vec![7.0; batch.candidates.len()]);
                let plan = TripletLoss::new().margin(1.0).threads(threads);
                let gradients = Gradients::new(&mut a, &mut c);
                let _ = plan.forward_backward(batch.batch(), gradients, &mut Workspace::new()).unwrap();
                [common::bits(&a), common::bits(&c)]
            };
            assert!(gradients(Threads::Serial) == gradients(Threads::Rayon), "{}", known.name);
        }
    }

    /// The name of this test, which the child processes run again.
    const NAME: &str = "refused_threads::a_call_falls_back_to_its_own_thread";

    #[test]
    fn a_call_falls_back_to_its_own_thread() {
        match std::env::var(CHILD).as_deref() {
            // The crate is the first that asks for the pool.
            Ok("first") => {
                refuse_stacks();
                check();
                assert!(catch_unwind(rayon::current_num_threads).is_err(), "rayon has its pool all the same");
            }
            // The program has asked before.
            Ok("second") => {
                refuse_stacks();
                assert!(catch_unwind(rayon::current_num_threads).is_err(), "rayon has its pool all the same");
                check();
            }
            _ => {
                for order in ["first", "second"] {
                    let mut child = Command::new(std::env::current_exe().unwrap());
                    child.args(["--exact", NAME, "--nocapture"]).env(CHILD, order).env("RAYON_NUM_THREADS", "4");
                    let output = child.env("RUST_MIN_STACK", STACK.to_string()).output().unwrap();
                    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
                    assert!(output.status.success() && out.contains("1 passed"), "{order}: {out}{error}");
                }
            }
        }
    }
}
