//! Candidates that are no negatives of some anchors: against the reference bit for bit, against other programs, and
//! what the calls promise besides.

mod gradients;

use std::path::PathBuf;

use hardneg::{
    Batch, Error, Exclusions, Negatives, Positives, Reduction, Screen, Side, SimilarityMatrix, TripletLoss, Workspace,
    reference,
};

use proptest::prelude::*;

use crate::common::{
    ALL_DATA, ALL_KINDS, ALL_NEGATIVES, Data, Excluding, Kind, OwnedBatch, Pairing, Random, assert_forward,
    assert_loss, assert_rows, bits, check_forward, ways, ways_of_one_screen,
};
use crate::npz::Npz;

/// A batch with exclusions, whose positives are candidates at random or, in some, rows of their own.
fn input(data: Data, kind: Kind, seed: u64, rows: usize, candidates: usize, dim: usize) -> OwnedBatch {
    let mut random = Random(seed ^ 99);
    let mut batch = data.batch(seed, 2 * rows, candidates, dim);
    let outside = batch.anchors.split_off(rows * dim);
    let inside = Pairing::random(&mut random, rows, candidates);
    let pairing = if seed % 4 == 3 { Pairing::Outside(outside) } else { inside };
    let excluding = kind.of(&mut random, rows, candidates, &pairing);
    batch.with(pairing).excluding(excluding)
}

const SHAPES: [(usize, usize, usize); 8] =
    [(1, 2, 1), (2, 50, 5), (33, 31, 15), (10, 200, 40), (60, 60, 33), (97, 193, 64), (192, 240, 65), (385, 40, 17)];

#[test]
fn every_way_to_run_gives_the_bits_of_the_reference() {
    let mut workspace = Workspace::new();
    for (rows, candidates, dim) in SHAPES {
        for (turn, kind) in ALL_KINDS.into_iter().enumerate() {
            let seed = (turn + rows) as u64;
            let data = ALL_DATA[(turn + dim) % ALL_DATA.len()];
            let input = input(data, kind, seed, rows, candidates, dim);
            let what = format!("{kind:?}, {data:?} {rows} x {candidates} x {dim}");
            check_forward(input.batch(), ALL_NEGATIVES[(turn + rows) % 3], &mut workspace, &what);
        }
    }
}

/// Every kind of rows with every kind of exclusions.
#[test]
fn every_kind_of_data_with_every_rule() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        for kind in ALL_KINDS {
            for (turn, negatives) in ALL_NEGATIVES.into_iter().enumerate() {
                let (rows, dim) = [(2, 1), (21, 33), (50, 16)][turn];
                let input = input(data, kind, turn as u64, rows, rows + 3, dim);
                check_forward(input.batch(), negatives, &mut workspace, &format!("{kind:?}, {data:?} {rows} x {dim}"));
            }
        }
    }
}

/// The excluded candidates are the most similar ones, so that none of them may raise a bound.
#[test]
fn the_most_similar_candidates_are_excluded() {
    let mut workspace = Workspace::new();
    for (turn, dim) in [40, 130, 384].into_iter().enumerate() {
        let (rows, copies) = (64, 4);
        let mut random = Random(turn as u64);
        let originals = random.rows(rows, dim);
        // Candidate `j` is a copy of anchor `j % rows`, but for a little noise.
        let candidates: Vec<f32> =
            (0..copies).flat_map(|_| originals.clone()).map(|x| x + 0.2 * random.unit()).collect();
        let labels: Vec<u64> = (0..rows * copies).map(|row| (row % rows) as u64).collect();
        let of_anchors = labels[..rows].to_vec();
        let lists: Vec<Vec<usize>> =
            (0..rows).map(|row| (0..copies).rev().map(|copy| copy * rows + row).collect()).collect();
        let batch = OwnedBatch::new(originals, candidates, dim, Pairing::Offset(rows));
        let by_labels = batch.clone().excluding(Excluding::Labels { anchors: of_anchors, candidates: labels });
        let by_lists = batch.excluding(Excluding::lists(&lists));
        for negatives in ALL_NEGATIVES {
            for input in [&by_labels, &by_lists] {
                check_forward(input.batch(), negatives, &mut workspace, &format!("dim {dim}"));
            }
            let plan = TripletLoss::new().negatives(negatives);
            let labels = plan.forward(by_labels.batch(), &mut workspace).unwrap().row_stats().to_vec();
            let lists = plan.forward(by_lists.batch(), &mut workspace).unwrap();
            for (row, (labels, lists)) in labels.iter().zip(lists.row_stats()).enumerate() {
                assert_eq!(labels.closest_negative(), lists.closest_negative());
                assert_ne!(labels.closest_negative().unwrap().index() % rows, row);
            }
        }
    }
}

/// Groups of more rows than a block of a sum, and so many rows that the work is divided.
#[test]
fn large_groups_and_many_threads() {
    let mut workspace = Workspace::new();
    for (turn, kind) in
        [Kind::EqualLabels, Kind::LargeGroups, Kind::ZipfLabels, Kind::ShortLists].into_iter().enumerate()
    {
        for (rows, candidates, dim) in [(401, 1001, 24), (1, 3000, 901), (700, 700, 9)] {
            let input = input(Data::CommonMean, kind, turn as u64, rows, candidates, dim);
            let expected = reference::forward(input.batch(), 0.25, Negatives::Below, Reduction::Sum).unwrap();
            for (way, plan) in ways_of_one_screen(TripletLoss::new()) {
                let what = format!("{kind:?}, {rows} x {candidates} x {dim}, {way}");
                assert_forward(&expected, &plan.forward(input.batch(), &mut workspace).unwrap(), &what);
            }
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn any_number_of_threads() {
    let mut workspace = Workspace::new();
    for kind in ALL_KINDS {
        let input = input(Data::Random, kind, 2, 330, 800, 16);
        let expected = reference::forward(input.batch(), 0.25, Negatives::Below, Reduction::Sum).unwrap();
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let plan = TripletLoss::new().threads(hardneg::Threads::Rayon);
            let actual = pool.install(|| plan.forward(input.batch(), &mut workspace)).unwrap();
            assert_forward(&expected, &actual, &format!("{kind:?}, {threads} threads"));
        }
    }
}

/// Nothing to exclude, said in every way, gives the bits of a batch without exclusions.
#[test]
fn exclusions_of_nothing() {
    let mut workspace = Workspace::new();
    let plain = Data::CommonMean.batch(3, 60, 80, 24);
    let expected = reference::forward(plain.batch(), 0.25, Negatives::Below, Reduction::Sum).unwrap();
    let different = Excluding::Labels { anchors: (0..60).collect(), candidates: (100..180).collect() };
    let positives = Excluding::lists(&(0..60).map(|row| vec![row; row % 3]).collect::<Vec<_>>());
    let own = Excluding::Labels { anchors: (0..60).collect(), candidates: (0..80).collect() };
    for excluding in [Excluding::Nothing, different, positives] {
        let input = plain.clone().excluding(excluding);
        for (way, plan) in ways(TripletLoss::new()) {
            assert_forward(&expected, &plan.forward(input.batch(), &mut workspace).unwrap(), &way);
        }
    }
    // The positive is all that has the anchor's label: the same negatives, a mean from other sums.
    let input = plain.excluding(own);
    let forward = TripletLoss::new().forward(input.batch(), &mut workspace).unwrap();
    for (expected, actual) in expected.1.iter().zip(forward.row_stats()) {
        assert_eq!(expected.closest_negative(), actual.closest_negative());
        assert!((expected.mean_negative().unwrap() - actual.mean_negative().unwrap()).abs() < 1e-6);
    }
}

#[test]
fn rows_without_negatives_are_counted() {
    let mut workspace = Workspace::new();
    for (rows, candidates, dim) in [(8, 12, 4), (60, 130, 40)] {
        let lists: Vec<Vec<usize>> =
            (0..rows).map(|row| if row % 3 == 0 { (0..candidates).collect() } else { Vec::new() }).collect();
        let input = Data::Random.batch(1, rows, candidates, dim).excluding(Excluding::lists(&lists));
        for (way, plan) in ways(TripletLoss::new().margin(2.5).negatives(Negatives::Any)) {
            let forward = plan.forward(input.batch(), &mut workspace).unwrap();
            let loss = forward.loss();
            let without = rows.div_ceil(3);
            assert_eq!((loss.without_negatives, loss.without_closest_negative), (without, without), "{way}");
            assert_eq!((loss.active_mean, loss.active_closest), (rows - without, rows - without), "{way}");
            for (row, stats) in forward.row_stats().iter().enumerate() {
                assert_eq!(stats.mean_negative().is_none(), row % 3 == 0, "{way}");
                assert_eq!(stats.mean_term(2.5) + stats.closest_term(2.5) == 0.0, row % 3 == 0, "{way}");
            }
        }
    }
}

/// No anchor has a negative: no screen keeps a pair.
#[test]
fn one_label_for_all() {
    let mut workspace = Workspace::new();
    let input = Data::Random
        .batch(1, 200, 300, 64)
        .excluding(Excluding::Labels { anchors: vec![0; 200], candidates: vec![0; 300] });
    for screen in [Screen::Auto, Screen::F32, Screen::I16, Screen::I8] {
        let forward = TripletLoss::new().screen(screen).forward(input.batch(), &mut workspace).unwrap();
        assert_eq!((forward.loss().loss, forward.loss().without_negatives), (0.0, 200));
        assert_eq!(forward.screening().survivors, 0, "{screen}");
    }
}

#[test]
fn any_split_of_the_anchors() {
    let mut workspace = Workspace::new();
    for kind in ALL_KINDS {
        for (data, rows, candidates, dim) in [(Data::CommonMean, 61, 80, 24), (Data::Duplicates, 300, 301, 5)] {
            let whole = input(data, kind, 5, rows, candidates, dim);
            let Pairing::Indices(positives) = &whole.pairing else { unreachable!() };
            let plan = TripletLoss::new();
            let expected = plan.forward(whole.batch(), &mut workspace).unwrap().row_stats().to_vec();
            for step in [1, 17, 96, 299] {
                let (mut stats, mut turn) = (Vec::new(), 0);
                let ways: Vec<_> = ways(plan).map(|(_, plan)| plan).collect();
                for from in (0..rows).step_by(step) {
                    let to = rows.min(from + step);
                    let piece = OwnedBatch::new(
                        whole.anchors[from * dim..to * dim].to_vec(),
                        whole.candidates.clone(),
                        dim,
                        Pairing::Indices(positives[from..to].to_vec()),
                    );
                    let piece = piece.excluding(whole.excluding.of_rows(from, to));
                    turn += 7;
                    let forward = ways[turn % ways.len()].forward(piece.batch(), &mut workspace).unwrap();
                    stats.extend_from_slice(forward.row_stats());
                }
                assert_rows(&expected, &stats, &format!("{kind:?}, {step} anchors a call"));
            }
        }
    }
}

#[test]
fn labels_of_other_lengths() {
    let data = [1.0; 24];
    let batch = Batch::new(&data[..6], &data[..10], 2, Positives::Identity).unwrap();
    let matrix = SimilarityMatrix::new(&data[..15], 3, 5, Positives::Identity).unwrap();
    let labels = [0; 9];
    for (anchors, candidates, side, expected, actual) in [
        (2, 5, Side::AnchorLabels, 3, 2),
        (4, 5, Side::AnchorLabels, 3, 4),
        (0, 0, Side::AnchorLabels, 3, 0),
        (3, 4, Side::CandidateLabels, 5, 4),
        (3, 6, Side::CandidateLabels, 5, 6),
    ] {
        let exclusions = Exclusions::Labels { anchors: &labels[..anchors], candidates: &labels[..candidates] };
        let error = Error::Length { side, expected, actual };
        assert_eq!(batch.excluding(exclusions).unwrap_err(), error);
        assert_eq!(matrix.excluding(exclusions).unwrap_err(), error);
    }
}

#[test]
fn lists_that_are_wrong_in_every_way() {
    let data = [1.0; 24];
    let batch = Batch::new(&data[..6], &data[..10], 2, Positives::Identity).unwrap();
    let matrix = SimilarityMatrix::new(&data[..15], 3, 5, Positives::Identity).unwrap();
    let refused = |offsets: &[usize], indices: &[usize]| {
        let exclusions = Exclusions::Lists { offsets, indices };
        let error = batch.excluding(exclusions).unwrap_err();
        assert_eq!(matrix.excluding(exclusions).unwrap_err(), error);
        error
    };
    let length = |actual| Error::Length { side: Side::Offsets, expected: 4, actual };
    let offsets = |row| Error::Offsets { side: Side::Exclusions, row };
    let index = |row, index| Error::ExcludedOutOfRange { row, index, candidates: 5 };
    assert_eq!(refused(&[], &[]), length(0));
    assert_eq!(refused(&[0, 1, 2], &[0, 1]), length(3));
    assert_eq!(refused(&[0, 1, 2, 2, 2], &[0, 1]), length(5));
    assert_eq!(refused(&[1, 1, 2, 2], &[0, 1]), offsets(0));
    assert_eq!(refused(&[0, 2, 1, 2], &[0, 1]), offsets(1));
    assert_eq!(refused(&[0, 1, 2, 1], &[0, 1]), offsets(2));
    assert_eq!(refused(&[0, 1, 1, 1], &[0, 1]), offsets(2));
    assert_eq!(refused(&[0, 1, 3, 3], &[0, 1]), offsets(1));
    assert_eq!(refused(&[0, 0, 0, 3], &[0, 1]), offsets(2));
    assert_eq!(refused(&[0, 0, usize::MAX, 2], &[0, 1]), offsets(1));
    assert_eq!(refused(&[0, 1, 1, 2], &[5, 9]), index(0, 5));
    assert_eq!(refused(&[0, 1, 1, 2], &[4, 9]), index(2, 9));
    assert_eq!(refused(&[0, 0, 2, 2], &[4, usize::MAX]), index(1, usize::MAX as i128));
    assert!(batch.excluding(Exclusions::Lists { offsets: &[0; 4], indices: &[] }).is_ok());
    assert_eq!(index(1, 7).to_string(), "row 1: candidate 7 is excluded, but there are 5 candidates");
}

/// What one call excludes, the next one does not.
#[test]
fn exclusions_replace_each_other() {
    let mut workspace = Workspace::new();
    let plain = Data::Random.batch(8, 90, 120, 20);
    let mut random = Random(8);
    let plan = TripletLoss::new();
    let expected = reference::forward(plain.batch(), 0.25, Negatives::Below, Reduction::Sum).unwrap();
    for kind in ALL_KINDS {
        let excluding = kind.of(&mut random, 90, 120, &plain.pairing);
        let batch = plain.batch().excluding(excluding.exclusions()).unwrap();
        assert!(plan.forward(batch, &mut workspace).unwrap().loss() != expected.0, "{kind:?}");
        let again = batch.excluding(Exclusions::None).unwrap();
        assert_forward(&expected, &plan.forward(again, &mut workspace).unwrap(), "nothing");
    }
}

#[test]
fn similarities_with_exclusions() {
    let mut workspace = Workspace::new();
    let mut random = Random(4);
    for (rows, columns) in [(1, 2), (3, 5), (17, 33), (60, 130)] {
        for kind in ALL_KINDS {
            let (matrix, outside) = (random.rows(rows, columns), random.rows(1, rows));
            for pairing in [Pairing::random(&mut random, rows, columns), Pairing::Outside(outside)] {
                let excluding = kind.of(&mut random, rows, columns, &pairing);
                let given = SimilarityMatrix::new(&matrix, rows, columns, pairing.positives()).unwrap();
                let given = given.excluding(excluding.exclusions()).unwrap();
                for negatives in ALL_NEGATIVES {
                    let expected = reference::row_stats_from_similarities(given, negatives);
                    for (way, plan) in ways_of_one_screen(TripletLoss::new().negatives(negatives)) {
                        let forward = plan.forward_from_similarities(given, &mut workspace).unwrap();
                        assert_rows(&expected, forward.row_stats(), &format!("{kind:?}, {way}"));
                        assert_loss(&reference::loss(&expected, 0.25, plan.reduction), &forward.loss(), &way);
                    }
                }
            }
        }
    }
}

/// A batch with what another program says of it.
struct Case {
    name: String,
    archive: Npz,
    batch: OwnedBatch,
    plan: TripletLoss,
    loss: f64,
}

impl Case {
    fn all() -> Vec<Case> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/exclusions.json");
        let cases: serde_json::Value = serde_json::from_reader(std::fs::File::open(path).unwrap()).unwrap();
        let cases: Vec<Case> = cases.as_array().unwrap().iter().map(Case::read).collect();
        assert_eq!(cases.len(), 7, "the list of cases");
        cases
    }

    fn read(case: &serde_json::Value) -> Case {
        const DIM: usize = 384;
        let text = |key: &str| case[key].as_str().unwrap();
        let archive = Npz::open(text("file"));
        let usizes = |name: &str| archive.i64(name).into_iter().map(|value| value as usize).collect();
        let pairing = match text("name") {
            "exclusion_outside" => Pairing::Outside(archive.f32("positives")),
            _ => Pairing::Indices(usizes("positive_index")),
        };
        let excluding = match text("name") {
            "exclusion_outside" => Excluding::Nothing,
            "exclusion_lists" => Excluding::Lists { offsets: usizes("list_offsets"), indices: usizes("list_indices") },
            _ => {
                Excluding::Labels { anchors: archive.u64("anchor_labels"), candidates: archive.u64("candidate_labels") }
            }
        };
        let batch = OwnedBatch::new(archive.f32("anchors"), archive.f32("candidates"), DIM, pairing);
        let plan = TripletLoss::new()
            .margin(case["margin"].as_f64().unwrap() as f32)
            .negatives(text("rule").parse().unwrap())
            .reduction(text("reduction").parse().unwrap());
        let loss = case["loss"].as_f64().unwrap();
        Case { name: text("name").to_owned(), batch: batch.excluding(excluding), archive, plan, loss }
    }
}

/// Fails unless both are absent, or as near as one rounding to `f32`.
fn assert_near(expected: f64, actual: Option<f32>, what: &str) {
    match actual {
        Some(actual) => assert!((expected - f64::from(actual)).abs() <= 1e-6, "{what}: {expected} against {actual}"),
        None => assert!(expected.is_nan(), "{what}: {expected} is absent"),
    }
}

#[test]
fn batches_that_numpy_mined() {
    let mut workspace = Workspace::new();
    for case in Case::all() {
        let [positive, mean, closest] = ["positive", "mean", "closest"].map(|name| case.archive.f64(name));
        let index = case.archive.i64("index");
        for (way, plan) in ways(case.plan) {
            let forward = plan.forward(case.batch.batch(), &mut workspace).unwrap();
            for (row, stats) in forward.row_stats().iter().enumerate() {
                let what = format!("{}, row {row}, {way}", case.name);
                assert_near(positive[row], Some(stats.positive()), &what);
                assert_near(mean[row], stats.mean_negative(), &what);
                assert_near(closest[row], stats.closest_negative().map(|closest| closest.similarity()), &what);
                let found = stats.closest_negative().map_or(-1, |closest| closest.index() as i64);
                assert_eq!(index[row], found, "{what}");
            }
            let actual = forward.loss().loss;
            assert!((case.loss - actual).abs() < 5e-6, "{}: {} against {actual}", case.name, case.loss);
        }
    }
}

/// What the rules say, whatever the reference says.
fn assert_rules(input: &OwnedBatch, negatives: Negatives, workspace: &mut Workspace) -> Result<(), TestCaseError> {
    let OwnedBatch { anchors, candidates, dim, .. } = input;
    let forward = TripletLoss::new().negatives(negatives).forward(input.batch(), workspace).unwrap();
    let matrix = reference::similarity_matrix(anchors, candidates, *dim);
    let columns = candidates.len() / dim;
    for (row, (stats, similarities)) in forward.row_stats().iter().zip(matrix.chunks(columns)).enumerate() {
        let positive = if let Pairing::Indices(indices) = &input.pairing { Some(indices[row]) } else { None };
        let is_excluded = |candidate: usize| match &input.excluding {
            Excluding::Nothing => false,
            Excluding::Labels { anchors, candidates } => anchors[row] == candidates[candidate],
            Excluding::Lists { offsets, indices } => indices[offsets[row]..offsets[row + 1]].contains(&candidate),
            Excluding::Shared(indices) => indices.contains(&candidate),
            Excluding::SharedU32(indices) => indices.contains(&(candidate as u32)),
        };
        let is_negative = |candidate: usize| Some(candidate) != positive && !is_excluded(candidate);
        let of_negatives: Vec<f64> =
            (0..columns).filter(|&other| is_negative(other)).map(|other| similarities[other].into()).collect();
        let mean = of_negatives.iter().sum::<f64>() / of_negatives.len() as f64;
        match stats.mean_negative() {
            None => prop_assert!(of_negatives.is_empty()),
            Some(actual) => prop_assert!((mean - f64::from(actual)).abs() < 1e-5),
        }
        let admits = |similarity: f32| match negatives {
            Negatives::Below => similarity < stats.positive(),
            Negatives::AtOrBelow => similarity <= stats.positive(),
            _ => true,
        };
        let qualified = (0..columns).filter(|&other| is_negative(other) && admits(similarities[other]));
        let best = qualified.max_by(|&x, &y| similarities[x].partial_cmp(&similarities[y]).unwrap().then(y.cmp(&x)));
        prop_assert_eq!(stats.closest_negative().map(|closest| closest.index()), best);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_with_any_exclusions(
        data in 0..ALL_DATA.len(),
        kind in 0..ALL_KINDS.len(),
        rule in 0..3_usize,
        seed: u64,
        rows in 1..40_usize,
        candidates in 2..60_usize,
        dim in 1..60_usize,
    ) {
        let mut workspace = Workspace::new();
        let input = input(ALL_DATA[data], ALL_KINDS[kind], seed, rows, candidates, dim);
        check_forward(input.batch(), ALL_NEGATIVES[rule], &mut workspace, "any batch");
        assert_rules(&input, ALL_NEGATIVES[rule], &mut workspace)?;
        let weights = Random(seed).rows(1, rows);
        let wide: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
        let stats = reference::row_stats(input.batch(), ALL_NEGATIVES[rule]).unwrap();
        let expected = reference::gradients(input.batch(), &stats, 0.5, &wide);
        let plan = TripletLoss::new().margin(0.5).negatives(ALL_NEGATIVES[rule]);
        let actual = gradients::of_all_sides(plan, &input, &weights, &mut workspace);
        for (expected, actual) in expected.iter().zip(&actual) {
            prop_assert_eq!(bits(expected), bits(actual));
        }
    }
}
