//! One workspace for everything: whatever an earlier call left in it, the next one computes what a fresh one does.

use hardneg::{
    Backend, Batch, Error, Forward, ForwardFromSimilarities, Gradients, Loss, Positives, RowStats, Screening,
    SimilarityMatrix, TripletLoss, Workspace,
};

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Data, OwnedBatch, Pairing, Random, assert_loss, assert_rows,
    check_forward, ways,
};

/// What a call that succeeded returned.
struct Answer {
    loss: Loss,
    rows: Vec<RowStats>,
    /// Nothing where there were similarities in place of rows.
    screening: Screening,
}

impl Answer {
    fn of_rows(forward: &Forward<'_, '_>) -> Answer {
        Answer { loss: forward.loss(), rows: forward.row_stats().to_vec(), screening: forward.screening() }
    }

    fn of_similarities(forward: ForwardFromSimilarities<'_>) -> Answer {
        Answer { loss: forward.loss(), rows: forward.row_stats().to_vec(), screening: Screening::default() }
    }
}

/// A call, ready to be made with any workspace.
struct Call {
    plan: TripletLoss,
    /// The rows; or, where there are no anchors, the similarities in the place of the candidates.
    input: OwnedBatch,
}

impl Call {
    /// Any shape, options and data; a third of all calls fails.
    fn random(random: &mut Random) -> Call {
        let limit = [4, 20, 100, 300][random.below(4)];
        let (rows, candidates) = (1 + random.below(limit), 2 + random.below(limit));
        let dim = 1 + random.below(40);
        let data = random.choose(&ALL_DATA);
        let mut input = data.batch(random.bits(), rows, candidates, dim);
        let plan =
            TripletLoss::new().negatives(random.choose(&ALL_NEGATIVES)).reduction(random.choose(&ALL_REDUCTIONS));
        let ways: Vec<TripletLoss> = ways(plan).map(|(_, plan)| plan).collect();
        let mut plan = random.choose(&ways);
        if random.below(4) == 0 {
            input.anchors.clear();
            input.candidates = random.rows(rows, candidates);
        }
        match random.below(9) {
            0 if !input.anchors.is_empty() => spoil(random, &mut input.anchors),
            1 => spoil(random, &mut input.candidates),
            2 => plan = plan.margin(f32::NAN),
            _ => {}
        }
        Call { plan, input: input.with(Pairing::random(random, rows, candidates)) }
    }

    fn make(&self, workspace: &mut Workspace) -> Result<Answer, Error> {
        let OwnedBatch { anchors, candidates, pairing, .. } = &self.input;
        let positives = pairing.positives();
        if anchors.is_empty() {
            let rows = pairing.indices(0).len();
            let matrix = SimilarityMatrix::new(candidates, rows, candidates.len() / rows, positives)?;
            return self.plan.forward_from_similarities(matrix, workspace).map(Answer::of_similarities);
        }
        self.plan.forward(self.input.try_batch()?, workspace).map(|forward| Answer::of_rows(&forward))
    }
}

/// Puts something that is not finite into a random element.
fn spoil(random: &mut Random, values: &mut [f32]) {
    let element = random.below(values.len());
    values[element] = random.choose(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
}

#[test]
fn dirty_and_oversized_workspaces() {
    let mut failures = 0;
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut used = Workspace::new();
        for turn in 0..60 {
            let call = Call::random(&mut random);
            let what = format!("seed {seed}, call {turn}");
            match (call.make(&mut Workspace::new()), call.make(&mut used)) {
                (Ok(expected), Ok(actual)) => {
                    assert_loss(&expected.loss, &actual.loss, &what);
                    assert_rows(&expected.rows, &actual.rows, &what);
                    assert_eq!(expected.screening, actual.screening, "{what}");
                }
                // Debug, as a NaN margin is not equal to itself.
                (Err(expected), Err(actual)) => {
                    failures += 1;
                    assert_eq!(format!("{expected:?}"), format!("{actual:?}"), "{what}");
                }
                (expected, actual) => panic!("{what}: {:?} against {:?}", expected.err(), actual.err()),
            }
        }
    }
    assert!(failures > 60, "only {failures} calls failed");
}

#[test]
fn a_small_batch_after_a_large_one() {
    let mut used = Workspace::new();
    let large = Data::CommonMean.batch(1, 300, 400, 64);
    let _ = TripletLoss::new().forward(large.batch(), &mut used).unwrap();
    for data in ALL_DATA {
        for (rows, candidates, dim) in [(1, 2, 1), (3, 17, 5), (17, 49, 16), (50, 193, 65)] {
            let batch = data.batch(2, rows, candidates, dim);
            for negatives in ALL_NEGATIVES {
                let what = format!("{data:?} {rows} x {candidates} x {dim}");
                check_forward(batch.batch(), negatives, &mut used, &what);
            }
        }
    }
}

#[test]
fn good_calls_before_and_after_every_kind_of_failure() {
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new();
    let good = [1.0, 0.0, 0.0, 1.0];
    let batch = Batch::paired(&good, &good, 2).unwrap();
    let matrix = SimilarityMatrix::square(&good, 2).unwrap();
    let bad = [1.0, 0.0, f32::NAN, 1.0];
    type Failure<'a> = &'a dyn Fn(&mut Workspace) -> Result<(), Error>;
    let failures: [Failure<'_>; 6] = [
        &|workspace| plan.forward(Batch::paired(&bad, &good, 2)?, workspace).map(drop),
        &|workspace| plan.forward(Batch::paired(&good, &bad, 2)?, workspace).map(drop),
        &|workspace| plan.margin(f32::INFINITY).forward(batch, workspace).map(drop),
        &|workspace| plan.forward_from_similarities(SimilarityMatrix::square(&bad, 2)?, workspace).map(|_| ()),
        &|workspace| plan.margin(f32::NAN).forward_from_similarities(matrix, workspace).map(|_| ()),
        &|workspace| plan.margin(f32::NEG_INFINITY).forward(batch, workspace).map(drop),
    ];
    let expected = Answer::of_rows(&plan.forward(batch, &mut Workspace::new()).unwrap());
    let mined = Answer::of_similarities(plan.forward_from_similarities(matrix, &mut Workspace::new()).unwrap());
    for fail in failures {
        assert!(fail(&mut workspace).is_err());
        let forward = plan.forward(batch, &mut workspace).unwrap();
        assert_eq!(forward.screening(), expected.screening);
        assert_rows(&expected.rows, forward.row_stats(), "after a failure");
        assert_loss(&expected.loss, &forward.loss(), "after a failure");
        assert!(fail(&mut workspace).is_err());
        let forward = plan.forward_from_similarities(matrix, &mut workspace).unwrap();
        assert_rows(&mined.rows, forward.row_stats(), "after a failure");
        assert_loss(&mined.loss, &forward.loss(), "after a failure");
    }
}

#[test]
fn everything_may_cross_threads() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<TripletLoss>();
    send_and_sync::<Batch<'static>>();
    send_and_sync::<Workspace>();
    send_and_sync::<Forward<'static, 'static>>();
    send_and_sync::<ForwardFromSimilarities<'static>>();
    send_and_sync::<Gradients<'static>>();
    send_and_sync::<Loss>();
    send_and_sync::<RowStats>();
    send_and_sync::<Error>();
    send_and_sync::<Backend>();
    send_and_sync::<SimilarityMatrix<'static>>();
    send_and_sync::<Positives<'static>>();
}
