//! Gradients of any batch, with weights or without, into buffers that are overwritten or added to: the reference's up
//! to `f64` rounding, the same bits on every backend, screen and thread mode, and from two calls as from one. Errors
//! leave the buffers alone.
#![no_main]

use hardneg::{Error, Gradients, Loss, Reduction, RowStats, Side, TripletLoss, Workspace, reference};
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::input::{Input, Shape};
use hardneg_fuzz::oracle::{self, PATTERN, ways};
use hardneg_fuzz::rows::{Bits, raw};
use libfuzzer_sys::fuzz_target;

/// The gradients with respect to the anchors and to the candidates.
#[derive(Clone, Debug, PartialEq)]
struct Pair([Vec<u32>; 2]);

/// A batch with everything that its gradients depend on.
struct Case {
    input: Input,
    weights: Option<Vec<f32>>,
    accumulate: bool,
    /// By how many elements the two buffers are too long.
    excess: [usize; 2],
}

impl Case {
    fn new(bytes: &mut Bytes<'_>) -> Case {
        let shape = Shape::new(bytes);
        let family = bytes.below(8) > 0;
        let input = if family { Input::family(bytes, shape) } else { Input::raw(bytes, shape) };
        let weights = match bytes.below(4) {
            0 => Some(raw(bytes, Bits::Any, shape.rows)),
            1 => Some((0..shape.rows).map(|_| bytes.unit() * 4.0).collect()),
            _ => None,
        };
        let excess = bytes.choose(&[[0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [0, 1]]);
        Case { input, weights, accumulate: bytes.below(3) == 0, excess }
    }

    /// One forward and one backward pass, in one call or in two.
    fn run(&self, plan: TripletLoss, calls: usize, workspace: &mut Workspace) -> (Result<Loss, Error>, Pair) {
        let batch = self.input.batch().expect("a good shape");
        let mut anchors = vec![PATTERN; batch.rows() * batch.dim() + self.excess[0]];
        let mut candidates = vec![PATTERN; batch.candidates() * batch.dim() + self.excess[1]];
        let gradients = Gradients::new(&mut anchors, &mut candidates);
        let gradients = if self.accumulate { gradients.accumulate() } else { gradients };
        let gradients = match &self.weights {
            Some(weights) => gradients.weights(weights),
            None => gradients,
        };
        let loss = if calls == 1 {
            plan.forward_backward(batch, gradients, workspace)
        } else {
            let loss = plan.forward(batch, workspace);
            loss.and_then(|loss| plan.backward(batch, gradients, workspace).map(|()| loss))
        };
        (loss, Pair([anchors, candidates].map(|values| values.iter().map(|value| value.to_bits()).collect())))
    }

    /// The first thing that is wrong; `forward` is what the reference says of the rows.
    fn expected_error(&self, forward: &Result<(Loss, Vec<RowStats>), Error>) -> Option<Error> {
        let (anchors, candidates) = (self.input.anchors.len(), self.input.candidates.len());
        let sides = [(Side::AnchorGradients, anchors), (Side::CandidateGradients, candidates)];
        for ((side, expected), excess) in sides.into_iter().zip(self.excess) {
            if excess > 0 {
                return Some(Error::Length { side, expected, actual: expected + excess });
            }
        }
        let bad = self.weights.as_ref().and_then(|weights| weights.iter().position(|weight| !weight.is_finite()));
        match bad {
            Some(row) => Some(Error::NotFinite { side: Side::Weights, row }),
            None => forward.as_ref().err().copied(),
        }
    }

    /// The weight of every row.
    fn weights(&self) -> Vec<f64> {
        let rows = self.input.anchors.len() / self.input.dim;
        match (&self.weights, self.input.options.reduction) {
            (Some(weights), _) => weights.iter().map(|&weight| f64::from(weight)).collect(),
            (None, Reduction::Mean) => vec![1.0 / rows as f64; rows],
            (None, _) => vec![1.0; rows],
        }
    }

    /// Panics unless the gradients are the reference's, up to `f64` rounding and one rounding to `f32`.
    fn check(&self, pair: &Pair) {
        let (options, weights) = (self.input.options, self.weights());
        let batch = self.input.batch().expect("a good shape");
        let (anchors, candidates) =
            reference::backward(batch, options.margin, options.negatives, &weights).expect("finite rows");
        // The derivatives by the similarities of one row add up to less than this.
        let scale = 6.0 * weights.iter().map(|weight| weight.abs()).sum::<f64>();
        let sides = [(&self.input.anchors, anchors), (&self.input.candidates, candidates)];
        for ((rows, expected), actual) in sides.iter().zip(&pair.0) {
            let rows = rows.chunks(self.input.dim).zip(expected.chunks(self.input.dim));
            for ((row, expected), actual) in rows.zip(actual.chunks(self.input.dim)) {
                let norm = reference::norm(row);
                let noise = if norm == 0.0 { 0.0 } else { 1e-12 * scale / norm };
                for (&expected, &actual) in expected.iter().zip(actual) {
                    let before = if self.accumulate { f64::from(PATTERN) } else { 0.0 };
                    assert_near(before + expected, f32::from_bits(actual), noise + before * 1e-15);
                }
            }
        }
    }
}

/// Panics unless `actual` is `expected` rounded once, after an error of at most `noise`.
fn assert_near(expected: f64, actual: f32, noise: f64) {
    let (low, high) = ((expected - noise) as f32, (expected + noise) as f32);
    assert!(low <= actual && actual <= high, "{expected} against {actual}, noise {noise}");
}

fuzz_target!(|data: &[u8]| {
    let case = Case::new(&mut Bytes::new(data));
    let mut workspace = Workspace::new();
    let forward = oracle::forward(&case.input);
    let error = case.expected_error(&forward);
    let mut first: Option<Pair> = None;
    for (what, plan) in ways(case.input.options.plan()) {
        for calls in [1, 2] {
            let (loss, pair) = case.run(plan, calls, &mut workspace);
            match error {
                Some(error) if calls == 1 => {
                    assert_eq!(loss, Err(error), "{what}");
                    assert!(workspace.row_stats().is_empty(), "{what}: rows of a call that failed");
                }
                // The forward pass may find something else first, and succeed.
                Some(_) => assert!(loss.is_err(), "{what}, two calls: an error is expected"),
                None => oracle::check(&forward, loss, workspace.row_stats(), &what),
            }
            if error.is_some() {
                let untouched = pair.0.iter().flatten().all(|&bits| bits == PATTERN.to_bits());
                assert!(untouched, "{what}: something was written before an error");
            }
            assert_eq!(*first.get_or_insert_with(|| pair.clone()), pair, "{what}, {calls} calls");
        }
    }
    if let (None, Some(pair)) = (error, &first) {
        case.check(pair);
    }
});
