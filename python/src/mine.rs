//! Mining: the arguments, the call and its results.

use hardneg::{BankOptions, Error, Miner, Side};
use numpy::{Element, PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::arrays::Rows;
use crate::duplicates::Duplicates;
use crate::errors::refused;
use crate::excluded::Labels;
use crate::lists::{Lists, Meaning, Shape};
use crate::loss::{check_dim, negatives_from};
use crate::pieces::{Call, Corpus, Places, SMALL};
use crate::pools::{Resources, with_workspace};

/// The closest candidates of m queries.
///
/// `indices` is an (m, k) array of int64, -1 where fewer than k qualify; `similarities` an (m, k) array of float32, NaN
/// there; `counts` an array of m int64, how many were found.
#[pyclass(frozen, get_all, module = "hardneg")]
pub(crate) struct Mined {
    indices: Py<PyArray2<i64>>,
    similarities: Py<PyArray2<f32>>,
    counts: Py<PyArray1<i64>>,
}

#[pymethods]
impl Mined {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.indices.bind(py).getattr("shape")?.repr()?;
        let found = self.counts.bind(py).call_method0("sum")?;
        Ok(format!("Mined(shape={shape}, found={found})"))
    }
}

/// The options of mining, as Python gives them.
pub(crate) struct Options<'a> {
    pub(crate) k: i64,
    pub(crate) negatives: &'a str,
    pub(crate) absolute_margin: Option<f64>,
    pub(crate) relative_margin: Option<f64>,
    pub(crate) max_similarity: Option<f64>,
    pub(crate) min_similarity: Option<f64>,
    pub(crate) skip: i64,
    pub(crate) threads: i64,
    pub(crate) progress: bool,
}

impl Options<'_> {
    fn miner(&self, resources: &Resources) -> PyResult<Miner> {
        let mut miner = Miner::new().k(count("k", self.k)?).skip(count("skip", self.skip)?);
        miner = miner.negatives(negatives_from(self.negatives)?).threads(resources.threads());
        miner.absolute_margin = self.absolute_margin;
        miner.relative_margin = self.relative_margin;
        miner.max_similarity = self.max_similarity;
        miner.min_similarity = self.min_similarity;
        if miner.k == 0 { Err(refused(Error::ZeroK)) } else { Ok(miner) }
    }
}

fn count(argument: &str, value: i64) -> PyResult<usize> {
    usize::try_from(value)
        .map_err(|_| PyValueError::new_err(format!("{argument}: expected no less than 0, got {value}")))
}

/// The argument `positives`.
pub(crate) enum PositivesArgument<'py> {
    /// It was left out, which is "paired".
    Paired,
    Given(Bound<'py, PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for PositivesArgument<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<PositivesArgument<'py>> {
        Ok(PositivesArgument::Given(object.to_owned()))
    }
}

/// The known positives of the queries.
pub(crate) enum Known {
    None,
    /// Candidate i of query i.
    Paired,
    Lists(Lists),
}

impl Known {
    fn extract(argument: &PositivesArgument<'_>, shape: Shape) -> PyResult<Known> {
        let PositivesArgument::Given(object) = argument else { return Known::paired(shape) };
        if object.is_none() {
            return Ok(Known::None);
        }
        match object.cast::<PyString>() {
            Ok(name) if name == "paired" => Known::paired(shape),
            Ok(name) => {
                let message = format!("positives: expected \"paired\", pairs, lists or None, got \"{name}\"");
                Err(PyValueError::new_err(message))
            }
            Err(_) => Ok(Known::Lists(Lists::extract(Meaning::Positives, object, shape)?)),
        }
    }

    fn paired(Shape { rows, candidates }: Shape) -> PyResult<Known> {
        if rows <= candidates {
            return Ok(Known::Paired);
        }
        Err(refused(Error::PositiveOutOfRange { row: candidates, index: candidates as i128, candidates }))
    }

    pub(crate) fn of(&self, query: usize) -> impl Iterator<Item = usize> {
        let (one, list) = match self {
            Known::None => (None, &[][..]),
            Known::Paired => (Some(query), &[][..]),
            Known::Lists(lists) => (None, lists.of(query)),
        };
        one.into_iter().chain(list.iter().copied())
    }
}

/// The arguments that say which candidates are no negatives.
pub(crate) struct Knowledge<'py> {
    known: Known,
    /// For each query the smallest similarity with its known positives, where the candidates are a shard and the
    /// positives may be in another.
    similarities: Option<Vec<Option<f32>>>,
    labels: Option<Labels<'py>>,
    lists: Option<Lists>,
    distinct: bool,
}

/// These arguments, as Python gives them.
pub(crate) struct KnowledgeArguments<'a, 'py> {
    pub(crate) positives: &'a PositivesArgument<'py>,
    pub(crate) query_labels: Option<&'a Bound<'py, PyAny>>,
    pub(crate) corpus_labels: Option<&'a Bound<'py, PyAny>>,
    pub(crate) exclude: Option<&'a Bound<'py, PyAny>>,
    pub(crate) distinct: bool,
}

impl<'py> Knowledge<'py> {
    pub(crate) fn extract(arguments: KnowledgeArguments<'_, 'py>, shape: Shape) -> PyResult<Knowledge<'py>> {
        let KnowledgeArguments { positives, query_labels, corpus_labels, exclude, distinct } = arguments;
        let known = Known::extract(positives, shape)?;
        let labels = Labels::of_both(query_labels, corpus_labels)?;
        if let Some(labels) = &labels {
            check_labels(Side::AnchorLabels, shape.rows, labels.rows())?;
            check_labels(Side::CandidateLabels, shape.candidates, labels.candidates())?;
        }
        let lists = exclude.map(|lists| Lists::extract(Meaning::Exclusions, lists, shape)).transpose()?;
        Ok(Knowledge { known, similarities: None, labels, lists, distinct })
    }

    /// Sets the smallest similarity of each query with its known positives, NaN where it has none.
    pub(crate) fn with_similarities(self, similarities: &[f32]) -> Knowledge<'py> {
        let present = similarities.iter().map(|&similarity| (!similarity.is_nan()).then_some(similarity));
        Knowledge { similarities: Some(present.collect()), ..self }
    }

    fn parts(&self) -> KnowledgeParts<'_> {
        let labels = self.labels.as_ref().map(|labels| (labels.rows(), labels.candidates()));
        let similarities = self.similarities.as_deref();
        KnowledgeParts { known: &self.known, similarities, labels, lists: self.lists.as_ref(), distinct: self.distinct }
    }
}

fn check_labels(side: Side, expected: usize, labels: &[u64]) -> PyResult<()> {
    let actual = labels.len();
    if actual == expected { Ok(()) } else { Err(refused(Error::Length { side, expected, actual })) }
}

/// [`Knowledge`] as slices.
#[derive(Clone, Copy)]
pub(crate) struct KnowledgeParts<'a> {
    pub(crate) known: &'a Known,
    pub(crate) similarities: Option<&'a [Option<f32>]>,
    pub(crate) labels: Option<(&'a [u64], &'a [u64])>,
    pub(crate) lists: Option<&'a Lists>,
    pub(crate) distinct: bool,
}

/// An array of m rows of k places. Of a large one NumPy says where there is no memory for it.
fn places<'py, T: Element>(py: Python<'py>, rows: usize, k: usize) -> PyResult<Bound<'py, PyArray2<T>>> {
    const LARGE: usize = 1 << 24;
    if rows.saturating_mul(k) < LARGE {
        return Ok(PyArray2::zeros(py, [rows, k], false));
    }
    let zeros = py.import("numpy")?.getattr("zeros")?;
    Ok(zeros.call1(((rows, k), T::get_dtype(py)))?.cast_into()?)
}

/// Mines queries against candidates, which `with_corpus` lends without the GIL.
pub(crate) fn run<'py>(
    py: Python<'py>,
    queries: &Rows<'py>,
    knowledge: &Knowledge<'py>,
    options: &Options<'_>,
    with_corpus: impl FnOnce(&Resources, &mut dyn FnMut(Corpus<'_>) -> PyResult<()>) -> PyResult<()> + Send,
) -> PyResult<Mined> {
    let resources = Resources::new(py, options.threads)?;
    let miner = options.miner(&resources)?;
    let (rows, dim) = (queries.count(), queries.dim());
    let (indices, similarities) = (places::<i64>(py, rows, miner.k)?, places::<f32>(py, rows, miner.k)?);
    let counts = PyArray1::<i64>::zeros(py, rows, false);
    let (mut indices_out, mut similarities_out, mut counts_out) =
        (indices.readwrite(), similarities.readwrite(), counts.readwrite());
    let mut places = Places {
        k: miner.k,
        indices: indices_out.as_slice_mut()?,
        similarities: similarities_out.as_slice_mut()?,
        counts: counts_out.as_slice_mut()?,
    };
    let bar = Progress::new(py, options.progress, rows)?;
    let (queries, knowledge) = (queries.data(), knowledge.parts());
    let mut between = |done: usize| Python::attach(|py| bar.show(py, done).and_then(|()| py.check_signals()));
    // Python looks at signals on its own thread alone: only the pieces run in the pool.
    with_workspace(py, |workspace| {
        with_corpus(&resources, &mut |corpus| {
            let duplicates = knowledge.distinct.then(|| Duplicates::among(corpus.rows(), dim));
            let call =
                Call { miner, resources: &resources, queries, dim, corpus, knowledge, duplicates: duplicates.as_ref() };
            call.mine(workspace, &mut places, &mut between)
        })
    })?;
    drop((indices_out, similarities_out, counts_out));
    Ok(Mined { indices: indices.unbind(), similarities: similarities.unbind(), counts: counts.unbind() })
}

/// A line on the standard error that says how many queries are done.
struct Progress {
    stream: Option<Py<PyAny>>,
    total: usize,
}

impl Progress {
    fn new(py: Python<'_>, wanted: bool, total: usize) -> PyResult<Progress> {
        let stream = if wanted { Some(py.import("sys")?.getattr("stderr")?.unbind()) } else { None };
        Ok(Progress { stream, total })
    }

    fn show(&self, py: Python<'_>, done: usize) -> PyResult<()> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let (total, end) = (self.total, if done == self.total { "\n" } else { "" });
        stream.call_method1(py, intern!(py, "write"), (format!("\rmined {done} of {total} queries{end}"),))?;
        stream.call_method0(py, intern!(py, "flush")).map(|_| ())
    }
}

/// The k most similar rows of a corpus that qualify, for each query.
///
/// `queries` is (m, dim), `corpus` (n, dim), anything that numpy.asarray takes; C-contiguous float32 is not copied.
///
/// `positives` says which rows of the corpus are known positives of a query, and so no negatives: "paired" (row i of
/// query i), an integer array of two columns (query, row) or a list of such tuples, a list of rows for each query, or
/// None. With p the smallest similarity of a query with its known positives, a row of similarity s qualifies where
/// `negatives` ("below": s < p, "at-or-below": s <= p, "any"), `absolute_margin` (s + margin <= p), `relative_margin`
/// (s <= p - abs(p) * margin), `max_similarity` and `min_similarity` allow it. `skip` leaves out the most similar that
/// qualify. `exclude` are pairs or lists as `positives`; `query_labels` (m) and `corpus_labels` (n) exclude rows with
/// the label of the query. With `distinct`, rows equal to a known positive are excluded, and of equal rows all but the
/// first. `progress` writes how many queries are done to the standard error.
///
/// Returns a Mined with `indices`, `similarities` and `counts`. Lists are sorted, the most similar first and the lower
/// index first on a tie, and shorter than k only where fewer rows qualify. Ctrl-C ends a call.
///
/// Raises ValueError where shapes disagree, an index is out of range, or a row or a threshold is not finite, and
/// TypeError where an argument does not hold numbers.
#[pyfunction]
#[pyo3(signature = (queries, corpus, k=10, *, positives=PositivesArgument::Paired, negatives="any", absolute_margin=None,
    relative_margin=None, max_similarity=None, min_similarity=None, skip=0, exclude=None, query_labels=None,
    corpus_labels=None, distinct=false, threads=1, progress=false),
    text_signature = "(queries, corpus, k=10, *, positives='paired', negatives='any', absolute_margin=None, \
    relative_margin=None, max_similarity=None, min_similarity=None, skip=0, exclude=None, query_labels=None, \
    corpus_labels=None, distinct=False, threads=1, progress=False)")]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn mine<'py>(
    py: Python<'py>,
    queries: &Bound<'py, PyAny>,
    corpus: &Bound<'py, PyAny>,
    k: i64,
    positives: PositivesArgument<'py>,
    negatives: &str,
    absolute_margin: Option<f64>,
    relative_margin: Option<f64>,
    max_similarity: Option<f64>,
    min_similarity: Option<f64>,
    skip: i64,
    exclude: Option<&Bound<'py, PyAny>>,
    query_labels: Option<&Bound<'py, PyAny>>,
    corpus_labels: Option<&Bound<'py, PyAny>>,
    distinct: bool,
    threads: i64,
    progress: bool,
) -> PyResult<Mined> {
    let (queries, corpus) = (Rows::extract("queries", queries)?, Rows::extract("corpus", corpus)?);
    check_dim(Side::Candidates, queries.dim(), corpus.dim())?;
    let arguments = KnowledgeArguments { positives: &positives, query_labels, corpus_labels, exclude, distinct };
    let shape = Shape { rows: queries.count(), candidates: corpus.count() };
    let knowledge = Knowledge::extract(arguments, shape)?;
    let options = Options {
        k,
        negatives,
        absolute_margin,
        relative_margin,
        max_similarity,
        min_similarity,
        skip,
        threads,
        progress,
    };
    let (rows, dim, count) = (corpus.data(), corpus.dim(), queries.count());
    run(py, &queries, &knowledge, &options, |resources, call| {
        if count.saturating_mul(rows.len()) <= SMALL {
            return call(Corpus::Rows(rows));
        }
        // Several pieces prepare the corpus once.
        let bank = BankOptions::new().threads(resources.threads());
        call(Corpus::Bank(&resources.install(|| bank.build(rows, dim)).map_err(refused)?))
    })
}
