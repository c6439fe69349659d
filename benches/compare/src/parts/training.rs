//! Forward and backward calls of this crate.

use std::hint::black_box;

use hardneg::{Gradients, TripletLoss, Workspace, reference};

use crate::common::OwnedBatch;
use crate::rivals::MARGIN;
use crate::shapes::Case;

/// The name of the contender.
pub(crate) const WITH_GRADIENTS: &str = "hardneg, with gradients";

/// The multiply-adds of the batches whose gradients are compared with the reference.
const SMALL: u64 = 1 << 18;

/// A plan with room for the gradients of both sides.
pub(crate) struct Training {
    plan: TripletLoss,
    workspace: Workspace,
    pub by_anchors: Vec<f32>,
    pub by_candidates: Vec<f32>,
}

impl Training {
    /// Room for a case, whose gradients are compared with the reference if it is small.
    pub(crate) fn new(plan: TripletLoss, case: &Case, pairs: &OwnedBatch) -> Training {
        let [by_anchors, by_candidates] = [case.rows, case.candidates].map(|rows| vec![0.0; rows * case.dim]);
        let mut training = Training { plan, workspace: Workspace::new(), by_anchors, by_candidates };
        if case.work() <= SMALL {
            training.check(pairs);
        }
        training
    }

    pub(crate) fn run(&mut self, pairs: &OwnedBatch) {
        let gradients = Gradients::new(&mut self.by_anchors, &mut self.by_candidates);
        let forward = self.plan.forward_backward(pairs.batch(), gradients, &mut self.workspace).expect("finite rows");
        _ = black_box(forward.loss());
    }

    fn check(&mut self, pairs: &OwnedBatch) {
        self.run(pairs);
        let weights = vec![1.0; pairs.rows()];
        let [by_anchors, by_candidates, _] =
            reference::backward(pairs.batch(), MARGIN, self.plan.negatives, &weights).expect("finite rows");
        for (expected, actual) in [(by_anchors, &self.by_anchors), (by_candidates, &self.by_candidates)] {
            let near = |(expected, &actual): (&f64, &f32)| (expected - f64::from(actual)).abs() < 1e-6;
            assert!(expected.iter().zip(actual).all(near), "gradients of {} x {}", pairs.rows(), pairs.dim);
        }
    }
}
