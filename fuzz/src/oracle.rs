//! What must hold: the reference's bits or the reference's error, on every backend, with every screen, and on every
//! number of threads.

use hardneg::{Backend, Error, Loss, RowStats, Screen, Side, TripletLoss, Workspace, reference};

use crate::common::{all_threads, assert_loss, assert_rows, bits};
use crate::input::{Input, Matrix};

/// What buffers hold before a call, and after one that failed.
pub const PATTERN: f32 = 123.25;

/// Every way to run `plan` that must not change a bit, with its name.
pub fn ways(plan: TripletLoss) -> impl Iterator<Item = (String, TripletLoss)> {
    Screen::all().flat_map(move |screen| {
        threads_and_backends(plan.screen(screen)).map(move |(name, plan)| (format!("{name}, {screen:?}"), plan))
    })
}

/// Those ways without the screens, which a matrix of similarities does not need.
fn threads_and_backends(plan: TripletLoss) -> impl Iterator<Item = (String, TripletLoss)> {
    Backend::available().flat_map(move |backend| {
        let name = move |threads| (format!("{backend}, {threads:?}"), plan.backend(backend).threads(threads));
        all_threads().into_iter().map(name)
    })
}

/// Panics unless a call with its rows is the reference's answer.
pub fn check(
    expected: &Result<(Loss, Vec<RowStats>), Error>,
    actual: Result<Loss, Error>,
    rows: &[RowStats],
    what: &str,
) {
    match (expected, actual) {
        (Ok((loss, expected)), Ok(actual)) => {
            assert_rows(expected, rows, what);
            assert_loss(loss, &actual, what);
        }
        (Err(expected), Err(actual)) => {
            assert_eq!(*expected, actual, "{what}");
            assert!(rows.is_empty(), "{what}: rows of a call that failed");
        }
        (expected, actual) => panic!("{what}: {expected:?} against {actual:?}"),
    }
}

/// Panics unless two calls answered alike, with these rows.
pub fn check_alike(
    expected: &(Result<Loss, Error>, &[RowStats]),
    actual: &(Result<Loss, Error>, &[RowStats]),
    what: &str,
) {
    // Debug, as a NaN margin is not equal to itself.
    assert_eq!(format!("{:?}", expected.0), format!("{:?}", actual.0), "{what}");
    if let (Ok(expected), Ok(actual)) = (&expected.0, &actual.0) {
        assert_loss(expected, actual, what);
    }
    assert_rows(expected.1, actual.1, what);
}

/// What the reference says of a batch.
#[must_use]
pub fn forward(input: &Input) -> Result<(Loss, Vec<RowStats>), Error> {
    let options = input.options;
    reference::forward(input.batch()?, options.margin, options.negatives, options.reduction)
}

/// What the reference says of a matrix; it knows no errors, but the first row that is not finite is one.
#[must_use]
pub fn matrix(matrix: &Matrix) -> Result<(Loss, Vec<RowStats>), Error> {
    if let Some(element) = matrix.data.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite { side: Side::Similarities, row: element / matrix.columns });
    }
    let options = matrix.options;
    let positives = matrix.pairing.indices(matrix.rows);
    let rows = reference::row_stats_from_similarities(&matrix.data, &positives, options.negatives);
    Ok((reference::loss(&rows, options.margin, options.reduction), rows))
}

/// Panics unless the forward pass is the reference's on every way to run.
pub fn check_forward(input: &Input, workspace: &mut Workspace) {
    let expected = forward(input);
    for (what, plan) in ways(input.options.plan()) {
        let actual = plan.forward(input.batch().expect("a good shape"), workspace);
        check(&expected, actual, workspace.row_stats(), &what);
    }
}

/// Panics unless mining from similarities is the reference's.
pub fn check_matrix(input: &Matrix, workspace: &mut Workspace) {
    let expected = matrix(input);
    for (what, plan) in threads_and_backends(input.options.plan()) {
        let similarities = input.similarities().expect("a good shape");
        let actual = plan.forward_from_similarities(similarities, workspace);
        check(&expected, actual, workspace.row_stats(), &what);
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
    let (x, y) = (&input.anchors[..input.dim], &input.candidates[..input.dim]);
    let both = first_bad(&[(Side::Anchors, x), (Side::Candidates, y)], input.dim);
    let one = first_bad(&[(Side::Anchors, x)], input.dim);
    for backend in Backend::available() {
        let dot = both.map_or(Ok(reference::dot(x, y).to_bits()), Err);
        assert_eq!(dot, backend.dot(x, y).map(f64::to_bits), "{backend}: dot");
        let cosine = both.map_or(Ok(reference::cosine_similarity(x, y).to_bits()), Err);
        assert_eq!(cosine, backend.cosine_similarity(x, y).map(f32::to_bits), "{backend}: cosine_similarity");
        let norm = one.map_or(Ok(reference::norm(x).to_bits()), Err);
        assert_eq!(norm, backend.norm(x).map(f64::to_bits), "{backend}: norm");
        let unit = if one.is_none() { reference::normalize(x) } else { vec![PATTERN; input.dim] };
        let mut output = vec![PATTERN; input.dim];
        assert_eq!(one.map_or(Ok(()), Err), backend.normalize_into(x, &mut output), "{backend}: normalize_into");
        assert_eq!(bits(&unit), bits(&output), "{backend}: normalize_into");
    }
}

/// Panics unless the similarity matrix is the reference's.
pub fn check_similarities(input: &Input) {
    let (anchors, candidates, dim) = (&input.anchors, &input.candidates, input.dim);
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
