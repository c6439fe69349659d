//! Requests of a service: lists that all queries of a call share, and how they add up with all else that is left out.

use hardneg::{
    Bank, Batch, Error, Exclusions, Gradients, KnownPositives, Miner, MiningBatch, Negatives, Neighbour, Positives,
    Side, TripletLoss, Workspace, reference,
};

use crate::common::{ALL_DATA, Data, Random, assert_lists, miners};

/// Compressed lists, each of `rows` rows having the same.
fn repeated(list: &[usize], rows: usize) -> (Vec<usize>, Vec<usize>) {
    ((0..=rows).map(|row| row * list.len()).collect(), list.repeat(rows))
}

#[test]
fn a_shared_list_is_that_of_every_query() {
    let (queries, rows, dim) = (7, 230, 24);
    let mut workspace = Workspace::new();
    for (turn, data) in ALL_DATA.into_iter().enumerate() {
        let input = data.batch(turn as u64, queries, rows, dim);
        let bank = Bank::new(&input.candidates[..], dim).unwrap();
        let mut random = Random(turn as u64);
        for length in [0, 1, 5, 200] {
            let excluded: Vec<usize> = (0..length).map(|_| random.below(rows)).collect();
            let known: Vec<usize> = (0..length % 4).map(|_| random.below(rows)).collect();
            let narrow = |list: &[usize]| list.iter().map(|&index| index as u32).collect::<Vec<_>>();
            let (excluded32, known32) = (narrow(&excluded), narrow(&known));
            let (offsets, indices) = repeated(&excluded, queries);
            let (known_offsets, known_indices) = repeated(&known, queries);
            let raw = MiningBatch::new(&input.anchors, &input.candidates, dim).unwrap();
            let by_rows = raw
                .excluding(Exclusions::Lists { offsets: &offsets, indices: &indices })
                .unwrap()
                .known_positives(KnownPositives::Lists { offsets: &known_offsets, indices: &known_indices })
                .unwrap();
            let miner = Miner::new().k(6).negatives(Negatives::Below);
            let expected = reference::mine(&miner, by_rows).unwrap();
            let against = MiningBatch::against(&input.anchors, &bank).unwrap();
            for batch in [raw, against] {
                for (exclusions, known) in [
                    (Exclusions::Shared(&excluded), KnownPositives::SharedU32(&known32)),
                    (Exclusions::SharedU32(&excluded32), KnownPositives::Shared(&known)),
                ] {
                    let batch = batch.excluding(exclusions).unwrap().known_positives(known).unwrap();
                    assert_eq!(reference::mine(&miner, batch).unwrap(), expected);
                    for (way, miner) in miners(miner) {
                        let mined = miner.mine(batch, &mut workspace).unwrap();
                        assert_lists(&expected, &mined, &format!("{data:?}, {length} indices, {way}"));
                    }
                }
            }
        }
    }
}

fn indices(list: &[Neighbour]) -> Vec<usize> {
    list.iter().map(|neighbour| neighbour.index).collect()
}

/// What is left out by a list, by a function and as known positives adds up; each replaces what it was before.
#[test]
fn what_is_left_out_adds_up_and_what_replaces_what() {
    let rows = Random(5).rows(8, 16);
    let (miner, mut workspace) = (Miner::new().k(8), Workspace::new());
    let batch = MiningBatch::new(&rows[..16], &rows, 16).unwrap();
    let mut left = |batch: MiningBatch<'_>| {
        let mut found = indices(miner.mine(batch, &mut workspace).unwrap().row(0));
        found.sort_unstable();
        found
    };
    let (is_even, is_odd) =
        (|_: usize, row: usize| row.is_multiple_of(2), |_: usize, row: usize| !row.is_multiple_of(2));
    let (one, two) = (Exclusions::Shared(&[1]), Exclusions::SharedU32(&[2]));
    let by_one = batch.excluding(one).unwrap();
    assert_eq!(left(by_one), [0, 2, 3, 4, 5, 6, 7]);
    assert_eq!(left(by_one.excluding(two).unwrap()), [0, 1, 3, 4, 5, 6, 7]);
    assert_eq!(left(by_one.exclude_where(&is_even)), [3, 5, 7]);
    assert_eq!(left(by_one.exclude_where(&is_even).exclude_where(&is_odd)), [0, 2, 4, 6]);
    let known = by_one.exclude_where(&is_even).known_positives(KnownPositives::Shared(&[3])).unwrap();
    assert_eq!(left(known), [5, 7]);
    assert_eq!(left(known.known_positives(KnownPositives::SharedU32(&[5])).unwrap()), [3, 7]);
    let labels = [0, 0, 0, 1, 1, 1, 1, 1];
    let by_labels = known.excluding(Exclusions::Labels { anchors: &[0], candidates: &labels }).unwrap();
    assert_eq!(left(by_labels), [5, 7]);
    assert_eq!(left(by_labels.known_positives(KnownPositives::None).unwrap()), [3, 5, 7]);
}

#[test]
fn indices_of_shared_lists_are_checked() {
    let rows = Random(6).rows(4, 8);
    let (mining, batch) =
        (MiningBatch::new(&rows, &rows, 8).unwrap(), Batch::new(&rows, &rows, 8, Positives::Identity).unwrap());
    let excluded = Error::ExcludedOutOfRange { row: 0, index: 4, candidates: 4 };
    for exclusions in [Exclusions::Shared(&[3, 4]), Exclusions::SharedU32(&[3, 4])] {
        assert_eq!(mining.excluding(exclusions).unwrap_err(), excluded);
        assert_eq!(batch.excluding(exclusions).unwrap_err(), excluded);
    }
    let positive = Error::PositiveOutOfRange { row: 0, index: 9, candidates: 4 };
    for known in [KnownPositives::Shared(&[0, 9]), KnownPositives::SharedU32(&[9])] {
        assert_eq!(mining.known_positives(known).unwrap_err(), positive);
    }
    let huge = Exclusions::SharedU32(&[u32::MAX]);
    let excluded = Error::ExcludedOutOfRange { row: 0, index: u32::MAX.into(), candidates: 4 };
    assert_eq!(mining.excluding(huge).unwrap_err(), excluded);
    assert_eq!(format!("{:?} {:?}", Exclusions::Shared(&[1, 2]), huge), "Shared(2 of usize) SharedU32(1 of u32)");
}

/// The loss takes such a list, too, and counts anchors that it leaves without negatives.
#[test]
fn a_loss_with_a_shared_list() {
    let input = Data::CommonMean.batch(3, 20, 30, 12);
    let all: Vec<usize> = (0..30).collect();
    let mut workspace = Workspace::new();
    let batch = input.batch().excluding(Exclusions::Shared(&all)).unwrap();
    let forward = TripletLoss::new().forward(batch, &mut workspace).unwrap();
    assert_eq!(forward.loss().without_negatives, 20);
}

#[test]
fn lists_are_indexed_and_iterated() {
    let rows = Random(8).rows(30, 9);
    let mut workspace = Workspace::new();
    let batch = MiningBatch::new(&rows[..9 * 12], &rows, 9).unwrap();
    let mined = Miner::new().k(5).skip(2).mine(batch, &mut workspace).unwrap();
    let mut query = 0;
    for list in &mined {
        assert_eq!((list, list.len()), (&mined[query], 5));
        assert_eq!(list, mined.row(query));
        query += 1;
    }
    assert_eq!((query, mined.rows().len()), (12, 12));
    assert!(mined.rows().rev().eq((0..12).rev().map(|query| mined.row(query))));
    // The lists outlive the value that they are taken of.
    let first = { mined }.rows().next().unwrap();
    assert_eq!(first.len(), 5);
}

#[test]
#[should_panic]
fn a_query_that_is_not_there() {
    let mut workspace = Workspace::new();
    let mined = Miner::new().mine(MiningBatch::new(&[1.0, 2.0], &[1.0, 0.5], 2).unwrap(), &mut workspace).unwrap();
    let _ = &mined[1];
}

/// The bytes of a workspace, and what `Debug` counts, also after calls that leave nothing but lists behind.
#[test]
fn a_workspace_knows_its_size() {
    let (rows, dim) = (700, 32);
    let input = Data::Random.batch(1, 40, rows, dim);
    let bank = Bank::new(&input.candidates[..], dim).unwrap();
    let mut workspace = Workspace::new();
    assert_eq!(workspace.bytes(), 0);
    let mined = Miner::new().mine(MiningBatch::against(&input.anchors, &bank).unwrap(), &mut workspace).unwrap();
    assert_eq!(mined.queries(), 40);
    let of_lists = workspace.bytes();
    assert!(of_lists > 40 * 10 * size_of::<Neighbour>());
    let text = format!("{workspace:?}");
    assert_eq!(text, format!("Workspace {{ anchors: 0, queries: 40, candidates: 0, bytes: {of_lists}, .. }}"));
    let (mut anchors, mut candidates) = (vec![0.0; input.anchors.len()], vec![0.0; input.candidates.len()]);
    let gradients = Gradients::new(&mut anchors, &mut candidates);
    let forward = TripletLoss::new().forward_backward(input.batch(), gradients, &mut workspace).unwrap();
    assert_eq!(forward.loss().rows, 40);
    assert!(workspace.bytes() > of_lists + rows * dim, "the candidates were packed");
    let text = format!("{workspace:?}");
    assert!(text.starts_with("Workspace { anchors: 40, queries: 40, candidates: 700, "), "{text}");
}

#[test]
fn warming_is_refused_as_calls_are() {
    let bank = Bank::new(vec![1.0, 2.0], 2).unwrap();
    let empty = Bank::new(Vec::new(), 2).unwrap();
    let mut workspace = Workspace::new();
    let miner = Miner::new();
    assert_eq!(workspace.warm(&miner, 0, &bank), Err(Error::Empty { side: Side::Queries }));
    assert_eq!(workspace.warm(&miner, 1, &empty), Err(Error::Empty { side: Side::Candidates }));
    assert_eq!(workspace.warm(&miner.k(0), 1, &bank), Err(Error::ZeroK));
    assert!(workspace.warm(&miner, usize::MAX, &bank).is_err());
    let error = workspace.warm(&miner.max_similarity(f64::NAN), 1, &bank).unwrap_err();
    assert_eq!(error.to_string(), "max_similarity is NaN");
    let (loss, pair) = (TripletLoss::new().margin(f32::INFINITY), [1.0, 2.0, 3.0, 4.0]);
    let error = workspace.warm_loss(&loss, Batch::paired(&pair, &pair, 2).unwrap()).unwrap_err();
    assert_eq!(error, loss.forward(Batch::paired(&pair, &pair, 2).unwrap(), &mut Workspace::new()).unwrap_err());
    assert_eq!(workspace.bytes(), 0);
}

/// Errors name what the caller of a search or a change has in hand.
#[test]
fn errors_speak_of_queries_offsets_and_new_rows() {
    let rows = Random(7).rows(4, 8);
    let mut workspace = Workspace::new();
    let mut bank = Bank::new(&rows[..], 8).unwrap();
    let (mut nan, refused) = (rows.clone(), |error: Error| error.to_string());
    nan[2 * 8 + 5] = f32::NAN;
    let mined = Miner::new().mine(MiningBatch::against(&nan, &bank).unwrap(), &mut workspace);
    assert_eq!(refused(mined.unwrap_err()), "queries: row 2 holds a NaN or an infinity");
    assert_eq!(refused(MiningBatch::against(&[], &bank).unwrap_err()), "queries: no rows");
    let partial = MiningBatch::against(&rows[..9], &bank).unwrap_err();
    assert_eq!(refused(partial), "queries: expected a multiple of dim 8, got 9 elements");
    let lists = Exclusions::Lists { offsets: &[0, 0], indices: &[] };
    let short = MiningBatch::against(&rows, &bank).unwrap().excluding(lists).unwrap_err();
    assert_eq!(refused(short), "offsets of lists: expected 5 elements, got 2");
    assert_eq!(refused(bank.push(&nan).unwrap_err()), "new rows: row 2 holds a NaN or an infinity");
    assert_eq!(refused(bank.push(&rows[..3]).unwrap_err()), "new rows: expected a multiple of dim 8, got 3 elements");
    assert_eq!(refused(bank.replace(1, &rows[..9]).unwrap_err()), "new rows: expected 8 elements, got 9");
    assert_eq!(refused(bank.replace(9, &rows[..8]).unwrap_err()), "row 9 of a bank of 4 rows");
}

/// Names that users guess lead to what there is, by the search of the docs.
#[test]
fn guessed_names_are_aliases() {
    let (bank, changes) = (include_str!("../../src/bank/mod.rs"), include_str!("../../src/bank/changes.rs"));
    let options = include_str!("../../src/bank/options.rs");
    let (batch, mining) = (include_str!("../../src/batch.rs"), include_str!("../../src/mining_batch.rs"));
    let (miner, workspace) = (include_str!("../../src/miner.rs"), include_str!("../../src/workspace.rs"));
    let aliases = [
        (bank, &["search", "nearest", "knn", "top_k", "topk", "clone", "snapshot"][..]),
        (changes, &["add", "append", "extend", "insert", "remove", "delete", "update", "with_capacity"]),
        (options, &["with_capacity"]),
        (batch, &["anchors"]),
        (mining, &["search", "nearest", "knn", "top_k", "topk"]),
        (miner, &["search", "nearest", "knn", "top_k", "topk"]),
        (workspace, &["with_capacity"]),
    ];
    for (source, names) in aliases {
        for name in names {
            assert!(source.contains(&format!("#[doc(alias = \"{name}\")]")), "{name}");
        }
    }
}
