//! What must hold: the reference's bits or the reference's error, on every backend, with every screen, and on every
//! number of threads.

use hardneg::{Backend, Error, Forward, ForwardFromSimilarities, Loss, RowStats, Side, Workspace, reference};

use crate::common::{assert_loss, assert_rows, bits, ways, ways_of_one_screen};
use crate::input::{Input, Matrix};

/// What buffers hold before a call, and after one that failed.
pub const PATTERN: f32 = 123.25;

/// The loss of a call with the statistics of its rows, or its error.
pub type Answer = Result<(Loss, Vec<RowStats>), Error>;

/// The answer of a forward pass.
pub fn of_rows(forward: Result<Forward<'_, '_>, Error>) -> Answer {
    forward.map(|forward| (forward.loss(), forward.row_stats().to_vec()))
}

/// The answer of a forward pass from similarities.
pub fn of_similarities(forward: Result<ForwardFromSimilarities<'_>, Error>) -> Answer {
    forward.map(|forward| (forward.loss(), forward.row_stats().to_vec()))
}

/// Panics unless both answers are the same, bit for bit.
pub fn check(expected: &Answer, actual: &Answer, what: &str) {
    match (expected, actual) {
        (Ok((expected_loss, expected_rows)), Ok((loss, rows))) => {
            assert_rows(expected_rows, rows, what);
            assert_loss(expected_loss, loss, what);
        }
        // Debug, as a NaN margin is not equal to itself.
        (Err(expected), Err(actual)) => assert_eq!(format!("{expected:?}"), format!("{actual:?}"), "{what}"),
        (expected, actual) => panic!("{what}: {expected:?} against {actual:?}"),
    }
}

/// What the reference says of a batch.
#[must_use]
pub fn forward(input: &Input) -> Answer {
    let options = input.options;
    reference::forward(input.batch.try_batch()?, options.margin, options.negatives, options.reduction)
}

/// What the reference says of a matrix; it knows no errors, but the first row that is not finite is one.
#[must_use]
pub fn matrix(matrix: &Matrix) -> Answer {
    if let Some(element) = matrix.data.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite { side: Side::Similarities, row: element / matrix.columns });
    }
    let options = matrix.options;
    let rows = reference::row_stats_from_similarities(matrix.similarities()?, options.negatives);
    Ok((reference::loss(&rows, options.margin, options.reduction), rows))
}

/// Panics unless the forward pass is the reference's on every way to run.
pub fn check_forward(input: &Input, workspace: &mut Workspace) {
    let expected = forward(input);
    for (what, plan) in ways(input.options.plan()) {
        check(&expected, &of_rows(plan.forward(input.batch.batch(), workspace)), &what);
    }
}

/// Panics unless mining from similarities is the reference's.
pub fn check_matrix(input: &Matrix, workspace: &mut Workspace) {
    let expected = matrix(input);
    for (what, plan) in ways_of_one_screen(input.options.plan()) {
        let similarities = input.similarities().expect("a good shape");
        let actual = plan.forward_from_similarities(similarities, workspace);
        check(&expected, &of_similarities(actual), &what);
    }
}

/// The error for the first of these sides that is not finite.
fn first_bad(sides: &[(Side, &[f32])], dim: usize) -> Option<Error> {
    let bad = |&(side, rows): &(Side, &[f32])| {
        let element = rows.iter().position(|value| !value.is_finite())?;
        Some(Error::NotFinite { side, row: element / dim })
    };
    sides.iter().find_map(bad)
}

/// Panics unless every kernel on the first row of each side is the reference's.
pub fn check_kernels(input: &Input) {
    let dim = input.batch.dim;
    let (x, y) = (&input.batch.anchors[..dim], &input.batch.candidates[..dim]);
    let both = first_bad(&[(Side::Anchors, x), (Side::Candidates, y)], dim);
    let one = first_bad(&[(Side::Anchors, x)], dim);
    for backend in Backend::available() {
        let dot = both.map_or(Ok(reference::dot(x, y).to_bits()), Err);
        assert_eq!(dot, backend.dot(x, y).map(f64::to_bits), "{backend}: dot");
        let cosine = both.map_or(Ok(reference::cosine_similarity(x, y).to_bits()), Err);
        assert_eq!(cosine, backend.cosine_similarity(x, y).map(f32::to_bits), "{backend}: cosine_similarity");
        let norm = one.map_or(Ok(reference::norm(x).to_bits()), Err);
        assert_eq!(norm, backend.norm(x).map(f64::to_bits), "{backend}: norm");
        let unit = if one.is_none() { reference::normalize(x) } else { vec![PATTERN; dim] };
        let mut output = vec![PATTERN; dim];
        assert_eq!(one.map_or(Ok(()), Err), backend.normalize_into(x, &mut output), "{backend}: normalize_into");
        assert_eq!(bits(&unit), bits(&output), "{backend}: normalize_into");
    }
}

/// Panics unless the similarity matrix is the reference's.
pub fn check_similarities(input: &Input) {
    let (anchors, candidates, dim) = (&input.batch.anchors, &input.batch.candidates, input.batch.dim);
    let bad = first_bad(&[(Side::Anchors, anchors), (Side::Candidates, candidates)], dim);
    let count = anchors.len() / dim * (candidates.len() / dim);
    let expected = match bad {
        None => reference::similarity_matrix(anchors, candidates, dim),
        Some(_) => vec![PATTERN; count],
    };
    for backend in Backend::available() {
        let mut output = vec![PATTERN; count];
        let result = backend.similarity_matrix_into(anchors, candidates, dim, &mut output);
        assert_eq!(bad.map_or(Ok(()), Err), result, "{backend}");
        assert_eq!(bits(&expected), bits(&output), "{backend}");
    }
}
