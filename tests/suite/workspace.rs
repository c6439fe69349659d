//! One workspace for everything: whatever an earlier call left in it, the next one computes what a fresh one does.

mod common;

use common::{ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Random, all_threads, assert_loss, assert_rows};
use hardneg::{
    Backend, Batch, Error, Loss, Positives, RowStats, Screen, Screening, SimilarityMatrix, TripletLoss, Workspace,
};

/// A call, ready to be made with any workspace.
struct Call {
    plan: TripletLoss,
    anchors: Vec<f32>,
    /// Or the similarities, where there are no anchors.
    candidates: Vec<f32>,
    dim: usize,
    positives: Vec<usize>,
}

impl Call {
    /// Any shape, options and data; a third of all calls fails.
    fn random(random: &mut Random) -> Call {
        let limit = [4, 20, 100, 300][random.below(4)];
        let (rows, candidates) = (1 + random.below(limit), 2 + random.below(limit));
        let dim = 1 + random.below(40);
        let data = ALL_DATA[random.below(ALL_DATA.len())];
        let (mut anchors, mut rest) = data.batch(random.bits(), rows, candidates, dim);
        let ways = Backend::available().collect::<Vec<_>>();
        let threads = all_threads();
        let mut plan = TripletLoss::new()
            .negatives(ALL_NEGATIVES[random.below(3)])
            .reduction(ALL_REDUCTIONS[random.below(2)])
            .backend(ways[random.below(ways.len())])
            .screen(Screen::all().nth(random.below(Screen::all().len())).expect("a screen"))
            .threads(threads[random.below(threads.len())]);
        if random.below(4) == 0 {
            // The anchors' place is taken by a matrix of any finite numbers.
            anchors.clear();
            rest = random.rows(rows, candidates);
        }
        match random.below(9) {
            0 if !anchors.is_empty() => spoil(random, &mut anchors),
            1 => spoil(random, &mut rest),
            2 => plan = plan.margin(f32::NAN),
            _ => {}
        }
        let positives = (0..rows).map(|_| random.below(candidates)).collect();
        Call { plan, anchors, candidates: rest, dim, positives }
    }

    fn make(&self, workspace: &mut Workspace) -> Result<Loss, Error> {
        let positives = Positives::Indices(&self.positives);
        if self.anchors.is_empty() {
            let rows = self.positives.len();
            let columns = self.candidates.len() / rows;
            let matrix = SimilarityMatrix::new(&self.candidates, rows, columns, positives)?;
            return self.plan.forward_from_similarities(matrix, workspace);
        }
        self.plan.forward(Batch::new(&self.anchors, &self.candidates, self.dim, positives)?, workspace)
    }
}

/// Puts something that is not finite into a random element.
fn spoil(random: &mut Random, values: &mut [f32]) {
    let element = random.below(values.len());
    values[element] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3)];
}

#[test]
fn dirty_and_oversized_workspaces() {
    let mut failures = 0;
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut used = Workspace::new();
        for turn in 0..60 {
            let call = Call::random(&mut random);
            let mut fresh = Workspace::new();
            let (expected, actual) = (call.make(&mut fresh), call.make(&mut used));
            let what = format!("seed {seed}, call {turn}");
            match (expected, actual) {
                (Ok(expected), Ok(actual)) => assert_loss(&expected, &actual, &what),
                // Debug, as a NaN margin is not equal to itself.
                (Err(expected), Err(actual)) => {
                    failures += 1;
                    assert_eq!(format!("{expected:?}"), format!("{actual:?}"), "{what}");
                    assert!(used.row_stats().is_empty(), "{what}: rows of a call that failed");
                }
                (expected, actual) => panic!("{what}: {expected:?} against {actual:?}"),
            }
            assert_rows(fresh.row_stats(), used.row_stats(), &what);
            assert_eq!(fresh.screening(), used.screening(), "{what}");
        }
    }
    assert!(failures > 60, "only {failures} calls failed");
}

#[test]
fn a_small_batch_after_a_large_one() {
    let mut used = Workspace::new();
    let (anchors, candidates) = common::Data::CommonMean.batch(1, 300, 400, 64);
    let large = Batch::new(&anchors, &candidates, 64, Positives::Identity).unwrap();
    let _ = TripletLoss::new().forward(large, &mut used).unwrap();
    for data in ALL_DATA {
        for (rows, candidates, dim) in [(1, 2, 1), (3, 17, 5), (17, 49, 16), (50, 193, 65)] {
            let (a, c) = data.batch(2, rows, candidates, dim);
            let batch = Batch::new(&a, &c, dim, Positives::Identity).unwrap();
            for negatives in ALL_NEGATIVES {
                common::check_forward(batch, negatives, &mut used, &format!("{data:?} {rows} x {candidates} x {dim}"));
            }
        }
    }
}

#[test]
fn row_statistics_before_a_call_and_after_a_failure() {
    let mut workspace = Workspace::new();
    assert!(workspace.row_stats().is_empty());
    assert!(Workspace::default().row_stats().is_empty());
    assert_eq!(workspace.screening(), Screening::default());
    let plan = TripletLoss::new();
    let good = [1.0, 0.0, 0.0, 1.0];
    let batch = Batch::paired(&good, &good, 2).unwrap();
    let matrix = SimilarityMatrix::square(&good, 2).unwrap();
    let bad = [1.0, 0.0, f32::NAN, 1.0];
    type Failure<'a> = &'a dyn Fn(&mut Workspace) -> Result<Loss, Error>;
    let failures: [Failure<'_>; 6] = [
        &|workspace| plan.forward(Batch::paired(&bad, &good, 2)?, workspace),
        &|workspace| plan.forward(Batch::paired(&good, &bad, 2)?, workspace),
        &|workspace| plan.margin(f32::INFINITY).forward(batch, workspace),
        &|workspace| plan.forward_from_similarities(SimilarityMatrix::square(&bad, 2)?, workspace),
        &|workspace| plan.margin(f32::NAN).forward_from_similarities(matrix, workspace),
        &|workspace| plan.margin(f32::NEG_INFINITY).forward(batch, workspace),
    ];
    for fail in failures {
        assert!(fail(&mut workspace).is_err());
        assert!(workspace.row_stats().is_empty());
        let _ = plan.forward(batch, &mut workspace).unwrap();
        assert_eq!(workspace.row_stats().len(), 2);
        assert!(fail(&mut workspace).is_err());
        assert!(workspace.row_stats().is_empty());
        assert_eq!(workspace.screening(), Screening::default());
        let _ = plan.forward_from_similarities(matrix, &mut workspace).unwrap();
        assert_eq!(workspace.row_stats().len(), 2);
    }
}

#[test]
fn everything_may_cross_threads() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<TripletLoss>();
    send_and_sync::<Batch<'static>>();
    send_and_sync::<Workspace>();
    send_and_sync::<Loss>();
    send_and_sync::<RowStats>();
    send_and_sync::<Error>();
    send_and_sync::<Backend>();
    send_and_sync::<SimilarityMatrix<'static>>();
    send_and_sync::<Positives<'static>>();
}
