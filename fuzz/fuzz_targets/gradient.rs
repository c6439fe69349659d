//! Gradients of any batch, with weights or without, into buffers that are overwritten or added to: the reference's up
//! to `f64` rounding, the same bits on every backend, screen and thread mode, from two calls as from one, and for the
//! anchors alone as for all sides. Errors leave the buffers alone.
#![no_main]

use hardneg::{Error, Forward, Gradients, Reduction, Side, TripletLoss, Workspace, reference};
use hardneg_fuzz::bytes::Bytes;
use hardneg_fuzz::common::{Excluding, OwnedBatch, Pairing, bits, ways};
use hardneg_fuzz::input::{Input, Shape};
use hardneg_fuzz::oracle::{self, Answer, PATTERN};
use hardneg_fuzz::rows::{Bits, raw};
use libfuzzer_sys::fuzz_target;

/// The gradients with respect to the anchors, to the candidates, and to positives that are no candidates.
#[derive(Clone, Debug, PartialEq)]
struct Sides([Vec<u32>; 3]);

/// A batch with everything that its gradients depend on.
struct Case {
    input: Input,
    weights: Option<Vec<f32>>,
    accumulate: bool,
    /// By how many elements the buffers are too long.
    excess: [usize; 3],
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
        let excess = bytes.choose(&[[0; 3], [0; 3], [0; 3], [0; 3], [0; 3], [0, 0, 1], [1, 0, 0], [0, 1, 0]]);
        let accumulate = bytes.below(3) == 0;
        Case { input: input.with_exclusions(bytes), weights, accumulate, excess }
    }

    /// The gradients with what the case says of them.
    fn complete<'a>(&'a self, gradients: Gradients<'a>) -> Gradients<'a> {
        let gradients = if self.accumulate { gradients.accumulate() } else { gradients };
        match &self.weights {
            Some(weights) => gradients.weights(weights),
            None => gradients,
        }
    }

    /// One forward and one backward pass, in one call or in two.
    fn run(&self, plan: TripletLoss, calls: usize, workspace: &mut Workspace) -> (Answer, Sides) {
        let batch = self.input.batch.batch();
        let lengths = self.sides().map(|(_, rows)| rows.len());
        let mut buffers = [0, 1, 2].map(|side| vec![PATTERN; lengths[side] + self.excess[side]]);
        let [anchors, candidates, positives] = &mut buffers;
        let gradients = self.complete(Gradients::new(anchors, candidates).positives(positives));
        let forward = if calls == 1 {
            plan.forward_backward(batch, gradients, workspace)
        } else {
            plan.forward(batch, workspace).and_then(|mut forward| forward.backward(gradients).map(|()| forward))
        };
        let answer = forward.map(|mut forward| {
            self.check_anchors_alone(&mut forward, &buffers[0]);
            (forward.loss(), forward.row_stats().to_vec())
        });
        (answer, Sides(buffers.map(|values| bits(&values))))
    }

    /// The rows of all sides.
    fn sides(&self) -> [(Side, &[f32]); 3] {
        let OwnedBatch { anchors, candidates, pairing, .. } = &self.input.batch;
        let outside = if let Pairing::Outside(rows) = pairing { &rows[..] } else { &[] };
        [(Side::AnchorGradients, anchors), (Side::CandidateGradients, candidates), (Side::PositiveGradients, outside)]
    }

    /// Panics unless the gradients of the anchors alone are those beside the candidates'.
    fn check_anchors_alone(&self, forward: &mut Forward<'_, '_>, expected: &[f32]) {
        let mut alone = vec![PATTERN; expected.len()];
        forward.backward(self.complete(Gradients::of_anchors(&mut alone))).expect("arguments that were good before");
        assert_eq!(bits(expected), bits(&alone), "the gradients of the anchors alone");
    }

    /// The first thing that is wrong; `forward` is what the reference says of the rows.
    fn expected_error(&self, forward: &Answer) -> Option<Error> {
        for ((side, rows), excess) in self.sides().into_iter().zip(self.excess) {
            let expected = rows.len();
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

    /// The weight of every row: that of the reduction times the given one.
    fn weights(&self) -> Vec<f64> {
        let rows = self.input.batch.rows();
        let implied = match self.input.options.reduction {
            Reduction::Mean => 1.0 / rows as f64,
            _ => 1.0,
        };
        match &self.weights {
            Some(weights) => weights.iter().map(|&weight| f64::from(weight) * implied).collect(),
            None => vec![implied; rows],
        }
    }

    /// Panics unless the gradients have the reference's bits, where they are not added to something, and are its more
    /// accurate ones up to `f64` rounding and one rounding to `f32`.
    fn check(&self, sides: &Sides) {
        let (options, weights) = (self.input.options, self.weights());
        if !self.accumulate {
            let batch = self.input.batch.batch();
            let rows = reference::row_stats(batch, options.negatives).expect("finite rows");
            let expected = reference::gradients(batch, &rows, options.margin, &weights);
            assert_eq!(sides, &Sides(expected.map(|values| bits(&values))), "not the reference's bits");
        }
        let (batch, dim) = (self.input.batch.batch(), self.input.batch.dim);
        let accurate = reference::backward(batch, options.margin, options.negatives, &weights).expect("finite rows");
        // The derivatives by the similarities of one row add up to less than this; what is excluded is in a sum from
        // which it is taken away.
        let canceled = if self.input.batch.excluding == Excluding::Nothing { 1 } else { batch.candidates() };
        let scale = 6.0 * canceled as f64 * weights.iter().map(|weight| weight.abs()).sum::<f64>();
        for (((_, rows), expected), actual) in self.sides().into_iter().zip(&accurate).zip(&sides.0) {
            let rows = rows.chunks(dim).zip(expected.chunks(dim));
            for ((row, expected), actual) in rows.zip(actual.chunks(dim)) {
                let norm = reference::norm(row);
                let noise = if norm == 0.0 { 0.0 } else { 5e-15 * scale / norm };
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
    let mut first: Option<Sides> = None;
    for (what, plan) in ways(case.input.options.plan()) {
        for calls in [1, 2] {
            let (answer, sides) = case.run(plan, calls, &mut workspace);
            match error {
                Some(error) if calls == 1 => assert_eq!(answer, Err(error), "{what}"),
                // The forward pass may find something else first, and succeed.
                Some(_) => assert!(answer.is_err(), "{what}, two calls: an error is expected"),
                None => oracle::check(&forward, &answer, &what),
            }
            if error.is_some() {
                let untouched = sides.0.iter().flatten().all(|&bits| bits == PATTERN.to_bits());
                assert!(untouched, "{what}: something was written before an error");
            }
            assert_eq!(*first.get_or_insert_with(|| sides.clone()), sides, "{what}, {calls} calls");
        }
    }
    if let (None, Some(sides)) = (error, &first) {
        case.check(sides);
    }
});
