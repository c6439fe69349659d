//! Banks: calls against them, changes, copies, and workspaces that are warmed for them.

use std::hint::black_box;

use hardneg::{Backend, BankOptions, Batch, Miner, MiningBatch, Positives, Screen, TripletLoss, Workspace};

use crate::common::{ALL_NEGATIVES, Data, Random};
use crate::counting::allocations;

/// Calls against a bank, from several threads that share it, each with a workspace of its own.
#[test]
fn a_bank_that_several_threads_read() {
    let input = Data::CommonMean.batch(8, 40, 900, 48);
    for backend in Backend::available() {
        let bank = BankOptions::new().backend(backend).build(&input.candidates[..], 48).unwrap();
        let call = |rows: usize, outside: bool, workspace: &mut Workspace| {
            let anchors = &input.anchors[..rows * 48];
            let positives = if outside { Positives::Outside(anchors) } else { Positives::Offset(7) };
            let batch = Batch::against(anchors, &bank, positives).unwrap();
            let negatives = ALL_NEGATIVES[rows % 3];
            TripletLoss::new().negatives(negatives).forward(batch, workspace).unwrap().loss()
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let call = &call;
                scope.spawn(move || {
                    let mut workspace = Workspace::new();
                    assert!(allocations(|| call(40, true, &mut workspace)) > 0);
                    let calls = || {
                        (0..60).for_each(|turn| {
                            black_box(call(1 + (turn + thread) % 40, turn % 2 == 0, &mut workspace));
                        });
                    };
                    assert_eq!(allocations(calls), 0, "{backend}, thread {thread}");
                });
            }
        });
    }
}

/// Changes of a bank that has the memory for them.
#[test]
fn changes_of_a_bank() {
    let rows = Random(1).rows(1000, 24);
    for screens in [&[Screen::Auto][..], &[Screen::I8, Screen::I16, Screen::F32], &[]] {
        let mut bank = BankOptions::new().screens(screens).build(rows[..24 * 500].to_vec(), 24).unwrap();
        bank.reserve(500).unwrap();
        let changes = || {
            bank.push(&rows[24 * 500..]).unwrap();
            bank.replace(3, &rows[..24]).unwrap();
            bank.swap_remove(2).unwrap();
            bank.clear();
            bank.push(&rows).unwrap();
        };
        assert_eq!(allocations(changes), 0, "{screens:?}");
    }
}

/// Memory for more rows is asked for once for each part of a bank that it is too small for, and a copy takes as many
/// allocations as there are parts.
#[test]
fn memory_and_copies_of_a_bank() {
    let (rows, dim) = (1000, 24);
    let all = Random(1).rows(2 * rows, dim);
    for (screens, formats) in [(&[][..], 0), (&[Screen::I8], 1), (&[Screen::I8, Screen::I16, Screen::F32], 3)] {
        let options = BankOptions::new().screens(screens);
        let mut bank = options.build(all[..rows * dim].to_vec(), dim).unwrap();
        // The rows, the norms, and the panels of each format; of the tree of sums four levels of 6, 3, 2 and 1 nodes,
        // the top of which has room, a level of its own for 11 blocks, and perhaps the list of the levels.
        let reserved = allocations(|| bank.reserve(rows).unwrap());
        assert!((2 + formats + 4..=2 + formats + 6).contains(&reserved), "{screens:?}: {reserved}");
        assert_eq!(allocations(|| bank.reserve(rows).unwrap()), 0, "{screens:?}");
        assert_eq!(allocations(|| bank.push(&all[rows * dim..]).unwrap()), 0, "{screens:?}");
        assert_eq!(allocations(|| bank.recenter().unwrap()), 0, "{screens:?}");
        assert_eq!(allocations(|| bank.is_recenter_due()), 0, "{screens:?}");
        // The list of levels and five of them; the scratch of a thread, and the list of these; the center.
        let copied = allocations(|| bank.try_clone().unwrap());
        let parts = 2 + formats + 6 + if formats > 0 { 3 } else { 0 };
        assert!((parts..=parts + 3).contains(&copied), "{screens:?}: {copied}, {parts}");
        let rows = all.clone();
        let mut bank = options.capacity(2 * 1000 + 500).build(rows, dim).unwrap();
        assert_eq!(allocations(|| bank.push(&all[..500 * dim]).unwrap()), 0, "{screens:?}");
        assert_eq!(allocations(|| bank.into_rows()), 0, "{screens:?}");
    }
}

/// A workspace that was warmed for a shape allocates nothing at the first call of it, or of a smaller one.
#[test]
fn a_workspace_that_was_warmed() {
    let (rows, dim, queries) = (900, 40, 70);
    for data in [Data::Random, Data::NearTies, Data::Duplicates, Data::ZeroRows] {
        let input = data.batch(2, queries, rows, dim);
        for screens in [&[Screen::Auto][..], &[Screen::I8, Screen::I16, Screen::F32], &[]] {
            for (k, skip) in [(1, 0), (5, 3), (60, 0)] {
                let bank = BankOptions::new().screens(screens).build(&input.candidates[..], dim).unwrap();
                let miner = Miner::new().k(k).skip(skip);
                let mut workspace = Workspace::new();
                assert!(allocations(|| workspace.warm(&miner, queries, &bank).unwrap()) > 0);
                let bytes = workspace.bytes();
                for count in [1, 8, queries] {
                    let batch = MiningBatch::against(&input.anchors[..count * dim], &bank).unwrap();
                    let mine = || miner.max_similarity(0.9).mine(batch, &mut workspace).unwrap().found();
                    assert_eq!(allocations(mine), 0, "{data:?}, {screens:?}, k {k}, {count} queries");
                }
                assert_eq!(workspace.bytes(), bytes);
                // The rows that stand for queries.
                assert_eq!(allocations(|| workspace.warm(&miner, 8, &bank).unwrap()), 1);
            }
        }
    }
}
