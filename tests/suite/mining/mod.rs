//! Mining: the lists of the reference, bit for bit, for every option, exclusion, way to run and split.

mod parts;

use std::sync::atomic::{AtomicUsize, Ordering};

use hardneg::{
    Backend, Bank, BankOptions, Error, Exclusions, KnownPositives, Miner, MiningBatch, Negatives, Neighbour, Positives,
    Predicate, Screen, Side, Threads, Workspace, reference,
};
use proptest::prelude::*;

use crate::common::{ALL_DATA, ALL_NEGATIVES, Data, Random, assert_lists, miners};

/// Queries, candidates and known positives.
#[derive(Clone, Debug)]
struct Input {
    queries: Vec<f32>,
    candidates: Vec<f32>,
    dim: usize,
    offsets: Vec<usize>,
    indices: Vec<usize>,
}

impl Input {
    /// Rows of a kind, with 0 to 3 known positives for each query.
    fn new(data: Data, seed: u64, queries: usize, candidates: usize, dim: usize) -> Input {
        let mut random = Random(seed);
        let batch = data.batch(seed, queries, candidates, dim);
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for _ in 0..queries {
            indices.extend((0..random.below(4)).map(|_| random.below(candidates)));
            offsets.push(indices.len());
        }
        Input { queries: batch.anchors, candidates: batch.candidates, dim, offsets, indices }
    }

    fn rows(&self) -> usize {
        self.queries.len() / self.dim
    }

    fn columns(&self) -> usize {
        self.candidates.len() / self.dim
    }

    fn known(&self) -> KnownPositives<'_> {
        KnownPositives::Lists { offsets: &self.offsets, indices: &self.indices }
    }

    fn batch(&self) -> MiningBatch<'_> {
        let batch = MiningBatch::new(&self.queries, &self.candidates, self.dim).unwrap();
        batch.known_positives(self.known()).unwrap()
    }

    /// Thresholds that fall exactly on a similarity, or between two: one miner for each.
    fn thresholds(&self, miner: Miner) -> Vec<Miner> {
        let matrix = reference::similarity_matrix(&self.queries, &self.candidates, self.dim);
        let middle = f64::from(matrix[matrix.len() / 2]);
        let positive = self.indices.first().map_or(0.5, |&index| f64::from(matrix[index]));
        let rules = ALL_NEGATIVES.map(|negatives| miner.negatives(negatives));
        let mut miners = rules.to_vec();
        miners.extend([
            miner.absolute_margin(0.05),
            miner.absolute_margin(positive - middle),
            miner.absolute_margin(-0.1).negatives(Negatives::AtOrBelow),
            miner.relative_margin(0.05),
            miner.relative_margin(0.0),
            miner.max_similarity(middle),
            miner.max_similarity(middle.next_down()),
            miner.min_similarity(middle),
            miner.min_similarity(middle.next_up()),
            miner.min_similarity(-0.2).max_similarity(0.3).relative_margin(0.1),
            miner.min_similarity(0.9).max_similarity(-0.9),
            miner.skip(3),
            miner.skip(1000),
            miner.max_similarity(middle).skip(1).negatives(Negatives::Below),
        ]);
        miners
    }
}

/// Compares every way to run with the reference, raw and against a bank.
fn check(miner: Miner, batch: MiningBatch<'_>, workspace: &mut Workspace, what: &str) -> Vec<Vec<Neighbour>> {
    let expected = reference::mine(&miner, batch).unwrap();
    for (way, miner) in miners(miner) {
        assert_lists(&expected, &miner.mine(batch, workspace).unwrap(), &format!("{what}, {way}, {miner:?}"));
    }
    expected
}

#[test]
fn every_kind_of_rows_and_every_k() {
    let mut workspace = Workspace::new();
    for (turn, data) in ALL_DATA.into_iter().enumerate() {
        for (rows, columns, dim) in [(1, 1, 1), (5, 3, 7), (40, 50, 33), (60, 333, 40), (3, 500, 16), (110, 300, 65)] {
            let input = Input::new(data, turn as u64, rows, columns, dim);
            for k in [1, 2, 10, 100, 1000] {
                let miner = Miner::new().k(k).negatives(ALL_NEGATIVES[(turn + k) % 3]);
                check(miner, input.batch(), &mut workspace, &format!("{data:?} {rows} x {columns} x {dim}"));
            }
        }
    }
}

#[test]
fn every_threshold_also_exactly_on_a_similarity() {
    let mut workspace = Workspace::new();
    for (turn, data) in ALL_DATA.into_iter().enumerate() {
        let input = Input::new(data, 7 + turn as u64, 35, 140, 24);
        for k in [1, 7] {
            for miner in input.thresholds(Miner::new().k(k)) {
                check(miner, input.batch(), &mut workspace, &format!("{data:?}"));
            }
        }
    }
}

#[test]
fn banks_give_the_lists_of_raw_rows() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        let input = Input::new(data, 3, 40, 260, 48);
        for screens in [&[][..], &[Screen::I8], &[Screen::I16, Screen::F32], &[Screen::I8, Screen::I16, Screen::F32]] {
            for backend in Backend::available() {
                let options = BankOptions::new().screens(screens).backend(backend);
                let bank = options.build(&input.candidates[..], input.dim).unwrap();
                let batch = MiningBatch::against(&input.queries, &bank).unwrap();
                let batch = batch.known_positives(input.known()).unwrap();
                for screen in Screen::all() {
                    for k in [1, 20] {
                        let miner = Miner::new().k(k).negatives(Negatives::Below).screen(screen);
                        let expected = reference::mine(&miner, input.batch()).unwrap();
                        let actual = miner.mine(batch, &mut workspace).unwrap();
                        assert_lists(&expected, &actual, &format!("{data:?}, {backend}, {screens:?}, {screen}, k {k}"));
                    }
                }
            }
        }
    }
}

#[test]
fn a_predicate_excludes() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        let input = Input::new(data, 5, 50, 230, 33);
        let by_class = |query: usize, candidate: usize| query % 5 == candidate % 5;
        let nearly_all = |query: usize, candidate: usize| candidate % 97 != query % 97;
        let all = |_: usize, _: usize| true;
        let predicates: [Predicate<'_>; 3] = [&by_class, &nearly_all, &all];
        for (turn, predicate) in predicates.into_iter().enumerate() {
            for k in [1, 10] {
                let batch = input.batch().exclude_where(predicate);
                check(Miner::new().k(k), batch, &mut workspace, &format!("{data:?}, predicate {turn}"));
            }
        }
        let mined = Miner::new().mine(input.batch().exclude_where(&all), &mut workspace).unwrap();
        assert_eq!((mined.found(), mined.short_queries()), (0, 50));
    }
}

/// Labels that are all equal, all different, or a few large groups; and lists of any length, with repetition.
#[test]
fn labels_and_lists_exclude() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        let input = Input::new(data, 29, 45, 230, 28);
        let mut random = Random(31);
        for groups in [1, 3, 40, 100_000] {
            let mut labels = |count: usize| (0..count).map(|_| random.below(groups) as u64).collect::<Vec<_>>();
            let (anchors, candidates) = (labels(45), labels(230));
            let exclusions = Exclusions::Labels { anchors: &anchors, candidates: &candidates };
            for k in [1, 9] {
                let batch = input.batch().excluding(exclusions).unwrap();
                check(Miner::new().k(k), batch, &mut workspace, &format!("{data:?}, {groups} labels"));
            }
        }
        for longest in [3, 60, 500] {
            let (mut offsets, mut indices) = (vec![0], Vec::new());
            for row in 0..45 {
                let length = if row % 7 == 3 { 0 } else { random.below(longest) };
                indices.extend((0..length).map(|_| random.below(230)));
                offsets.push(indices.len());
            }
            let exclusions = Exclusions::Lists { offsets: &offsets, indices: &indices };
            let every_third = |query: usize, candidate: usize| (query + candidate).is_multiple_of(3);
            let bank = Bank::new(&input.candidates[..], input.dim).unwrap();
            for k in [1, 9] {
                let miner = Miner::new().k(k).negatives(Negatives::Below);
                let batch = input.batch().excluding(exclusions).unwrap().exclude_where(&every_third);
                let expected = check(miner, batch, &mut workspace, &format!("{data:?}, lists below {longest}"));
                let batch = MiningBatch::against(&input.queries, &bank).unwrap().excluding(exclusions).unwrap();
                let batch = batch.known_positives(input.known()).unwrap().exclude_where(&every_third);
                assert_lists(&expected, &miner.mine(batch, &mut workspace).unwrap(), "bank");
            }
        }
    }
}

/// The predicate is for what costs more than a comparison of labels.
#[test]
fn the_predicate_is_asked_about_few_pairs() {
    let input = Input::new(Data::Random, 6, 200, 3000, 64);
    let asked = AtomicUsize::new(0);
    let count = |_: usize, _: usize| {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    };
    for k in [1, 10] {
        asked.store(0, Ordering::Relaxed);
        let batch = input.batch().exclude_where(&count);
        let _ = Miner::new().k(k).screen(Screen::F32).mine(batch, &mut Workspace::new()).unwrap();
        let a_query = asked.load(Ordering::Relaxed) / 200;
        assert!(a_query < 150 + 20 * k, "{a_query} pairs a query of 3000, k {k}");
    }
}

#[test]
fn ties_at_the_last_place_go_to_the_lowest_index() {
    // Three different rows, each 50 times.
    let rows = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]];
    let candidates: Vec<f32> = (0..150).flat_map(|index| rows[index % 3]).collect();
    let mut workspace = Workspace::new();
    for k in [1, 3, 50, 51, 60, 100, 149] {
        let batch = MiningBatch::new(&rows[0], &candidates, 2).unwrap();
        let expected = check(Miner::new().k(k), batch, &mut workspace, "ties");
        let indices: Vec<usize> =
            (0..50).map(|at| 3 * at).chain((0..50).map(|at| 3 * at + 1)).take(k.min(100)).collect();
        assert_eq!(expected[0].iter().map(|pair| pair.index).take(100).collect::<Vec<_>>(), indices, "k {k}");
    }
}

#[test]
fn one_closest_is_that_of_the_loss() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        let batch = data.batch(9, 70, 300, 40);
        for negatives in ALL_NEGATIVES {
            let rows = reference::row_stats(batch.batch(), negatives).unwrap();
            let known = KnownPositives::One(Positives::Identity);
            let queries = MiningBatch::new(&batch.anchors, &batch.candidates, batch.dim).unwrap();
            let queries = queries.known_positives(known).unwrap();
            for (way, miner) in miners(Miner::new().k(1).negatives(negatives)) {
                let mined = miner.mine(queries, &mut workspace).unwrap();
                for (query, stats) in rows.iter().enumerate() {
                    let closest =
                        stats.closest_negative().map(|closest| (closest.index(), closest.similarity().to_bits()));
                    let first = mined.row(query).first().map(|first| (first.index, first.similarity.to_bits()));
                    assert_eq!(closest, first, "{data:?}, {negatives}, {way}, query {query}");
                    assert_eq!(mined.positive_similarity(query), Some(stats.positive()), "{data:?}, query {query}");
                }
            }
        }
    }
}

#[test]
fn pools_of_every_size_give_the_same_lists() {
    let input = Input::new(Data::NearTies, 17, 300, 600, 48);
    let miner = Miner::new().k(12).negatives(Negatives::AtOrBelow).threads(Threads::Rayon);
    let expected = reference::mine(&miner, input.batch()).unwrap();
    let mut workspace = Workspace::new();
    for threads in 1..=5 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mined = pool.install(|| miner.mine(input.batch(), &mut workspace)).unwrap();
        assert_lists(&expected, &mined, &format!("{threads} threads"));
    }
}

#[test]
fn floors_are_thresholds_of_each_query() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        let input = Input::new(data, 23, 40, 160, 30);
        let matrix = reference::similarity_matrix(&input.queries, &input.candidates, input.dim);
        let floors: Vec<f32> = matrix.chunks(input.columns()).enumerate().map(|(row, row_of)| row_of[row]).collect();
        let open: Vec<f32> = floors.iter().map(|_| f32::NEG_INFINITY).collect();
        for k in [1, 8] {
            let miner = Miner::new().k(k);
            check(miner, input.batch().floors(&floors).unwrap(), &mut workspace, &format!("{data:?}, floors"));
            let expected = reference::mine(&miner, input.batch()).unwrap();
            assert_eq!(expected, reference::mine(&miner, input.batch().floors(&open).unwrap()).unwrap());
            let full: Vec<f32> =
                expected.iter().map(|list| list.get(k - 1).map_or(-1.0, |last| last.similarity)).collect();
            assert_eq!(expected, reference::mine(&miner, input.batch().floors(&full).unwrap()).unwrap());
        }
    }
}

#[test]
fn bad_input_is_refused() {
    let (rows, mut workspace) = ([1.0, 0.0, 0.0, 1.0, 0.5, 0.5], Workspace::new());
    assert_eq!(MiningBatch::new(&rows, &rows, 0).unwrap_err(), Error::ZeroDim);
    assert_eq!(MiningBatch::new(&[], &rows, 2).unwrap_err(), Error::Empty { side: Side::Queries });
    assert_eq!(MiningBatch::new(&rows, &[], 2).unwrap_err(), Error::Empty { side: Side::Candidates });
    let partial = Error::PartialRow { side: Side::Candidates, dim: 2, actual: 5 };
    assert_eq!(MiningBatch::new(&rows, &rows[..5], 2).unwrap_err(), partial);
    let batch = MiningBatch::new(&rows, &rows, 2).unwrap();

    let side = Side::KnownPositives;
    let lists = |offsets: &[usize], indices: &[usize]| {
        batch.known_positives(KnownPositives::Lists { offsets, indices }).map(|_| ()).unwrap_err()
    };
    assert_eq!(lists(&[], &[]), Error::Length { side: Side::Offsets, expected: 4, actual: 0 });
    assert_eq!(lists(&[0, 0, 0], &[]), Error::Length { side: Side::Offsets, expected: 4, actual: 3 });
    assert_eq!(lists(&[0, 0, 0, 0, 0], &[]), Error::Length { side: Side::Offsets, expected: 4, actual: 5 });
    assert_eq!(lists(&[1, 1, 1, 1], &[0]), Error::Offsets { side, row: 0 });
    assert_eq!(lists(&[0, 2, 1, 2], &[0, 1]), Error::Offsets { side, row: 1 });
    assert_eq!(lists(&[0, 1, 2, 3], &[0, 1]), Error::Offsets { side, row: 2 });
    assert_eq!(lists(&[0, usize::MAX, 2, 2], &[0, 1]), Error::Offsets { side, row: 0 });
    assert_eq!(lists(&[0, 1, 1, 1], &[0, 1]), Error::Offsets { side, row: 2 });
    let beyond = Error::PositiveOutOfRange { row: 1, index: 3, candidates: 3 };
    assert_eq!(lists(&[0, 1, 2, 2], &[0, 3]), beyond);
    let beyond = Error::PositiveOutOfRange { row: 2, index: 3, candidates: 3 };
    assert_eq!(batch.known_positives(KnownPositives::One(Positives::Indices(&[0, 2, 3]))).unwrap_err(), beyond);

    let labels = Exclusions::Labels { anchors: &[1, 2], candidates: &[1, 2, 3] };
    let length = Error::Length { side: Side::AnchorLabels, expected: 3, actual: 2 };
    assert_eq!(batch.excluding(labels).unwrap_err(), length);
    let lists = Exclusions::Lists { offsets: &[0, 1, 1, 1], indices: &[3] };
    assert_eq!(batch.excluding(lists).unwrap_err(), Error::ExcludedOutOfRange { row: 0, index: 3, candidates: 3 });

    let length = Error::Length { side: Side::Similarities, expected: 3, actual: 1 };
    assert_eq!(batch.positive_similarities(&[None]).unwrap_err(), length);
    assert!(batch.positive_similarities(&[None, Some(f32::NAN), None]).is_err());
    assert_eq!(batch.floors(&[0.0]).unwrap_err(), length);
    assert!(batch.floors(&[0.0, f32::NAN, 0.0]).is_err());

    assert_eq!(Miner::new().k(0).mine(batch, &mut workspace).unwrap_err(), Error::ZeroK);
    for threshold in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let miner = Miner::new();
        for (name, miner) in [
            ("absolute_margin", miner.absolute_margin(threshold)),
            ("relative_margin", miner.relative_margin(threshold)),
            ("max_similarity", miner.max_similarity(threshold)),
            ("min_similarity", miner.min_similarity(threshold)),
        ] {
            let error = miner.mine(batch, &mut workspace).unwrap_err();
            assert!(matches!(error, Error::ThresholdNotFinite { option, .. } if option == name), "{miner:?}: {error}");
            assert_eq!(error.to_string(), format!("{name} is {threshold}"));
        }
    }
    // More than there are is no error.
    let mined = Miner::new().k(usize::MAX).skip(1).mine(batch, &mut workspace).unwrap();
    assert_eq!((mined.found(), mined.short_queries()), (6, 3));
    let mined = Miner::new().k(usize::MAX).mine(batch, &mut workspace).unwrap();
    assert_eq!((mined.found(), mined.short_queries()), (9, 3));

    for (size, dim) in [(3, 2), (300, 40)] {
        for bad in [f32::NAN, f32::INFINITY] {
            let good = Random(1).rows(size, dim);
            let mut rows = good.clone();
            rows[2 * dim + 1] = bad;
            for (queries, candidates, side) in
                [(&rows, &good, Side::Queries), (&good, &rows, Side::Candidates), (&rows, &rows, Side::Queries)]
            {
                for (way, miner) in miners(Miner::new().k(2).negatives(Negatives::Below)) {
                    let batch = MiningBatch::new(queries, candidates, dim).unwrap();
                    let batch = batch.known_positives(KnownPositives::One(Positives::Identity)).unwrap();
                    let error = miner.mine(batch, &mut workspace).unwrap_err();
                    assert_eq!(error, Error::NotFinite { side, row: 2 }, "{way}");
                    assert_eq!(reference::mine(&miner, batch).unwrap_err(), error);
                }
            }
        }
    }
}

#[test]
fn extreme_thresholds_keep_all_or_nothing() {
    let input = Input::new(Data::Random, 19, 20, 90, 8);
    let mut workspace = Workspace::new();
    for threshold in [f64::MAX, f64::MIN, 1e10, -1e10, 2.0, -2.0, 1e-320, -0.0] {
        let miner = Miner::new().k(4);
        for miner in [
            miner.absolute_margin(threshold),
            miner.relative_margin(threshold),
            miner.max_similarity(threshold),
            miner.min_similarity(threshold),
        ] {
            check(miner, input.batch(), &mut workspace, "extreme thresholds");
        }
    }
}

fn input() -> impl Strategy<Value = (Input, Miner)> {
    let shape = (1..=60_usize, 1..=120_usize, 1..=70_usize);
    let data = proptest::sample::select(ALL_DATA.to_vec());
    let k = prop_oneof![Just(1_usize), 1..=20_usize, 1..=150_usize];
    (shape, data, any::<u64>(), k, 0..4_usize, 0..17_usize).prop_map(
        |((rows, columns, dim), data, seed, k, skip, which)| {
            let input = Input::new(data, seed, rows, columns, dim);
            let miner = input.thresholds(Miner::new().k(k).skip(skip))[which];
            (input, miner)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mining_is_the_reference((input, miner) in input()) {
        check(miner, input.batch(), &mut Workspace::new(), "any input");
    }

    #[test]
    fn merged_parts_are_the_whole((input, miner) in input(), sizes in proptest::collection::vec(1..60_usize, 1..4)) {
        let expected = reference::mine(&miner, input.batch()).unwrap();
        prop_assert_eq!(expected, parts::mine_in_parts(miner, &input, &sizes, &mut Workspace::new()));
    }
}
