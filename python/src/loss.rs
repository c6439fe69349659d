//! The loss of a batch, with and without gradients.

use hardneg::{Bank, Batch, Error, Gradients, Negatives, Positives, Reduction, Side, TripletLoss};
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadwriteArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::{self, Rows};
use crate::errors::{refused, unknown_option};
use crate::excluded::Excluded;
use crate::lists::Shape;
use crate::pools::Resources;
use crate::result::{RowArrays, TripletLossGradients, TripletLossResult};

/// The options of the loss, as Python gives them.
pub(crate) struct Options<'a> {
    pub(crate) margin: f64,
    pub(crate) negatives: &'a str,
    pub(crate) reduction: &'a str,
    pub(crate) threads: i64,
}

impl Options<'_> {
    fn resources(&self, py: Python<'_>) -> PyResult<(TripletLoss, Resources)> {
        let resources = Resources::new(py, self.threads)?;
        let loss = TripletLoss::new()
            .margin(self.margin as f32)
            .negatives(negatives_from(self.negatives)?)
            .reduction(self.reduction.parse::<Reduction>().map_err(unknown_option)?)
            .threads(resources.threads());
        Ok((loss, resources))
    }
}

/// The rule of this name; the words may be joined by `_` as well.
pub(crate) fn negatives_from(name: &str) -> PyResult<Negatives> {
    name.replace('_', "-").parse().map_err(unknown_option)
}

/// The positives of a batch.
enum Pairing<'py> {
    /// The positive of row i is candidate i.
    Paired,
    /// The indices of candidates.
    Indices(PyReadonlyArray1<'py, i64>),
    /// Rows that are no candidates.
    Outside(Rows<'py>),
}

impl<'py> Pairing<'py> {
    /// Rows from an array of two dimensions, indices from one of one.
    fn extract(positives: &Bound<'py, PyAny>) -> PyResult<Pairing<'py>> {
        match arrays::dimensions(positives)? {
            1 => Ok(Pairing::Indices(arrays::indices("positives", positives)?)),
            _ => Ok(Pairing::Outside(Rows::extract("positives", positives)?)),
        }
    }

    fn positives(&self) -> Positives<'_> {
        match self {
            Pairing::Paired => Positives::Identity,
            Pairing::Indices(indices) => Positives::IndicesI64(indices.as_slice().expect("it was made contiguous")),
            Pairing::Outside(rows) => Positives::Outside(rows.data()),
        }
    }

    fn outside(&self) -> Option<&Rows<'py>> {
        if let Pairing::Outside(rows) = self { Some(rows) } else { None }
    }
}

/// Where the candidates of a batch are.
enum Candidates<'py> {
    /// In the argument `positives`, or in `candidates`.
    Rows(Rows<'py>),
    /// In a bank.
    Bank,
}

/// The arguments of a call.
pub(crate) struct Inputs<'py> {
    anchors: Rows<'py>,
    pairing: Pairing<'py>,
    candidates: Candidates<'py>,
    excluded: Excluded<'py>,
}

/// The arguments of a call that may exclude candidates.
#[derive(Clone, Copy)]
pub(crate) struct Exclude<'a, 'py> {
    pub(crate) labels: Option<&'a Bound<'py, PyAny>>,
    pub(crate) lists: Option<&'a Bound<'py, PyAny>>,
}

impl<'py> Inputs<'py> {
    /// Pairs, or anchors with positives and candidates.
    fn of_rows(
        anchors: &Bound<'py, PyAny>,
        positives: &Bound<'py, PyAny>,
        candidates: Option<&Bound<'py, PyAny>>,
        exclude: Exclude<'_, 'py>,
    ) -> PyResult<Inputs<'py>> {
        let anchors = Rows::extract("anchors", anchors)?;
        let (pairing, candidates, side) = match candidates {
            None => (Pairing::Paired, Rows::extract("positives", positives)?, Side::Positives),
            Some(rows) => (Pairing::extract(positives)?, Rows::extract("candidates", rows)?, Side::Candidates),
        };
        check_dim(side, anchors.dim(), candidates.dim())?;
        let shape = Shape { rows: anchors.count(), candidates: candidates.count() };
        let is_paired = matches!(pairing, Pairing::Paired);
        let excluded = Excluded::extract(exclude.labels, exclude.lists, is_paired, shape)?;
        Inputs { anchors, pairing, candidates: Candidates::Rows(candidates), excluded }.checked()
    }

    /// Anchors with positives, against a bank of `candidates` rows.
    pub(crate) fn against_bank(
        anchors: &Bound<'py, PyAny>,
        positives: &Bound<'py, PyAny>,
        candidates: usize,
        exclude: Exclude<'_, 'py>,
    ) -> PyResult<Inputs<'py>> {
        let anchors = Rows::extract("anchors", anchors)?;
        let pairing = Pairing::extract(positives)?;
        let shape = Shape { rows: anchors.count(), candidates };
        let excluded = Excluded::extract(exclude.labels, exclude.lists, false, shape)?;
        Inputs { anchors, pairing, candidates: Candidates::Bank, excluded }.checked()
    }

    fn checked(self) -> PyResult<Inputs<'py>> {
        if let Some(rows) = self.pairing.outside() {
            check_dim(Side::Positives, self.anchors.dim(), rows.dim())?;
        }
        Ok(self)
    }

    /// The length of the anchors.
    pub(crate) fn dim(&self) -> usize {
        self.anchors.dim()
    }

    /// What of it needs no GIL.
    fn parts(&self) -> Parts<'_> {
        let candidates = match &self.candidates {
            Candidates::Rows(rows) => Some(rows.data()),
            Candidates::Bank => None,
        };
        let (positives, exclusions) = (self.pairing.positives(), self.excluded.exclusions());
        Parts { anchors: self.anchors.data(), dim: self.anchors.dim(), positives, candidates, exclusions }
    }
}

/// The arguments of a call as slices.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    anchors: &'a [f32],
    dim: usize,
    positives: Positives<'a>,
    /// `None` where they are in a bank.
    candidates: Option<&'a [f32]>,
    exclusions: hardneg::Exclusions<'a>,
}

impl<'a> Parts<'a> {
    /// The batch of rows that were passed.
    fn batch(self) -> Result<Batch<'a>, Error> {
        let candidates = self.candidates.unwrap_or_default();
        match self.positives {
            Positives::Identity => Batch::paired(self.anchors, candidates, self.dim),
            positives => Batch::new(self.anchors, candidates, self.dim, positives),
        }?
        .excluding(self.exclusions)
    }

    /// The batch against a bank.
    pub(crate) fn batch_against(self, bank: &'a Bank<'_>) -> Result<Batch<'a>, Error> {
        Batch::against(self.anchors, bank, self.positives)?.excluding(self.exclusions)
    }
}

/// Fails where the rows of a side have another length than the anchors.
pub(crate) fn check_dim(side: Side, expected: usize, actual: usize) -> PyResult<()> {
    if expected == actual { Ok(()) } else { Err(refused(Error::Length { side, expected, actual })) }
}

/// The loss of the batch that `make_batch` makes, without the GIL.
pub(crate) fn forward<'py>(
    py: Python<'py>,
    inputs: &Inputs<'py>,
    options: &Options<'_>,
    with_batch: impl FnOnce(Parts<'_>, &mut dyn FnMut(Batch<'_>) -> Result<(), Error>) -> Result<(), Error> + Send,
) -> PyResult<TripletLossResult> {
    let (loss, resources) = options.resources(py)?;
    let arrays = RowArrays::new(py, inputs.anchors.count());
    let mut borrows = arrays.borrow();
    let (mut rows, parts) = (borrows.slices(), inputs.parts());
    let mut total = hardneg::Loss::default();
    let outcome = resources.run_with_workspace(py, |workspace| {
        with_batch(parts, &mut |batch| {
            let forward = loss.forward(batch, workspace)?;
            rows.write(forward.row_stats());
            total = forward.loss();
            Ok(())
        })
    });
    outcome.map_err(refused)?;
    drop(borrows);
    Ok(arrays.into_result(total))
}

/// The modified triplet loss of a batch.
///
/// Row i of `anchors` (m, dim) belongs to row i of `positives` (m, dim); every other row of `positives` is a negative
/// of it. With `candidates` (n, dim), the negatives are their rows: all of them where `positives` are rows, all but the
/// positive where `positives` are m integers, the indices of the candidates that are the positives.
///
/// `negatives` says which may be the closest: "below" (less similar than the positive), "at-or-below" or "any".
/// `reduction` is "sum" or "mean". `labels` are m integers (with `candidates` a tuple of m and n): candidates with the
/// label of an anchor are no negatives of it. `exclude` are pairs (an integer array of two columns, anchor and
/// candidate, or a list of tuples) or a list of candidates for each anchor. `threads` is how many threads may be used.
///
/// Rows may be anything that numpy.asarray takes; C-contiguous float32 is not copied. Returns a TripletLossResult.
///
/// Raises ValueError where shapes disagree, an index is out of range, or a row is not finite, and TypeError where an
/// argument does not hold numbers.
#[pyfunction]
#[pyo3(signature = (anchors, positives, *, candidates=None, margin=0.25, negatives="below", reduction="sum",
    labels=None, exclude=None, threads=1))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn triplet_loss<'py>(
    py: Python<'py>,
    anchors: &Bound<'py, PyAny>,
    positives: &Bound<'py, PyAny>,
    candidates: Option<&Bound<'py, PyAny>>,
    margin: f64,
    negatives: &str,
    reduction: &str,
    labels: Option<&Bound<'py, PyAny>>,
    exclude: Option<&Bound<'py, PyAny>>,
    threads: i64,
) -> PyResult<TripletLossResult> {
    let inputs = Inputs::of_rows(anchors, positives, candidates, Exclude { labels, lists: exclude })?;
    forward(py, &inputs, &Options { margin, negatives, reduction, threads }, |parts, call| call(parts.batch()?))
}

/// The modified triplet loss of a batch, and its gradients with respect to the rows as they are, not normalised.
///
/// The arguments are those of triplet_loss. Returns a TripletLossGradients: the TripletLossResult with
/// `anchor_gradients`, `positive_gradients` and `candidate_gradients`, float32. The choice of the closest negative is
/// held fixed; a row at a hinge and a zero row have gradient 0.
#[pyfunction]
#[pyo3(signature = (anchors, positives, *, candidates=None, margin=0.25, negatives="below", reduction="sum",
    labels=None, exclude=None, threads=1))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn triplet_loss_and_gradients<'py>(
    py: Python<'py>,
    anchors: &Bound<'py, PyAny>,
    positives: &Bound<'py, PyAny>,
    candidates: Option<&Bound<'py, PyAny>>,
    margin: f64,
    negatives: &str,
    reduction: &str,
    labels: Option<&Bound<'py, PyAny>>,
    exclude: Option<&Bound<'py, PyAny>>,
    threads: i64,
) -> PyResult<Py<TripletLossGradients>> {
    let inputs = Inputs::of_rows(anchors, positives, candidates, Exclude { labels, lists: exclude })?;
    backward(py, &inputs, &Options { margin, negatives, reduction, threads })
}

fn backward<'py>(py: Python<'py>, inputs: &Inputs<'py>, options: &Options<'_>) -> PyResult<Py<TripletLossGradients>> {
    let Candidates::Rows(candidates) = &inputs.candidates else {
        return Err(PyTypeError::new_err("gradients of a bank's rows are not computed"));
    };
    let (loss, resources) = options.resources(py)?;
    // What is wrong with the shapes is said before memory is taken.
    inputs.parts().batch().map_err(refused)?;
    let zeros = |rows: &Rows<'_>| PyArray2::<f32>::zeros(py, [rows.count(), rows.dim()], false);
    let arrays = RowArrays::new(py, inputs.anchors.count());
    let (of_anchors, of_candidates) = (zeros(&inputs.anchors), zeros(candidates));
    let of_outside = inputs.pairing.outside().map(zeros);
    let mut borrows = arrays.borrow();
    let (mut by_anchors, mut by_candidates) = (of_anchors.readwrite(), of_candidates.readwrite());
    let mut by_outside = of_outside.as_ref().map(|array| array.readwrite());
    let (mut rows, parts) = (borrows.slices(), inputs.parts());
    let gradients = Gradients::new(slice(&mut by_anchors), slice(&mut by_candidates));
    let gradients = match &mut by_outside {
        Some(rows) => gradients.positives(slice(rows)),
        None => gradients,
    };
    let total = resources.run_with_workspace(py, |workspace| {
        let forward = loss.forward_backward(parts.batch()?, gradients, workspace)?;
        rows.write(forward.row_stats());
        Ok(forward.loss())
    });
    let total = total.map_err(refused)?;
    drop((borrows, by_anchors, by_candidates, by_outside));
    let (positive_gradients, candidate_gradients) = match &inputs.pairing {
        Pairing::Paired => (Some(of_candidates), None),
        _ => (of_outside, Some(of_candidates)),
    };
    let gradients = TripletLossGradients {
        anchor_gradients: of_anchors.unbind(),
        positive_gradients: positive_gradients.map(Bound::unbind),
        candidate_gradients: candidate_gradients.map(Bound::unbind),
    };
    Py::new(py, PyClassInitializer::from(arrays.into_result(total)).add_subclass(gradients))
}

fn slice<'a>(array: &'a mut PyReadwriteArray2<'_, f32>) -> &'a mut [f32] {
    array.as_slice_mut().expect("a new array is contiguous")
}
