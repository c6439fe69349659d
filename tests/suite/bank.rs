//! Banks: whatever was done to one, it gives the bits of a fresh batch of the same rows.

use std::borrow::Cow;

use hardneg::{Bank, BankOptions, Batch, Error, Gradients, Positives, Screen, Side, Threads, TripletLoss, Workspace};
use proptest::prelude::*;

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, Pairing, Random, assert_forward, bank_ways, bits, ways_of_one_screen,
};

/// Gradients of both sides, and of positives that are outside.
fn gradients<'a>([anchors, candidates, positives]: &'a mut [Vec<f32>; 3], pairing: &Pairing) -> Gradients<'a> {
    let gradients = Gradients::new(anchors, candidates);
    if matches!(pairing, Pairing::Outside(_)) { gradients.positives(positives) } else { gradients }
}

/// Compares calls against a bank with calls on the bank's rows passed raw: forward and gradients, every rule.
fn check(anchors: &[f32], pairing: &Pairing, bank: &Bank<'_>, workspace: &mut Workspace, what: &str) {
    let (rows, dim) = (bank.rows().to_vec(), bank.dim());
    let raw = OwnedBatch::new(anchors.to_vec(), rows, dim, pairing.clone());
    let against = Batch::against(anchors, bank, pairing.positives()).unwrap();
    for negatives in ALL_NEGATIVES {
        for screen in [Screen::Auto, Screen::I8, Screen::Off] {
            let plan = TripletLoss::new().negatives(negatives).screen(screen).margin(1.0);
            let mut of_raw = [anchors.len(), raw.candidates.len(), anchors.len()].map(|length| vec![f32::NAN; length]);
            let mut of_bank = of_raw.clone();
            let expected = {
                let forward = plan.forward_backward(raw.batch(), gradients(&mut of_raw, pairing), workspace).unwrap();
                (forward.loss(), forward.row_stats().to_vec())
            };
            let gradients = gradients(&mut of_bank, pairing);
            let plan = if negatives == ALL_NEGATIVES[0] { plan.threads(Threads::Rayon) } else { plan };
            let forward = plan.forward_backward(against, gradients, workspace).unwrap();
            assert_forward(&expected, &forward, &format!("{what}, {negatives}, {screen}"));
            for (of_raw, of_bank) in of_raw.iter().zip(&of_bank) {
                assert_eq!(bits(of_raw), bits(of_bank), "{what}, {negatives}, {screen}: gradients");
            }
        }
    }
}

/// Positives in the bank, or, every third time, outside.
fn pairing(random: &mut Random, data: Data, anchors: usize, rows: usize, dim: usize) -> Pairing {
    if random.below(3) == 0 {
        Pairing::Outside(data.rows(random, anchors, dim))
    } else {
        Pairing::random(random, anchors, rows)
    }
}

/// A change of a bank.
#[derive(Clone, Debug)]
enum Change {
    Push(usize),
    Replace(usize),
    SwapRemove(usize),
    Clear,
    Reserve(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..260_usize).prop_map(Change::Push),
        6 => (1..4_usize).prop_map(Change::Push),
        6 => any::<usize>().prop_map(Change::Replace),
        6 => any::<usize>().prop_map(Change::SwapRemove),
        1 => Just(Change::Clear),
        1 => (0..300_usize).prop_map(Change::Reserve),
    ]
}

impl Change {
    /// Makes this change to a bank and to the rows that it should have then.
    fn make(&self, bank: &mut Bank<'_>, model: &mut Vec<Vec<f32>>, data: Data, random: &mut Random) {
        let dim = bank.dim();
        match *self {
            Change::Push(0) => bank.push(&[]).unwrap(),
            Change::Push(count) => {
                let rows = data.rows(random, count, dim);
                bank.push(&rows).unwrap();
                model.extend(rows.chunks(dim).map(<[f32]>::to_vec));
            }
            Change::Replace(index) if !model.is_empty() => {
                let row = data.rows(random, 1, dim);
                bank.replace(index % model.len(), &row).unwrap();
                let index = index % model.len();
                model[index] = row;
            }
            Change::SwapRemove(index) if !model.is_empty() => {
                let index = index % model.len();
                let moved = (index + 1 < model.len()).then_some(model.len() - 1);
                assert_eq!(bank.swap_remove(index).unwrap(), moved);
                model.swap_remove(index);
            }
            Change::Replace(index) => {
                let refused = bank.replace(index, &vec![1.0; dim]);
                assert_eq!(refused, Err(Error::RowOutOfRange { row: index, rows: 0 }));
            }
            Change::SwapRemove(index) => {
                assert_eq!(bank.swap_remove(index), Err(Error::RowOutOfRange { row: index, rows: 0 }));
            }
            Change::Clear => {
                bank.clear();
                model.clear();
            }
            Change::Reserve(rows) => bank.reserve(rows).unwrap(),
        }
        assert_eq!(bank.len(), model.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_the_bits_of_a_fresh_batch(
        data in 0..ALL_DATA.len(),
        seed: u64,
        first in 0..500_usize,
        dim in 1..50_usize,
        way: prop::sample::Index,
        changes in proptest::collection::vec(change(), 0..14),
        anchors in 1..24_usize,
    ) {
        let (data, mut random) = (ALL_DATA[data], Random(seed));
        let ways: Vec<_> = bank_ways().collect();
        let (name, options) = way.get(&ways);
        let rows = if first == 0 { Vec::new() } else { data.rows(&mut random, first, dim) };
        let mut model: Vec<Vec<f32>> = rows.chunks(dim).map(<[f32]>::to_vec).collect();
        let mut bank = options.build(&rows[..], dim).unwrap();
        let anchors = data.rows(&mut random, anchors, dim);
        let mut workspace = Workspace::new();
        for turn in 0..=changes.len() {
            if model.len() > 1 && (turn % 4 == 0 || turn == changes.len()) {
                prop_assert_eq!(bits(bank.rows()), bits(&model.concat()));
                let pairing = pairing(&mut random, data, anchors.len() / dim, model.len(), dim);
                check(&anchors, &pairing, &bank, &mut workspace, &format!("{name}, {data:?}, after {turn} changes"));
            }
            if let Some(change) = changes.get(turn) {
                change.make(&mut bank, &mut model, data, &mut random);
            }
        }
    }
}

/// Shapes at the edges of panels, registers and blocks of the sum, and numbers of anchors at those of tiles.
#[test]
fn every_way_to_build_a_bank() {
    let mut workspace = Workspace::new();
    for (index, (name, options)) in bank_ways().enumerate() {
        for (turn, rows) in [2, 15, 16, 17, 47, 48, 49, 96, 191, 192, 193, 400, 769].into_iter().enumerate() {
            let anchors = [1, 2, 3, 4, 5, 8, 9, 16, 17, 40][(turn + index) % 10];
            let (data, dim) = (ALL_DATA[(turn + index) % ALL_DATA.len()], [1, 7, 16, 33, 64, 131][(turn + index) % 6]);
            let mut random = Random(turn as u64);
            let batch =
                data.batch(turn as u64, anchors, rows, dim).with(pairing(&mut random, data, anchors, rows, dim));
            let bank = options.build(&batch.candidates[..], dim).unwrap();
            let what = format!("{name}, {data:?}, {anchors} x {rows} x {dim}");
            check(&batch.anchors, &batch.pairing, &bank, &mut workspace, &what);
        }
    }
}

/// A large bank that is built on several threads, and grows on several threads.
#[test]
fn a_bank_that_several_threads_build() {
    let (rows, dim) = (5000, 128);
    let batch = Data::CommonMean.batch(3, 20, rows, dim);
    let parallel = BankOptions::new().screens(&[Screen::I8, Screen::I16]).threads(Threads::Rayon);
    let mut bank = parallel.build(&batch.candidates[..dim], dim).unwrap();
    bank.push(&batch.candidates[dim..]).unwrap();
    let built = parallel.build(&batch.candidates[..], dim).unwrap();
    let mut workspace = Workspace::new();
    for bank in [&bank, &built] {
        check(&batch.anchors, &batch.pairing, bank, &mut workspace, "built on several threads");
    }
}

/// A call computes with the bank's instruction set, whatever its own options are.
#[test]
fn options_of_the_call() {
    let batch = Data::Random.batch(5, 30, 300, 40);
    let bank = Bank::new(&batch.candidates[..], 40).unwrap();
    let against = Batch::against(&batch.anchors, &bank, Positives::Identity).unwrap();
    let mut workspace = Workspace::new();
    let forward = TripletLoss::new().forward(batch.batch(), &mut workspace).unwrap();
    let expected = (forward.loss(), forward.row_stats().to_vec());
    for screen in Screen::all() {
        for (way, plan) in ways_of_one_screen(TripletLoss::new().screen(screen)) {
            assert_forward(&expected, &plan.forward(against, &mut workspace).unwrap(), &format!("{screen}, {way}"));
        }
    }
    let screening = TripletLoss::new().screen(Screen::Off).forward(against, &mut workspace).unwrap().screening();
    assert_eq!(screening.exact_rows, 30);
}

#[test]
fn rows_that_are_borrowed_are_copied_when_they_change() {
    let rows = Random(1).rows(40, 8);
    let mut bank = Bank::new(&rows[..], 8).unwrap();
    assert_eq!(bank.rows().as_ptr(), rows.as_ptr());
    bank.reserve(0).unwrap();
    bank.replace(3, &rows[..8]).unwrap();
    assert_ne!(bank.rows().as_ptr(), rows.as_ptr());
    assert_eq!((bank.row(3), bank.row(4), bank.row(40)), (Some(&rows[..8]), Some(&rows[32..40]), None));
    let owned = Bank::new(rows.clone(), 8).unwrap();
    assert_eq!((owned.len(), owned.dim(), owned.is_empty()), (40, 8, false));
    assert_eq!(bits(owned.rows()), bits(&rows));
}

#[test]
fn memory_is_that_of_the_rows_and_a_little_more() {
    let rows = vec![0.5; 768 * 1920];
    let bytes = |screens: &[Screen]| BankOptions::new().screens(screens).build(&rows[..], 768).unwrap().bytes();
    let of_rows = rows.len() * 4;
    assert!(bytes(&[]) >= of_rows + 1920 * 8);
    assert!((bytes(&[]) as f64) < of_rows as f64 * 1.03);
    assert!((bytes(&[Screen::I8]) as f64) < of_rows as f64 * 1.3);
    assert!(bytes(&[Screen::I8]) as f64 > of_rows as f64 * 1.25);
    assert!(bytes(&[Screen::F32]) as f64 > of_rows as f64 * 2.0);
}

/// A bank as it can be seen from outside.
fn seen(bank: &Bank<'_>) -> (Vec<u32>, usize, Vec<u32>) {
    let anchor = Random(9).rows(1, bank.dim());
    let mut workspace = Workspace::new();
    let batch = Batch::against(&anchor, bank, Positives::Identity).unwrap();
    let stats = TripletLoss::new().forward(batch, &mut workspace).unwrap().row_stats()[0];
    (bits(bank.rows()), bank.len(), bits(&[stats.positive(), stats.mean_negative().unwrap()]))
}

#[test]
fn errors_leave_a_bank_as_it_was() {
    let rows = Random(2).rows(50, 6);
    for rows in [Cow::from(&rows[..]), Cow::from(rows.clone())] {
        let mut bank = Bank::new(rows, 6).unwrap();
        let before = seen(&bank);
        let (mut nan, mut infinite) = (vec![1.0; 18], vec![1.0; 6]);
        (nan[13], infinite[5]) = (f32::NAN, f32::INFINITY);
        let side = Side::NewRows;
        assert_eq!(bank.push(&[1.0; 7]), Err(Error::PartialRow { side, dim: 6, actual: 7 }));
        assert_eq!(bank.push(&nan), Err(Error::NotFinite { side, row: 2 }));
        assert_eq!(bank.replace(50, &[1.0; 6]), Err(Error::RowOutOfRange { row: 50, rows: 50 }));
        assert_eq!(bank.replace(4, &[1.0; 5]), Err(Error::Length { side, expected: 6, actual: 5 }));
        assert_eq!(bank.replace(4, &infinite), Err(Error::NotFinite { side, row: 0 }));
        assert_eq!(bank.swap_remove(50), Err(Error::RowOutOfRange { row: 50, rows: 50 }));
        assert!(matches!(bank.reserve(usize::MAX), Err(Error::SizeOverflow { side: Side::Candidates, .. })));
        assert!(matches!(bank.reserve(usize::MAX / 32), Err(Error::OutOfMemory { .. } | Error::SizeOverflow { .. })));
        assert_eq!(seen(&bank), before);
    }
}

#[test]
fn errors_of_building_and_of_batches() {
    let side = Side::Candidates;
    assert_eq!(Bank::new(&[1.0][..], 0).err(), Some(Error::ZeroDim));
    assert_eq!(Bank::new(&[1.0, 2.0, 3.0][..], 2).err(), Some(Error::PartialRow { side, dim: 2, actual: 3 }));
    for threads in [Threads::Serial, Threads::Rayon] {
        let mut rows = Random(1).rows(900, 600);
        rows[600 * 700 + 3] = f32::NEG_INFINITY;
        rows[600 * 701] = f32::NAN;
        let built = BankOptions::new().threads(threads).build(&rows[..], 600);
        assert_eq!(built.err(), Some(Error::NotFinite { side, row: 700 }));
    }
    let against = |bank: &Bank<'_>, anchors: &[f32], positives| Batch::against(anchors, bank, positives).err();
    let mut bank = Bank::new(Vec::new(), 2).unwrap();
    assert_eq!(against(&bank, &[1.0, 0.0], Positives::Identity), Some(Error::Empty { side }));
    bank.push(&[1.0, 0.0]).unwrap();
    assert_eq!(against(&bank, &[1.0, 0.0], Positives::Identity), Some(Error::NoNegative));
    assert_eq!(against(&bank, &[1.0, 0.0], Positives::Outside(&[1.0, 0.0])), None);
    bank.push(&[0.0, 1.0]).unwrap();
    assert_eq!(against(&bank, &[1.0, 0.0], Positives::Identity), None);
    assert_eq!(against(&bank, &[], Positives::Identity), Some(Error::Empty { side: Side::Anchors }));
    let partial = Error::PartialRow { side: Side::Anchors, dim: 2, actual: 3 };
    assert_eq!(against(&bank, &[1.0, 0.0, 1.0], Positives::Identity), Some(partial));
    let outside = Error::PositiveOutOfRange { row: 0, index: 2, candidates: 2 };
    assert_eq!(against(&bank, &[1.0, 0.0], Positives::Offset(2)), Some(outside));
    let not_finite = Batch::against(&[f32::NAN, 0.0], &bank, Positives::Identity).unwrap();
    let refused = TripletLoss::new().forward(not_finite, &mut Workspace::new()).err();
    assert_eq!(refused, Some(Error::NotFinite { side: Side::Anchors, row: 0 }));
}

/// Zero rows are counted, come and go.
#[test]
fn zero_rows_are_counted() {
    let mut bank = Bank::new(vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2).unwrap();
    let zeros = |bank: &Bank<'_>| {
        let batch = Batch::against(&[1.0, 1.0], bank, Positives::Identity).unwrap();
        TripletLoss::new().forward(batch, &mut Workspace::new()).unwrap().loss().zero_candidates
    };
    assert_eq!(zeros(&bank), Some(1));
    bank.push(&[0.0; 4]).unwrap();
    assert_eq!(zeros(&bank), Some(3));
    bank.replace(0, &[1.0, 2.0]).unwrap();
    bank.replace(1, &[0.0, 0.0]).unwrap();
    assert_eq!(zeros(&bank), Some(3));
    assert_eq!(bank.swap_remove(0).unwrap(), Some(4));
    assert_eq!((zeros(&bank), bank.row(0)), (Some(3), Some(&[0.0, 0.0][..])));
    assert_eq!(bank.swap_remove(3).unwrap(), None);
    assert_eq!(zeros(&bank), Some(2));
}

/// A bank whose rows have left its center behind is packed anew: the pairs that survive are as few as in a new one.
#[test]
fn a_bank_that_drifts_takes_a_new_center() {
    let (dim, count) = (64, 600);
    let rows = |seed, mean: f32| {
        let mut rows = Random(seed).rows(count, dim);
        rows.iter_mut().for_each(|value| *value += mean);
        rows
    };
    let (old, new) = (rows(1, -4.0), rows(2, 4.0));
    let mut bank = BankOptions::new().screens(&[Screen::I8]).build(old, dim).unwrap();
    for (index, row) in new.chunks(dim).enumerate() {
        bank.replace(index, row).unwrap();
    }
    bank.push(&new[..dim]).unwrap();
    let fresh = BankOptions::new().screens(&[Screen::I8]).build(bank.rows().to_vec(), dim).unwrap();
    let survivors = |bank: &Bank<'_>| {
        let batch = Batch::against(&new, bank, Positives::Identity).unwrap();
        let plan = TripletLoss::new().screen(Screen::I8).negatives(hardneg::Negatives::Any);
        plan.forward(batch, &mut Workspace::new()).unwrap().screening().survivors
    };
    let [of_bank, of_fresh] = [survivors(&bank), survivors(&fresh)];
    assert!(of_bank <= of_fresh + of_fresh / 10, "{of_bank} against {of_fresh}");
}

/// Whole blocks of the sum go: the nodes above those that are left are of these alone.
#[test]
fn blocks_of_the_sum_that_go() {
    let mut workspace = Workspace::new();
    for rows in [193, 385, 577, 769, 961] {
        let batch = Data::Random.batch(rows as u64, 3, rows, 9);
        let mut bank = Bank::new(&batch.candidates[..], 9).unwrap();
        for turn in 0..3 {
            assert_eq!(bank.swap_remove(turn).unwrap(), Some(bank.len()));
            check(&batch.anchors, &Pairing::Identity, &bank, &mut workspace, &format!("{rows} rows less {}", turn + 1));
        }
    }
}

/// Anchors and the rows of a bank are signs, which are rounded to bytes without an error. Then rows come of which one
/// element is so large that bytes hold little of the others: their intervals are long, and have to be looked for further
/// above the positive than those of any row before.
#[test]
fn rows_that_come_later_may_have_longer_intervals() {
    const ANCHORS: usize = 5;
    let (dim, flipped) = (64, 23);
    let mut random = Random(8);
    let mut signs = || -> Vec<f32> {
        let mut row: Vec<f32> = (0..dim).map(|_| random.unit().signum()).collect();
        row[0] = 0.0;
        row
    };
    let anchors: Vec<Vec<f32>> = (0..ANCHORS).map(|_| signs()).collect();
    // The positive of each anchor is the anchor with some signs flipped.
    let flip = |anchor: &Vec<f32>| anchor.iter().enumerate().map(|(k, x)| if k <= flipped { -x } else { *x }).collect();
    let mut rows: Vec<Vec<f32>> = anchors.iter().map(flip).collect();
    rows.extend((0..100).map(|_| signs()));
    let positive = (dim - 1 - 2 * flipped) as f32 / (dim - 1) as f32;
    // An anchor with this element in the place of its zero is a little less similar to it than the positive.
    let largest = ((dim - 1) as f32 * (1.0 / (positive * positive) - 1.0)).sqrt() * 1.001;
    let (mut workspace, queries) = (Workspace::new(), anchors.concat());
    for replaced in [false, true] {
        let mut bank = BankOptions::new().screens(&[Screen::I8]).build(rows.concat(), dim).unwrap();
        let mut coarse = Vec::new();
        for (turn, anchor) in anchors.iter().enumerate() {
            let row: Vec<f32> = [&[largest], &anchor[1..]].concat();
            coarse.push(if replaced { 50 + turn } else { bank.len() });
            if replaced { bank.replace(50 + turn, &row).unwrap() } else { bank.push(&row).unwrap() }
        }
        let batch = Batch::against(&queries, &bank, Positives::Identity).unwrap();
        let forward = TripletLoss::new().screen(Screen::I8).forward(batch, &mut workspace).unwrap();
        let closest: Vec<usize> =
            forward.row_stats().iter().map(|row| row.closest_negative().unwrap().index()).collect();
        assert_eq!(closest, coarse, "replaced: {replaced}");
    }
}
