//! Banks that live long: memory that is asked for beforehand, copies, and a center that is taken when the owner likes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;

use hardneg::{Bank, BankOptions, Miner, MiningBatch, Neighbour, Screen, Threads, Workspace};

use crate::common::{ALL_DATA, Data, Random, bank_ways, bits};

/// The screens that a bank is packed for in integers.
const INTEGERS: &[Screen] = &[Screen::I8, Screen::I16];

/// The lists of some queries, the similarities as bits.
fn lists(bank: &Bank<'_>, queries: &[f32], workspace: &mut Workspace) -> Vec<Vec<(usize, u32)>> {
    let batch = MiningBatch::against(queries, bank).unwrap();
    let mined = Miner::new().k(7).mine(batch, workspace).unwrap();
    let pair = |neighbour: &Neighbour| (neighbour.index, neighbour.similarity.to_bits());
    mined.rows().map(|list| list.iter().map(pair).collect()).collect()
}

/// The same lists of the rows passed raw.
fn raw_lists(rows: &[f32], dim: usize, queries: &[f32], workspace: &mut Workspace) -> Vec<Vec<(usize, u32)>> {
    let batch = MiningBatch::new(queries, rows, dim).unwrap();
    let mined = Miner::new().k(7).mine(batch, workspace).unwrap();
    let pair = |neighbour: &Neighbour| (neighbour.index, neighbour.similarity.to_bits());
    mined.rows().map(|list| list.iter().map(pair).collect()).collect()
}

/// Makes one change of a bank of at least two rows, and the same of the rows that it should have.
fn change(bank: &mut Bank<'_>, model: &mut Vec<f32>, row: &[f32], random: &mut Random) {
    let (dim, rows) = (bank.dim(), bank.len());
    let index = random.below(rows);
    match random.below(3) {
        0 => {
            bank.push(row).unwrap();
            model.extend_from_slice(row);
        }
        1 if rows > 2 => {
            bank.swap_remove(index).unwrap();
            model.copy_within((rows - 1) * dim.., index * dim);
            model.truncate((rows - 1) * dim);
        }
        _ => {
            bank.replace(index, row).unwrap();
            model[index * dim..][..dim].copy_from_slice(row);
        }
    }
}

#[test]
fn reserving_takes_what_the_rows_need() {
    let (dim, rows) = (48, 1000);
    let all = Random(1).rows(2 * rows, dim);
    for (name, options) in bank_ways() {
        let built = options.build(all.clone(), dim).unwrap();
        for more in [1, 15, 16, 200, rows] {
            let of_all = options.build(all[..(rows + more) * dim].to_vec(), dim).unwrap().bytes();
            let mut bank = options.build(all[..rows * dim].to_vec(), dim).unwrap();
            bank.reserve(more).unwrap();
            assert_eq!(bank.bytes(), of_all, "{name}, {more} more");
            bank.push(&all[rows * dim..][..more * dim]).unwrap();
            assert_eq!(bank.bytes(), of_all, "{name}, {more} more");
        }
        // The capacity counts the rows that are there.
        for capacity in [0, 3, rows, 2 * rows] {
            let mut bank = options.capacity(capacity).build(all[..rows * dim].to_vec(), dim).unwrap();
            let reserved = if capacity == 2 * rows { built.bytes() } else { bank.bytes() };
            assert_eq!(bank.bytes(), reserved, "{name}, capacity {capacity}");
            bank.push(&all[rows * dim..]).unwrap();
            assert_eq!(bits(bank.rows()), bits(&all));
        }
        // Of no rows and of borrowed ones.
        let mut empty = options.capacity(2 * rows).build(Vec::new(), dim).unwrap();
        let mut borrowed = options.capacity(2 * rows).build(&all[..dim], dim).unwrap();
        assert_eq!([empty.bytes(), borrowed.bytes()], [built.bytes(); 2], "{name}");
        empty.push(&all).unwrap();
        borrowed.push(&all[dim..]).unwrap();
        assert_eq!([empty.bytes(), borrowed.bytes()], [built.bytes(); 2], "{name}");
    }
    let borrowed = BankOptions::new().capacity(rows).build(&all[..rows * dim], dim).unwrap();
    assert_eq!(borrowed.rows().as_ptr(), all.as_ptr(), "there is room for the rows that there are");
    assert!(BankOptions::new().capacity(usize::MAX).build(Vec::new(), dim).is_err());
}

#[test]
fn copies_have_the_rows_and_the_bits() {
    let mut workspace = Workspace::new();
    for (turn, (name, options)) in bank_ways().enumerate() {
        let (data, dim) = (ALL_DATA[turn % ALL_DATA.len()], [5, 33, 64][turn % 3]);
        let mut random = Random(turn as u64);
        let mut model = data.rows(&mut random, 500, dim);
        let mut bank = options.capacity(900).build(model.clone(), dim).unwrap();
        for _ in 0..40 {
            let row = data.rows(&mut random, 1, dim);
            change(&mut bank, &mut model, &row, &mut random);
        }
        let queries = data.rows(&mut random, 3, dim);
        let mut copy = bank.try_clone().unwrap();
        let fresh = options.build(model.clone(), dim).unwrap();
        assert_eq!((bits(copy.rows()), copy.bytes()), (bits(&model), fresh.bytes()), "{name}");
        let expected = raw_lists(&model, dim, &queries, &mut workspace);
        assert_eq!(lists(&copy, &queries, &mut workspace), expected, "{name}");
        // One changes without the other.
        let mut changed = model.clone();
        for _ in 0..10 {
            change(&mut copy, &mut changed, &queries[..dim], &mut random);
        }
        let expected_of_copy = raw_lists(&changed, dim, &queries, &mut workspace);
        assert_eq!(lists(&copy, &queries, &mut workspace), expected_of_copy, "{name}");
        assert_eq!(lists(&bank, &queries, &mut workspace), expected, "{name}");
        assert_eq!(bits(&copy.into_rows()), bits(&changed), "{name}");
    }
}

#[test]
fn copies_of_banks_without_rows_and_of_borrowed_rows() {
    let rows = Random(3).rows(20, 4);
    let borrowed = Bank::new(&rows[..], 4).unwrap();
    let copy = borrowed.try_clone().unwrap();
    assert_eq!(copy.rows().as_ptr(), rows.as_ptr());
    drop(borrowed);
    assert_eq!(copy.into_rows().as_ptr(), rows.as_ptr());
    let mut empty = Bank::new(Vec::new(), 4).unwrap().try_clone().unwrap();
    assert!(empty.is_empty() && empty.iter().next().is_none());
    empty.push(&rows).unwrap();
    empty.clear();
    let mut again = empty.try_clone().unwrap();
    again.push(&rows).unwrap();
    assert_eq!(bits(again.rows()), bits(&rows));
}

#[test]
fn rows_are_iterated_in_order() {
    let rows = Random(4).rows(30, 7);
    let bank = Bank::new(&rows[..], 7).unwrap();
    assert!(bank.iter().eq(rows.chunks(7)));
    assert_eq!((bank.iter().len(), bank.iter().next_back()), (30, bank.row(29)));
    let mut seen = 0;
    for row in &bank {
        assert_eq!(Some(row), bank.row(seen));
        seen += 1;
    }
    assert_eq!(seen, 30);
}

/// The pairs that the screen of a bank leaves for queries like its rows.
fn survivors(bank: &Bank<'_>, queries: &[f32]) -> usize {
    let mut workspace = Workspace::new();
    let batch = MiningBatch::against(queries, bank).unwrap();
    Miner::new().k(1).screen(Screen::I8).mine(batch, &mut workspace).unwrap().screening().survivors
}

/// Rows that have a common direction.
fn rows_around(mean: f32, seed: u64, count: usize, dim: usize) -> Vec<f32> {
    let mut rows = Random(seed).rows(count, dim);
    rows.iter_mut().for_each(|value| *value += mean);
    rows
}

#[test]
fn a_center_is_taken_when_the_owner_likes() {
    let (dim, count) = (64, 600);
    let (old, new) = (rows_around(-4.0, 1, count, dim), rows_around(4.0, 2, count, dim));
    for threads in [Threads::Serial, Threads::Rayon] {
        let options = BankOptions::new().screens(INTEGERS).threads(threads);
        let mut bank = options.auto_recenter(false).build(old.clone(), dim).unwrap();
        let mut automatic = options.build(old.clone(), dim).unwrap();
        for (index, row) in new.chunks(dim).enumerate() {
            assert!(!bank.is_recenter_due() && !automatic.is_recenter_due(), "after {index} changes");
            bank.replace(index, row).unwrap();
            automatic.replace(index, row).unwrap();
        }
        assert!(bank.is_recenter_due() && automatic.is_recenter_due());
        let queries = &new[..20 * dim];
        let drifted = survivors(&bank, queries);
        bank.recenter().unwrap();
        assert!(!bank.is_recenter_due());
        let fresh = survivors(&options.build(new.clone(), dim).unwrap(), queries);
        let recentered = survivors(&bank, queries);
        assert_eq!(recentered, fresh, "a recentered bank screens as a new one, {threads}");
        assert!(drifted > 2 * fresh, "{drifted} against {fresh}");
        // The next change would have done it.
        automatic.replace(0, &new[..dim]).unwrap();
        assert!(!automatic.is_recenter_due());
        assert_eq!(survivors(&automatic, queries), fresh);
    }
}

#[test]
fn a_center_is_due_where_there_is_one() {
    let rows = Random(6).rows(10, 8);
    for screens in [&[][..], &[Screen::F32]] {
        for auto in [false, true] {
            let mut bank = BankOptions::new().screens(screens).auto_recenter(auto).build(&rows[..], 8).unwrap();
            for _ in 0..30 {
                bank.replace(3, &rows[..8]).unwrap();
                assert!(!bank.is_recenter_due());
            }
            bank.recenter().unwrap();
        }
    }
    // The first rows that come have one of their own, also after all others went.
    let mut bank = BankOptions::new().screens(INTEGERS).auto_recenter(false).build(Vec::new(), 8).unwrap();
    for _ in 0..2 {
        bank.recenter().unwrap();
        assert!(!bank.is_recenter_due());
        bank.push(&rows).unwrap();
        assert!(!bank.is_recenter_due());
        assert_eq!(lists(&bank, &rows, &mut Workspace::new()), raw_lists(&rows, 8, &rows, &mut Workspace::new()));
        bank.clear();
    }
}

/// Left to its owner, the center of a bank is never taken by a change: none of 200,000 packs all rows. One that did would
/// leave a center that is not due.
#[test]
fn changes_whose_center_is_left_to_the_owner() {
    const CHANGES: usize = 200_000;
    let (dim, rows, most) = (16, 2500, 3000);
    let options = BankOptions::new().screens(INTEGERS).auto_recenter(false).capacity(most);
    let mut random = Random(7);
    let mut model = Data::CommonMean.rows(&mut random, rows, dim);
    let new = Data::Scaled.rows(&mut random, 500, dim);
    let mut bank = options.build(model.clone(), dim).unwrap();
    let mut taken_by_itself = options.auto_recenter(true).build(model.clone(), dim).unwrap();
    let (mut is_due, mut taken) = (false, 0);
    for turn in 0..CHANGES {
        let row = &new[turn % 500 * dim..][..dim];
        change(&mut bank, &mut model, row, &mut random);
        if bank.len() == most {
            bank.swap_remove(0).unwrap();
            model.copy_within((most - 1) * dim.., 0);
            model.truncate((most - 1) * dim);
        }
        assert!(bank.is_recenter_due() || !is_due, "change {turn} took the center");
        is_due = bank.is_recenter_due();
        // The other bank shows that a change which takes the center is seen.
        let was_due = taken_by_itself.is_recenter_due();
        taken_by_itself.replace(turn % rows, row).unwrap();
        taken += usize::from(was_due && !taken_by_itself.is_recenter_due());
    }
    assert!(is_due);
    assert_eq!(taken, CHANGES / (rows + 1));
    assert_eq!(bits(bank.rows()), bits(&model));
    let (queries, mut workspace) = (Data::CommonMean.rows(&mut random, 9, dim), Workspace::new());
    let fresh = options.build(model, dim).unwrap();
    let expected = lists(&fresh, &queries, &mut workspace);
    assert_eq!(lists(&bank, &queries, &mut workspace), expected);
    bank.recenter().unwrap();
    assert_eq!(lists(&bank, &queries, &mut workspace), expected);
}

/// Readers keep what they have read, and find in it what a bank of its rows has, while the owner goes on.
#[test]
fn snapshots_that_threads_read_while_the_owner_changes() {
    let (dim, rows) = (24, 400);
    let mut random = Random(9);
    let first = Data::CommonMean.rows(&mut random, rows, dim);
    let published = RwLock::new(Arc::new(Bank::new(first.clone(), dim).unwrap()));
    let (done, queries) = (AtomicBool::new(false), Data::CommonMean.rows(&mut random, 2, dim));
    let read = |seed: usize| {
        let (mut workspace, mut reads) = (Workspace::new(), 0);
        while !done.load(Ordering::Relaxed) || reads == 0 {
            let snapshot = Arc::clone(&published.read().unwrap());
            let queries = &queries[seed % 2 * dim..][..dim];
            let expected = raw_lists(snapshot.rows(), dim, queries, &mut workspace);
            assert_eq!(lists(&snapshot, queries, &mut workspace), expected);
            reads += 1;
        }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|seed| scope.spawn(move || read(seed))).collect();
        let mut model = first;
        for _ in 0..60 {
            let mut next = published.read().unwrap().try_clone().unwrap();
            for _ in 0..20 {
                let row = Data::CommonMean.rows(&mut random, 1, dim);
                change(&mut next, &mut model, &row, &mut random);
            }
            *published.write().unwrap() = Arc::new(next);
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!(bits(published.read().unwrap().rows()), bits(&model));
    });
}

#[test]
fn debug_names_the_options() {
    let options = BankOptions::new().screens(&[Screen::I8, Screen::F32]).backend(hardneg::Backend::portable());
    let bank = options.build(vec![1.0; 12], 4).unwrap();
    let text = format!("{bank:?}");
    let expected =
        "Bank { rows: 3, dim: 4, backend: portable, threads: serial, screens: [f32, i8], auto_recenter: true, .. }";
    assert_eq!(text, expected);
    let text = format!("{options:?} {:?}", BankOptions::new());
    assert!(text.contains("screens: [f32, i8]") && text.contains("screens: auto"), "{text}");
}
