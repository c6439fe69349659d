//! After the first call of a shape, later ones allocate nothing in Rust: a counting allocator proves it. What MPI
//! itself allocates does not come from it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use hardneg::{BankOptions, Exclusions, KnownPositives, Miner, Positives, TripletLoss};
use hardneg_mpi::{Queries, Ranks, Shard, ShardGradients};

use crate::data::{Cut, pairs, part};

/// The system's allocator, which counts what the calling thread asks of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator with the arguments that it came with; counting touches
// nothing but an integer of the calling thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`; `pointer` came from the system's allocator, as all do.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `pointer` came from the system's allocator, as all do.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often `call` asks for memory on this thread.
fn allocations<T>(call: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    black_box(call());
    ALLOCATIONS.get() - before
}

pub(crate) fn none_after_the_first_call(ranks: &mut Ranks) {
    assert_eq!(allocations(|| vec![1_u8; 100]), 1);
    let (rows, dim) = (600, 48);
    let (anchors, positives) = pairs(51, rows, dim);
    let own = Cut::Random(4).part(rows, ranks.rank(), ranks.size());
    let (a, p) = (part(&anchors, own.clone(), dim), part(&positives, own.clone(), dim));
    let outside = part(&positives, own.clone(), dim);
    let indices: Vec<u32> = own.clone().map(|row| (row as u32 + 1) % rows as u32).collect();
    let (offsets, weights): (Vec<usize>, Vec<f32>) = ((0..=own.len()).collect(), vec![0.5; own.len()]);
    let excluded: Vec<usize> = own.clone().map(|row| (row * row) % rows).collect();
    let lists = Exclusions::Lists { offsets: &offsets, indices: &excluded };
    let corpus = ranks.corpus(BankOptions::new(), p, dim).unwrap();
    let (plan, miner) = (TripletLoss::new(), Miner::new().k(5).relative_margin(0.1));
    let known = KnownPositives::One(Positives::Identity);
    let [mut by_anchors, mut by_candidates, mut by_positives] = [0.0; 3].map(|zero| vec![zero; a.len()]);
    for turn in 0..3 {
        let allocated = allocations(|| {
            let paired = ShardGradients::new(&mut by_anchors, &mut by_candidates);
            ranks.forward_backward(&plan, Shard::paired(a, p, dim), paired).unwrap();
            let gradients = ShardGradients::new(&mut by_anchors, &mut by_candidates).positives(&mut by_positives);
            ranks.forward_backward(&plan, Shard::new(a, p, dim, Positives::Outside(outside)), gradients).unwrap();
            let by_index = ShardGradients::new(&mut by_anchors, &mut by_candidates);
            ranks.forward_backward(&plan, Shard::new(a, p, dim, Positives::IndicesU32(&indices)), by_index).unwrap();
            let weighted = ShardGradients::new(&mut by_anchors, &mut by_candidates).weights(&weights);
            ranks.forward_backward(&plan, Shard::paired(a, p, dim).excluding(lists), weighted).unwrap();
            ranks.mine(&miner, &corpus, Queries::new(a).known_positives(known).excluding(lists)).unwrap().found()
        });
        assert!(allocated == 0 || turn == 0, "{allocated} allocations in turn {turn}");
    }
}
