//! Calls in rayon pools and from outside of them.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use hardneg::{BankOptions, Batch, Miner, MiningBatch, Positives, Threads, TripletLoss, Workspace};

use crate::common::{ALL_NEGATIVES, Data, OwnedBatch};
use crate::counting::{SHARED, allocations};

/// A pool of two threads that count what they allocate together.
fn counted_pool(counter: &'static AtomicUsize) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2);
    pool.start_handler(|_| SHARED.set(Some(counter))).build().unwrap()
}

/// A batch whose calls take so long on one thread that they are divided on every machine; a unit test of the crate
/// asks for that.
fn large() -> OwnedBatch {
    Data::Random.batch(5, 900, 900, 64)
}

/// `calls` calls that are divided over threads.
fn divided(input: &OwnedBatch, calls: usize, workspace: &mut Workspace) {
    for turn in 0..calls {
        let plan = TripletLoss::new().negatives(ALL_NEGATIVES[turn % 3]).threads(Threads::Rayon);
        let _ = black_box(plan.forward(input.batch(), workspace).unwrap().loss());
    }
}

/// Inside of a pool, nobody allocates anything on any of its threads: neither this crate nor rayon, whose jobs lie
/// on the stacks of those who wait for them. Measured: 0 in 1000 calls.
#[test]
fn inside_of_a_pool() {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let input = large();
    let pool = counted_pool(&COUNTER);
    let counted = pool.install(|| {
        let mut workspace = Workspace::new();
        // Threads that meet for the first time register with each other.
        divided(&input, 50, &mut workspace);
        let before = COUNTER.load(Ordering::SeqCst);
        divided(&input, 1000, &mut workspace);
        COUNTER.load(Ordering::SeqCst) - before
    });
    assert_eq!(counted, 0);
}

/// Few queries against a bank, whose rows are divided; a unit test of the crate asks for that. Then fewer queries, for
/// lists that are as long or shorter, and anchors of losses.
#[test]
fn few_queries_against_a_bank() {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let (queries, rows, dim) = (16, 40_000, 64);
    let input = Data::Random.batch(5, queries, rows, dim);
    let bank = BankOptions::new().build(&input.candidates[..], dim).unwrap();
    let pool = counted_pool(&COUNTER);
    let counted = pool.install(|| {
        let mut workspace = Workspace::new();
        workspace.warm(&Miner::new().k(40).threads(Threads::Rayon), queries, &bank).unwrap();
        let mut turn = |turn: usize| {
            let k = [40, 1, 3][turn % 3];
            let miner = Miner::new().k(k).threads(Threads::Rayon);
            for count in [queries, queries - turn % 5] {
                let batch = MiningBatch::against(&input.anchors[..count * dim], &bank).unwrap();
                let _ = black_box(miner.mine(batch, &mut workspace).unwrap().found());
            }
            let batch = Batch::against(&input.anchors, &bank, Positives::Identity).unwrap();
            let plan = TripletLoss::new().threads(Threads::Rayon);
            let _ = black_box(plan.forward(batch, &mut workspace).unwrap().loss());
        };
        // Threads that meet for the first time register with each other.
        (0..20).for_each(&mut turn);
        let before = COUNTER.load(Ordering::SeqCst);
        (0..200).for_each(&mut turn);
        COUNTER.load(Ordering::SeqCst) - before
    });
    assert_eq!(counted, 0);
}

/// A pool of many threads divides anchors into smaller blocks than one thread takes.
#[test]
fn serial_after_many_threads() {
    let input = large();
    let mut workspace = Workspace::new();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    let parallel = TripletLoss::new().threads(Threads::Rayon);
    let _ = pool.install(|| parallel.forward(input.batch(), &mut workspace)).unwrap();
    let plan = TripletLoss::new().threads(Threads::Serial);
    assert_eq!(allocations(|| plan.forward(input.batch(), &mut workspace).unwrap().loss()), 0);
}

/// From outside of the pool a job goes into rayon's queue, which grows by a block every 63 entries. Measured: 10
/// allocations in 630 entries.
#[test]
fn from_outside_of_a_pool() {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let input = large();
    let pool = counted_pool(&COUNTER);
    let mut workspace = Workspace::new();
    pool.install(|| divided(&input, 50, &mut workspace));
    SHARED.set(Some(&COUNTER));
    let before = COUNTER.load(Ordering::SeqCst);
    for _ in 0..630 {
        pool.install(|| divided(&input, 1, &mut workspace));
    }
    let counted = COUNTER.load(Ordering::SeqCst) - before;
    SHARED.set(None);
    println!("{counted} allocations in 630 entries");
    assert!(counted <= 11, "{counted} allocations in 630 entries");
}
