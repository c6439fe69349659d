//! Bad input is a typed error before anything is written; input that only looks bad gets the right answer.

mod unusual;

use hardneg::{
    Backend, Batch, Error, Loss, Negatives, Positives, Side, SimilarityMatrix, TripletLoss, Workspace, reference,
    triplet_loss,
};

use crate::common::{ALL_DATA, Data, OwnedBatch, Random, assert_loss, check_forward, ways};

const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// What output buffers hold before a call, and after one that failed.
const PATTERN: f32 = 123.25;

/// The places at which a bad element is put: first, middle and last element of the first, middle and last row.
fn places(rows: usize, dim: usize) -> impl Iterator<Item = (usize, usize)> {
    [0, rows / 2, rows - 1].into_iter().flat_map(move |row| [0, dim / 2, dim - 1].map(|k| (row, k)))
}

/// Every way to run fails, with a workspace that held rows.
fn assert_forward_fails(batch: Batch<'_>, margin: f32, expected: &str) {
    let good = [1.0, 0.0, 0.0, 1.0];
    for (way, plan) in ways(TripletLoss::new()) {
        let mut workspace = Workspace::new();
        let _ = plan.forward(Batch::paired(&good, &good, 2).unwrap(), &mut workspace).unwrap();
        let error = plan.margin(margin).forward(batch, &mut workspace).unwrap_err();
        assert_eq!(format!("{error:?}"), expected, "{way}");
    }
}

fn from_similarities(data: &[f32], rows: usize, columns: usize, positives: Positives<'_>) -> Result<Loss, Error> {
    let matrix = SimilarityMatrix::new(data, rows, columns, positives)?;
    Ok(TripletLoss::new().forward_from_similarities(matrix, &mut Workspace::new())?.loss())
}

/// `similarity_matrix_into` on every backend fails and leaves the buffer alone.
fn assert_matrix_fails(anchors: &[f32], candidates: &[f32], dim: usize, output: usize, expected: Error) {
    for backend in Backend::available() {
        let mut buffer = vec![PATTERN; output];
        let error = backend.similarity_matrix_into(anchors, candidates, dim, &mut buffer).unwrap_err();
        assert_eq!(error, expected, "{backend}");
        assert!(buffer.iter().all(|&value| value == PATTERN), "{backend}: something was written");
    }
}

/// `normalize_into` on every backend fails and leaves the buffer alone.
fn assert_normalize_fails(row: &[f32], output: usize, expected: Error) {
    for backend in Backend::available() {
        let mut buffer = vec![PATTERN; output];
        assert_eq!(backend.normalize_into(row, &mut buffer), Err(expected), "{backend}");
        assert!(buffer.iter().all(|&value| value == PATTERN), "{backend}: something was written");
    }
}

/// `dot` and `cosine_similarity` on every backend fail.
fn assert_pair_fails(x: &[f32], y: &[f32], expected: Error) {
    for backend in Backend::available() {
        assert_eq!(backend.dot(x, y), Err(expected), "{backend}");
        assert_eq!(backend.cosine_similarity(x, y), Err(expected), "{backend}");
    }
}

fn length(side: Side, expected: usize, actual: usize) -> Error {
    Error::Length { side, expected, actual }
}

fn partial(side: Side, dim: usize, actual: usize) -> Error {
    Error::PartialRow { side, dim, actual }
}

/// Batches that the constructors refuse, with the first thing that is wrong.
#[test]
fn lengths_of_batches() {
    let data = [1.0; 24];
    let refused = |anchors: usize, candidates: usize, dim: usize| {
        Batch::new(&data[..anchors], &data[..candidates], dim, Positives::Identity).unwrap_err()
    };
    assert_eq!(refused(11, 24, 4), partial(Side::Anchors, 4, 11));
    assert_eq!(refused(13, 24, 4), partial(Side::Anchors, 4, 13));
    assert_eq!(refused(12, 23, 4), partial(Side::Candidates, 4, 23));
    assert_eq!(refused(12, 21, 4), partial(Side::Candidates, 4, 21));
    assert_eq!(refused(13, 23, 4), partial(Side::Anchors, 4, 13));
    assert_eq!(refused(24, 24, 25), partial(Side::Anchors, 25, 24));
    assert_eq!(refused(24, 12, 24), partial(Side::Candidates, 24, 12));
    assert_eq!(refused(24, 24, usize::MAX), partial(Side::Anchors, usize::MAX, 24));

    let unpaired = |anchors: usize, positives: usize, dim: usize| {
        Batch::paired(&data[..anchors], &data[..positives], dim).unwrap_err()
    };
    assert_eq!(unpaired(11, 11, 4), partial(Side::Anchors, 4, 11));
    for other in [0, 4, 8, 11, 13, 16] {
        assert_eq!(unpaired(12, other, 4), length(Side::Positives, 12, other));
    }
    assert!(Batch::new(&data, &data[..12], 4, Positives::Indices(&[0, 1, 2, 0, 1, 2])).is_ok());
}

#[test]
fn empty_sides_and_no_dim() {
    let data = [1.0; 12];
    let (anchors, candidates) = (Error::Empty { side: Side::Anchors }, Error::Empty { side: Side::Candidates });
    for positives in [Positives::Identity, Positives::Offset(0), Positives::Indices(&[])] {
        assert_eq!(Batch::new(&data, &data, 0, positives).unwrap_err(), Error::ZeroDim);
        assert_eq!(Batch::new(&[], &[], 0, positives).unwrap_err(), Error::ZeroDim);
        assert_eq!(Batch::new(&[], &data, 4, positives).unwrap_err(), anchors);
        assert_eq!(Batch::new(&data, &[], 4, positives).unwrap_err(), candidates);
        assert_eq!(Batch::new(&[], &[], 4, positives).unwrap_err(), anchors);
        assert_eq!(SimilarityMatrix::new(&[], 0, 0, positives).unwrap_err(), anchors);
        assert_eq!(SimilarityMatrix::new(&data, 0, 4, positives).unwrap_err(), anchors);
        assert_eq!(SimilarityMatrix::new(&data, 3, 0, positives).unwrap_err(), candidates);
    }
    assert_eq!(Batch::paired(&data, &data, 0).unwrap_err(), Error::ZeroDim);
    assert_eq!(Batch::paired(&[], &[], 4).unwrap_err(), anchors);
    assert_eq!(SimilarityMatrix::square(&[], 0).unwrap_err(), anchors);
    let nothing = TripletLoss::new().reduce(&[]).unwrap_err();
    assert_eq!(nothing, Error::Empty { side: Side::RowStats });
}

#[test]
fn a_single_candidate() {
    let data = [1.0; 12];
    assert_eq!(Batch::paired(&data, &data, 12).unwrap_err(), Error::NoNegative);
    for positives in [Positives::Identity, Positives::Offset(0), Positives::Indices(&[0, 0, 0]), Positives::Offset(7)] {
        assert_eq!(Batch::new(&data, &data[..4], 4, positives).unwrap_err(), Error::NoNegative);
        assert_eq!(SimilarityMatrix::new(&data[..3], 3, 1, positives).unwrap_err(), Error::NoNegative);
    }
    assert_eq!(SimilarityMatrix::square(&data[..1], 1).unwrap_err(), Error::NoNegative);
}

/// For batches and for matrices of similarities, of 3 anchors and 5 candidates.
fn assert_positives_fail(positives: Positives<'_>, expected: Error) {
    let data = [1.0; 15];
    assert_eq!(Batch::new(&data[..6], &data[..10], 2, positives).unwrap_err(), expected);
    assert_eq!(from_similarities(&data, 3, 5, positives), Err(expected));
}

#[test]
fn positives_out_of_range() {
    let at = |row, index| Error::PositiveOutOfRange { row, index, candidates: 5 };
    assert_positives_fail(Positives::Indices(&[5, 0, 0]), at(0, 5));
    assert_positives_fail(Positives::Indices(&[0, 9, 9]), at(1, 9));
    assert_positives_fail(Positives::Indices(&[4, 4, usize::MAX]), at(2, usize::MAX as i128));
    assert_positives_fail(Positives::IndicesU32(&[4, 4, 5]), at(2, 5));
    assert_positives_fail(Positives::IndicesU32(&[4, u32::MAX, 5]), at(1, u32::MAX.into()));
    assert_positives_fail(Positives::IndicesI64(&[5, -1, 0]), at(0, 5));
    assert_positives_fail(Positives::IndicesI64(&[0, -1, 9]), at(1, -1));
    assert_positives_fail(Positives::IndicesI64(&[0, 0, i64::MIN]), at(2, i64::MIN.into()));
    assert_positives_fail(Positives::IndicesI64(&[0, i64::MAX, 0]), at(1, i64::MAX.into()));
    assert_positives_fail(Positives::Offset(3), at(2, 5));
    assert_positives_fail(Positives::Offset(4), at(1, 5));
    assert_positives_fail(Positives::Offset(5), at(0, 5));
    assert_positives_fail(Positives::Offset(6), at(0, 6));
    assert_positives_fail(Positives::Offset(usize::MAX - 1), at(0, usize::MAX as i128 - 1));
    assert_positives_fail(Positives::Offset(usize::MAX), at(0, usize::MAX as i128));
    for indices in [&[][..], &[0; 2], &[0; 4], &[9; 2]] {
        let wrong = length(Side::PositiveIndices, 3, indices.len());
        assert_positives_fail(Positives::Indices(indices), wrong);
        let (narrow, signed): (Vec<u32>, Vec<i64>) = indices.iter().map(|&index| (index as u32, index as i64)).unzip();
        assert_positives_fail(Positives::IndicesU32(&narrow), wrong);
        assert_positives_fail(Positives::IndicesI64(&signed), wrong);
    }
    // More anchors than candidates, paired one to one.
    let identity = Batch::new(&[1.0; 6], &[1.0; 4], 2, Positives::Identity).unwrap_err();
    assert_eq!(identity, Error::PositiveOutOfRange { row: 2, index: 2, candidates: 2 });
    assert!(Batch::new(&[1.0; 6], &[1.0; 10], 2, Positives::Offset(2)).is_ok());
}

#[test]
fn lengths_of_similarities() {
    let data = [0.5; 20];
    for actual in [0, 1, 14, 16, 20] {
        let error = from_similarities(&data[..actual], 3, 5, Positives::Identity);
        assert_eq!(error, Err(length(Side::Similarities, 15, actual)));
    }
    assert_eq!(SimilarityMatrix::square(&data[..15], 4).unwrap_err(), length(Side::Similarities, 16, 15));
    let (half, root) = (usize::MAX / 2 + 1, 1 << (usize::BITS / 2));
    for (rows, columns) in [(usize::MAX, 2), (2, usize::MAX), (half, 2), (usize::MAX, usize::MAX), (root, root)] {
        let error = SimilarityMatrix::new(&data, rows, columns, Positives::Identity).unwrap_err();
        assert_eq!(error, Error::SizeOverflow { side: Side::Similarities, rows, columns });
    }
    // One less still fits into a number, but not into the slice.
    let error = SimilarityMatrix::new(&data, usize::MAX / 2, 2, Positives::Identity).unwrap_err();
    assert_eq!(error, length(Side::Similarities, usize::MAX - 1, 20));
}

/// A bad element anywhere on one side: the error names the row.
#[test]
fn rows_that_are_not_finite() {
    for (rows, candidates, dim) in [(3, 5, 4), (200, 390, 41)] {
        let good = Data::Random.batch(1, rows, candidates, dim);
        let check = |bad: &OwnedBatch, expected: Error| {
            assert_forward_fails(bad.batch(), 0.25, &format!("{expected:?}"));
            assert_eq!(reference::row_stats(bad.batch(), Negatives::Below).unwrap_err(), expected);
        };
        for (turn, (row, k)) in places(rows, dim).enumerate() {
            let mut bad = good.clone();
            bad.anchors[row * dim + k] = BAD[turn % 3];
            check(&bad, Error::NotFinite { side: Side::Anchors, row });
        }
        for (turn, (row, k)) in places(candidates, dim).enumerate() {
            let mut bad = good.clone();
            bad.candidates[row * dim + k] = BAD[turn % 3];
            check(&bad, Error::NotFinite { side: Side::Candidates, row });
        }
    }
}

/// Several bad rows: the first one is named, and anchors come before candidates.
#[test]
fn the_first_bad_row() {
    let mut bad = Data::Random.batch(2, 60, 250, 20);
    for row in [201, 220, 249] {
        bad.candidates[row * 20 + 3] = f32::NAN;
    }
    assert_forward_fails(bad.batch(), 0.25, "NotFinite { side: Candidates, row: 201 }");
    for row in [17, 18, 59] {
        bad.anchors[row * 20 + 19] = f32::INFINITY;
    }
    assert_forward_fails(bad.batch(), 0.25, "NotFinite { side: Anchors, row: 17 }");
    // Infinities of both signs, and of one sign on both sides, must not cancel or hide behind a zero.
    let infinite = [f32::INFINITY, f32::NEG_INFINITY, 0.0, 0.0];
    let batch = Batch::paired(&infinite, &infinite, 2).unwrap();
    assert_forward_fails(batch, 0.25, "NotFinite { side: Anchors, row: 0 }");
    let zeros = [0.0; 4];
    let batch = Batch::paired(&zeros, &infinite, 2).unwrap();
    assert_forward_fails(batch, 0.25, "NotFinite { side: Positives, row: 0 }");
    let batch = Batch::new(&zeros, &infinite, 2, Positives::Identity).unwrap();
    assert_forward_fails(batch, 0.25, "NotFinite { side: Candidates, row: 0 }");
}

#[test]
fn margins_that_are_not_finite() {
    let mut input = Data::Random.batch(3, 5, 7, 4);
    let matrix = input.candidates[..6].to_vec();
    let matrix = SimilarityMatrix::new(&matrix, 2, 3, Positives::Identity).unwrap();
    let mut workspace = Workspace::new();
    for margin in BAD {
        let expected = format!("{:?}", Error::MarginNotFinite { margin });
        assert_forward_fails(input.batch(), margin, &expected);
        let plan = TripletLoss::new();
        let forward = plan.forward(input.batch(), &mut workspace).unwrap();
        let reduced = plan.margin(margin).reduce(forward.row_stats()).unwrap_err();
        assert_eq!(format!("{reduced:?}"), expected);
        let mined = plan.margin(margin).forward_from_similarities(matrix, &mut workspace).unwrap_err();
        assert_eq!(format!("{mined:?}"), expected);
    }
    // Options come before rows.
    input.candidates[0] = f32::NAN;
    assert_forward_fails(input.batch(), f32::INFINITY, "MarginNotFinite { margin: inf }");
}

#[test]
fn margins_that_are_finite() {
    let input = Data::Random.batch(4, 30, 40, 8);
    let batch = input.batch();
    for margin in [f32::MAX, f32::MIN, 0.0, -0.0, -0.5, 1e-45, 2.0] {
        let (expected, _) = reference::forward(batch, margin, Negatives::Below, hardneg::Reduction::Sum).unwrap();
        let actual = TripletLoss::new().margin(margin).forward(batch, &mut Workspace::new()).unwrap().loss();
        assert_loss(&expected, &actual, &format!("margin {margin}"));
        assert!(actual.loss.is_finite());
    }
}

#[test]
fn similarities_that_are_not_finite() {
    let good = Random(5).rows(9, 6);
    for (turn, (row, k)) in places(9, 6).enumerate() {
        let mut bad = good.clone();
        bad[row * 6 + k] = BAD[turn % 3];
        let indices = [5, 0, 3, 3, 2, 1, 0, 5, 4];
        let error = from_similarities(&bad, 9, 6, Positives::Indices(&indices));
        assert_eq!(error, Err(Error::NotFinite { side: Side::Similarities, row }));
    }
}

#[test]
fn vectors_of_wrong_length() {
    let data = [1.0; 40];
    for (x, y) in [(0, 0), (0, 1)] {
        assert_pair_fails(&data[..x], &data[..y], Error::ZeroDim);
    }
    for (x, y) in [(1, 0), (1, 2), (2, 1), (39, 40), (40, 39)] {
        assert_pair_fails(&data[..x], &data[..y], length(Side::Candidates, x, y));
    }
    for backend in Backend::available() {
        assert_eq!(backend.norm(&[]), Err(Error::ZeroDim), "{backend}");
    }
    assert_normalize_fails(&[], 0, Error::ZeroDim);
    assert_normalize_fails(&[], 3, Error::ZeroDim);
    for (row, output) in [(1, 0), (1, 2), (40, 39), (39, 40)] {
        assert_normalize_fails(&data[..row], output, length(Side::Output, row, output));
    }
}

#[test]
fn vectors_that_are_not_finite() {
    for dim in [1, 2, 31, 32, 33, 100] {
        let good = Random(6).rows(1, dim);
        for (turn, k) in [0, dim / 2, dim - 1].into_iter().enumerate() {
            let mut bad = good.clone();
            bad[k] = BAD[turn];
            let (first, second) = (not_finite(Side::Anchors, 0), not_finite(Side::Candidates, 0));
            assert_pair_fails(&bad, &good, first);
            assert_pair_fails(&good, &bad, second);
            assert_pair_fails(&bad, &bad, first);
            // A zero beside it must not hide it.
            assert_pair_fails(&vec![0.0; dim], &bad, second);
            for backend in Backend::available() {
                assert_eq!(backend.norm(&bad), Err(first), "{backend}");
            }
            assert_normalize_fails(&bad, dim, first);
        }
    }
    // A wrong length is seen before a bad element.
    assert_normalize_fails(&[f32::NAN; 3], 2, length(Side::Output, 3, 2));
    assert_pair_fails(&[f32::NAN; 3], &[1.0; 2], length(Side::Candidates, 3, 2));
}

fn not_finite(side: Side, row: usize) -> Error {
    Error::NotFinite { side, row }
}

#[test]
fn matrices_of_wrong_size_or_not_finite() {
    let data = [1.0; 24];
    assert_matrix_fails(&data, &data, 0, 9, Error::ZeroDim);
    assert_matrix_fails(&[], &data, 4, 9, Error::Empty { side: Side::Anchors });
    assert_matrix_fails(&data, &[], 4, 9, Error::Empty { side: Side::Candidates });
    assert_matrix_fails(&data[..11], &data, 4, 18, partial(Side::Anchors, 4, 11));
    assert_matrix_fails(&data[..12], &data[..23], 4, 18, partial(Side::Candidates, 4, 23));
    assert_matrix_fails(&data[..12], &data, 13, 1, partial(Side::Anchors, 13, 12));
    for output in [0, 17, 19, 36] {
        assert_matrix_fails(&data[..12], &data, 4, output, length(Side::Output, 18, output));
    }
    let OwnedBatch { anchors, candidates, .. } = Data::Random.batch(7, 5, 150, 6);
    for (turn, (row, k)) in places(5, 6).enumerate() {
        let mut bad = anchors.clone();
        bad[row * 6 + k] = BAD[turn % 3];
        assert_matrix_fails(&bad, &candidates, 6, 750, not_finite(Side::Anchors, row));
    }
    for (turn, (row, k)) in places(150, 6).enumerate() {
        let mut bad = candidates.clone();
        bad[row * 6 + k] = BAD[turn % 3];
        assert_matrix_fails(&anchors, &bad, 6, 750, not_finite(Side::Candidates, row));
    }
    let bad = [f32::NAN; 12];
    assert_matrix_fails(&bad, &bad, 4, 9, not_finite(Side::Anchors, 0));
    assert_matrix_fails(&bad, &bad, 4, 8, length(Side::Output, 9, 8));
}

#[test]
fn a_hinge_does_not_hide_nan() {
    assert!(triplet_loss(f32::NAN, 0.5, 0.25).is_nan());
    assert!(triplet_loss(0.5, f32::NAN, 0.25).is_nan());
    assert!(triplet_loss(0.5, 0.5, f32::NAN).is_nan());
    assert_eq!(triplet_loss(0.5, 0.25, 0.25).to_bits(), 0);
    assert_eq!(triplet_loss(0.5, 0.5, 0.25), 0.25);
    assert_eq!(triplet_loss(0.9, -0.9, 0.25).to_bits(), 0);
}

/// A message says what is wrong, where, and with which numbers.
#[test]
fn messages() {
    let messages = [
        (length(Side::Candidates, 12, 11), "candidates: expected 12 elements, got 11"),
        (partial(Side::Anchors, 4, 11), "anchors: expected a multiple of dim 4, got 11 elements"),
        (not_finite(Side::Anchors, 17), "anchors: row 17 holds a NaN or an infinity"),
        (not_finite(Side::Positives, 0), "positives: row 0 holds a NaN or an infinity"),
        (length(Side::PositiveIndices, 3, 2), "positive indices: expected 3 elements, got 2"),
        (Error::MarginNotFinite { margin: f32::INFINITY }, "the margin is inf"),
        (Error::SimilarityNotFinite { similarity: f32::NAN }, "a similarity is NaN"),
        (
            Error::PositiveOutOfRange { row: 1, index: -1, candidates: 5 },
            "row 1: its positive is candidate -1, but there are 5 candidates",
        ),
        (
            Error::PositiveOutOfRange { row: 2, index: 9, candidates: 5 },
            "row 2: its positive is candidate 9, but there are 5 candidates",
        ),
    ];
    for (error, message) in messages {
        assert_eq!(error.to_string(), message);
    }
}

/// An error in one call costs the next one nothing.
#[test]
fn good_calls_after_bad_ones() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        let good = data.batch(9, 40, 50, 12);
        let mut bad = good.clone();
        bad.candidates[599] = f32::NAN;
        assert!(TripletLoss::new().forward(bad.batch(), &mut workspace).is_err());
        check_forward(good.batch(), Negatives::Below, &mut workspace, &format!("{data:?} after an error"));
    }
}
