//! The gradients of the anchors alone.

use hardneg::{Error, Gradients, Side, TripletLoss, Workspace};

use super::{both, input, run, weighted};
use crate::common::{Data, Random, assert_loss, bits, ways};

/// Without the candidates' side, the gradients of the anchors have the same bits, and no buffer of candidates is asked
/// for.
#[test]
fn gradients_of_the_anchors_alone() {
    for (data, rows, candidates, dim) in [
        (Data::Random, 1, 2, 3),
        (Data::CommonMean, 70, 90, 33),
        (Data::ZeroRows, 60, 50, 16),
        (Data::Scaled, 385, 200, 17),
    ] {
        let input = input(data, 36, rows, candidates, dim);
        let batch = input.batch();
        let weights = Random(9).rows(1, rows);
        for (way, plan) in ways(TripletLoss::new().margin(1.0)) {
            for weights in [None, Some(&weights[..])] {
                let mut workspace = Workspace::new();
                let (loss, [expected, _]) = run(plan, batch, weights);
                let mut alone = vec![7.5; batch.rows() * dim];
                let forward =
                    plan.forward_backward(batch, weighted(Gradients::of_anchors(&mut alone), weights), &mut workspace);
                let mut forward = forward.unwrap();
                assert_loss(&loss, &forward.loss(), &way);
                assert_eq!(bits(&expected), bits(&alone), "{data:?}, {way}");
                // Added to what is there, as with both sides.
                let mut pair = [alone.clone(), vec![0.0; batch.candidates() * dim]];
                forward.backward(both(&mut pair, weights).accumulate()).unwrap();
                forward.backward(weighted(Gradients::of_anchors(&mut alone), weights).accumulate()).unwrap();
                assert_eq!(bits(&pair[0]), bits(&alone), "{data:?}, {way}");
            }
        }
    }
}

#[test]
fn errors_of_gradients_of_the_anchors_alone() {
    let input = input(Data::Random, 37, 7, 9, 4);
    let mut workspace = Workspace::new();
    for wrong in [0, 27, 29, 36] {
        let mut buffer = vec![7.5; wrong];
        let expected = Error::Length { side: Side::AnchorGradients, expected: 28, actual: wrong };
        let gradients = Gradients::of_anchors(&mut buffer);
        let error = TripletLoss::new().forward_backward(input.batch(), gradients, &mut workspace).unwrap_err();
        assert_eq!(error, expected);
        let mut forward = TripletLoss::new().forward(input.batch(), &mut workspace).unwrap();
        assert_eq!(forward.backward(Gradients::of_anchors(&mut buffer)), Err(expected));
        assert!(buffer.iter().all(|&value| value == 7.5));
    }
    let mut buffer = vec![7.5; 28];
    let weights = [1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0, 1.0];
    let mut forward = TripletLoss::new().forward(input.batch(), &mut workspace).unwrap();
    let refused = forward.backward(Gradients::of_anchors(&mut buffer).weights(&weights));
    assert_eq!(refused, Err(Error::NotFinite { side: Side::Weights, row: 1 }));
    assert!(buffer.iter().all(|&value| value == 7.5));
}
