//! Against numbers that other programs computed: the course lab's, NumPy's and PyTorch's, in double precision.

use std::path::PathBuf;

use hardneg::{
    Backend, KnownPositives, Loss, Miner, MiningBatch, Negatives, Neighbour, RowStats, SimilarityMatrix, TripletLoss,
    Workspace,
};
use serde_json::Value;

use crate::common::{OwnedBatch, Pairing, miners, ways};
use crate::npz::{Npz, sample};

/// How far a similarity may be off: it is rounded to `f32`, the expected one is not.
const SIMILARITY: f64 = 1e-6;
/// How far a term of the loss may be off: as many roundings as there are rows, most of which cancel.
const TERM: f64 = 2e-6;

/// What another program says of a row.
#[derive(Debug)]
struct Row {
    positive: f64,
    mean_negative: f64,
    closest: Option<(usize, f64)>,
}

impl Row {
    /// From the files' notation: -1 and NaN where no negative qualified.
    fn new(positive: f64, mean_negative: f64, index: f64, similarity: f64) -> Row {
        assert_eq!(index < 0.0, similarity.is_nan(), "the file contradicts itself");
        let closest = (index >= 0.0).then_some((index as usize, similarity));
        Row { positive, mean_negative, closest }
    }
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn json(file: &str) -> Value {
    serde_json::from_reader(std::fs::File::open(path(file)).unwrap()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn rule(name: &str) -> Negatives {
    match name {
        "below" => Negatives::Below,
        "at_or_below" => Negatives::AtOrBelow,
        "any" => Negatives::Any,
        other => panic!("unknown rule {other}"),
    }
}

fn assert_near(expected: f64, actual: f64, tolerance: f64, what: &str) {
    assert!((expected - actual).abs() <= tolerance, "{what}: expected {expected}, got {actual}");
}

fn assert_rows_near(expected: &[Row], actual: &[RowStats], what: &str) {
    assert_eq!(expected.len(), actual.len(), "{what}: rows");
    for (row, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        let what = format!("{what}, row {row}");
        assert_near(expected.positive, actual.positive().into(), SIMILARITY, &what);
        assert_near(expected.mean_negative, actual.mean_negative().unwrap().into(), SIMILARITY, &what);
        let closest = actual.closest_negative();
        assert_eq!(expected.closest.map(|(index, _)| index), closest.map(|closest| closest.index()), "{what}");
        if let (Some((_, expected)), Some(actual)) = (expected.closest, closest) {
            assert_near(expected, actual.similarity().into(), SIMILARITY, &what);
        }
    }
}

/// The loss and its two terms.
fn assert_loss_near(expected: [f64; 3], actual: &Loss, what: &str) {
    for (expected, actual) in expected.into_iter().zip([actual.loss, actual.mean_term, actual.closest_term]) {
        assert_near(expected, actual, TERM, what);
    }
}

#[test]
fn the_labs_two_vectors() {
    let lab = json("lab.json");
    let vector = |name: &str| numbers(&lab["two_vectors"][name]).iter().map(|&value| value as f32).collect::<Vec<_>>();
    let (v1, v2) = (vector("v1"), vector("v2"));
    let expected = number(&lab["two_vectors"]["cosine"]);
    // The vectors are exact in `f32`, so that only the result is rounded.
    for backend in Backend::available() {
        assert_eq!(backend.cosine_similarity(&v1, &v2).unwrap(), expected as f32, "{backend}");
    }
}

#[test]
fn the_labs_matrix_of_similarities() {
    let lab = json("lab.json");
    let rows = lab["matrix"].as_array().unwrap();
    let matrix: Vec<f32> = rows.iter().flat_map(numbers).map(|value| value as f32).collect();
    let matrix = SimilarityMatrix::square(&matrix, rows.len()).unwrap();
    let mut workspace = Workspace::new();
    for (name, total) in [("below", 0.516_667), ("at_or_below", 0.516_667), ("any", 1.466_667)] {
        let column = |key: &str| numbers(&lab[name][key]);
        let (index, similarity) = (column("closest_index"), column("closest_similarity"));
        let rows = column("positive").into_iter().zip(column("mean_negative")).zip(index.into_iter().zip(similarity));
        let rows: Vec<Row> = rows.map(|((p, mean), (index, s))| Row::new(p, mean, index, s)).collect();
        let terms = ["mean_term", "closest_term", "loss"].map(column);
        let margin = number(&lab["margin"]) as f32;
        let plan = TripletLoss::new().margin(margin).negatives(rule(name));

        let forward = plan.forward_from_similarities(matrix, &mut workspace).unwrap();
        let loss = forward.loss();

        assert_rows_near(&rows, forward.row_stats(), name);
        for (row, stats) in forward.row_stats().iter().enumerate() {
            let (mean, closest) = (stats.mean_term(margin), stats.closest_term(margin));
            for (terms, actual) in terms.iter().zip([mean, closest, mean + closest]) {
                assert_near(terms[row], actual, SIMILARITY, &format!("{name}, row {row}"));
            }
        }
        assert_near(total, loss.loss, 1e-6, name);
        let sums = terms.map(|term| term.iter().sum::<f64>());
        assert_loss_near([number(&lab[name]["total"]), sums[0], sums[1]], &loss, name);
    }
}

/// A batch with its results.
struct Case {
    name: String,
    batch: OwnedBatch,
    plan: TripletLoss,
    rows: Vec<Row>,
    /// The loss and its two terms.
    loss: [f64; 3],
}

impl Case {
    fn read(case: &Value) -> Case {
        let archive = Npz::open(case["file"].as_str().unwrap());
        let [anchors, positives] = ["anchors", "positives"].map(|name| archive.f32(name));
        let [positive, mean, similarity] =
            ["positive", "mean_negative", "closest_similarity"].map(|name| archive.f64(name));
        let index = archive.i64("closest_index");
        let rows = (0..index.len()).map(|row| Row::new(positive[row], mean[row], index[row] as f64, similarity[row]));
        Case {
            name: case["name"].as_str().unwrap().to_owned(),
            batch: OwnedBatch::new(anchors, positives, case["dim"].as_u64().unwrap() as usize, Pairing::Paired),
            plan: TripletLoss::new()
                .margin(number(&case["margin"]) as f32)
                .negatives(rule(case["negatives"].as_str().unwrap())),
            rows: rows.collect(),
            loss: ["total", "mean_term", "closest_term"].map(|key| number(&case[key])),
        }
    }

    fn check(&self, workspace: &mut Workspace) {
        for (way, plan) in ways(self.plan) {
            let what = format!("{}, {way}", self.name);
            let forward = plan.forward(self.batch.batch(), workspace).unwrap();
            assert_rows_near(&self.rows, forward.row_stats(), &what);
            assert_loss_near(self.loss, &forward.loss(), &what);
            let absent = self.rows.iter().filter(|row| row.closest.is_none()).count();
            assert_eq!(absent, forward.loss().without_closest_negative, "{what}");
        }
    }
}

#[test]
fn batches_that_numpy_mined() {
    let cases = json("cases.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 8, "the list of cases");
    let mut workspace = Workspace::new();
    for case in cases.iter().map(Case::read) {
        assert_eq!(case.rows.len(), case.batch.rows(), "{}", case.name);
        case.check(&mut workspace);
    }
}

/// Lists that NumPy mined.
struct MiningCase {
    name: &'static str,
    miner: Miner,
    offsets: Vec<usize>,
    indices: Vec<usize>,
    /// The list of each query, filled up with -1 and NaN.
    lists: Vec<Vec<(i64, f32)>>,
}

impl MiningCase {
    fn read(name: &'static str, miner: Miner) -> MiningCase {
        let archive = Npz::open(&format!("mining_{name}.npz"));
        let numbers = |name| archive.i64(name).into_iter().map(|number| number as usize).collect::<Vec<_>>();
        let (k, skip) = (numbers("k")[0], numbers("skip")[0]);
        let pairs: Vec<(i64, f32)> = archive.i64("indices").into_iter().zip(archive.f32("similarities")).collect();
        let lists = pairs.chunks(k).map(<[_]>::to_vec).collect();
        let (offsets, indices) = (numbers("known_offsets"), numbers("known_indices"));
        MiningCase { name, miner: miner.k(k).skip(skip), offsets, indices, lists }
    }

    /// NumPy mined 1977 candidates, of which the sample has the first 256. So a list restricted to these must stand,
    /// without a gap, in the list of the sample with nothing skipped: at its start, but for those that were skipped.
    /// Only queries whose known positives are in the sample can be compared. Returns how many places were.
    fn check(&self, workspace: &mut Workspace) -> usize {
        let (queries, candidates) = (sample("anchors").unwrap(), sample("positives").unwrap());
        let dim = queries.dim;
        let known = |query: usize| &self.indices[self.offsets[query]..self.offsets[query + 1]];
        let whole: Vec<usize> =
            (0..self.lists.len()).filter(|&query| known(query).iter().all(|&index| index < 256)).collect();
        let rows: Vec<f32> = whole.iter().flat_map(|&query| &queries.values[query * dim..][..dim]).copied().collect();
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for &query in &whole {
            indices.extend_from_slice(known(query));
            offsets.push(indices.len());
        }
        let known = KnownPositives::Lists { offsets: &offsets, indices: &indices };
        let batch = MiningBatch::new(&rows, &candidates.values, dim).unwrap().known_positives(known).unwrap();
        let mut compared = 0;
        for (way, miner) in miners(self.miner.skip(0).k(self.miner.k + self.miner.skip)) {
            let mined = miner.mine(batch, workspace).unwrap();
            for (at, &query) in whole.iter().enumerate() {
                let expected: Vec<(i64, f32)> =
                    self.lists[query].iter().filter(|(index, _)| (0..256).contains(index)).copied().collect();
                let what = format!("{}, {way}, query {query}: {expected:?}, {:?}", self.name, mined.row(at));
                let Some(&(first, _)) = expected.first() else { continue };
                let start = mined.row(at).iter().position(|found| found.index as i64 == first).expect(&what);
                assert!(start <= self.miner.skip, "{what}");
                for (&(index, similarity), found) in expected.iter().zip(&mined.row(at)[start..]) {
                    let Neighbour { index: found, similarity: actual } = *found;
                    assert!(index == found as i64 && (similarity - actual).abs() <= 3e-7, "{what}");
                    compared += 1;
                }
            }
        }
        compared / miners(self.miner).count()
    }
}

#[test]
fn lists_that_numpy_mined() {
    let mut workspace = Workspace::new();
    let miner = Miner::new();
    let mut compared = 0;
    for (name, miner) in [
        ("any", miner),
        ("below", miner.negatives(Negatives::Below)),
        ("absolute", miner.absolute_margin(0.05)),
        ("relative", miner.relative_margin(0.05)),
        ("range", miner.min_similarity(0.35).max_similarity(0.6)),
    ] {
        let case = MiningCase::read(name, miner);
        assert_eq!(case.lists.len(), 200, "{name}");
        compared += case.check(&mut workspace);
    }
    assert!(compared > 1000, "{compared} places");
}

/// A similarity qualifies by the threshold as it is rounded to `f32`, which NumPy compared with the similarities that it
/// computed in `f64` and rounded, too: thresholds are similarities, the digits that they are printed with, the numbers
/// before they were rounded, and others around them.
#[test]
fn thresholds_that_similarities_tie() {
    let archive = Npz::open("mining_threshold_ties.npz");
    let [queries, candidates, similarities] = ["queries", "candidates", "similarities"].map(|name| archive.f32(name));
    let [indices, at_most, at_least] = ["indices", "at_most", "at_least"].map(|name| archive.i64(name));
    let thresholds = archive.f64("thresholds");
    let dim = 24;
    let (count, rows) = (queries.len() / dim, candidates.len() / dim);
    let batch = MiningBatch::new(&queries, &candidates, dim).unwrap();
    let found = |index: &i64, similarity: &f32| Neighbour { index: *index as usize, similarity: *similarity };
    let all: Vec<Neighbour> = indices.iter().zip(&similarities).map(|(i, s)| found(i, s)).collect();
    let (mut workspace, mut decided) = (Workspace::new(), 0);
    for (at, &threshold) in thresholds.iter().enumerate() {
        let miner = Miner::new().k(rows);
        for (way, most) in miners(miner.max_similarity(threshold)) {
            let mined = most.mine(batch, &mut workspace).unwrap();
            for (query, all) in all.chunks(rows).enumerate() {
                let expected = &all[rows - at_most[at * count + query] as usize..];
                assert_eq!(mined.row(query), expected, "at most {threshold}, {way}, query {query}");
            }
        }
        for (way, least) in miners(miner.min_similarity(threshold)) {
            let mined = least.mine(batch, &mut workspace).unwrap();
            for (query, all) in all.chunks(rows).enumerate() {
                let expected = &all[..at_least[at * count + query] as usize];
                assert_eq!(mined.row(query), expected, "at least {threshold}, {way}, query {query}");
                // Those that the threshold's own bits would drop.
                decided += expected.iter().filter(|found| f64::from(found.similarity) < threshold).count();
            }
        }
    }
    assert!(decided > 20, "rounding decides {decided} times");
}
