//! `hardneg.Bank`: candidates that are prepared once.
//!
//! The bank is behind a lock that many calls may read at once. It is waited for without the GIL, as a call that holds
//! it may wait for the GIL.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hardneg::{BankOptions, Error, Screen, Side};
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::arrays::{self, OwnedRows, Rows};
use crate::errors::{refused, unknown_option};
use crate::lists::Shape;
use crate::loss::{self, Exclude, Inputs, check_dim};
use crate::mine::{self, Knowledge, KnowledgeArguments, Mined, PositivesArgument};
use crate::pieces::Corpus;
use crate::pools::Resources;
use crate::result::TripletLossResult;

/// Candidates that are prepared once and met by many calls: a catalogue, a corpus, a queue of negatives.
///
/// Bank(rows, *, screens=None, threads=1) copies `rows` (n, dim), anything that numpy.asarray takes; n may be 0.
/// `screens` is a list of "f32", "i16", "i8" and "off", or one of them, or None for the one that this CPU is fastest
/// with: it changes time and memory, never a result. `threads` is how many threads prepare rows.
///
/// Calls against a bank return the bits of the same rows passed as an array. Any number of threads may call at once;
/// a change waits until the calls that read the bank have ended.
#[pyclass(frozen, module = "hardneg")]
pub(crate) struct Bank {
    dim: usize,
    threads: i64,
    bank: RwLock<hardneg::Bank<'static>>,
}

impl Bank {
    fn read(&self) -> RwLockReadGuard<'_, hardneg::Bank<'static>> {
        self.bank.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, hardneg::Bank<'static>> {
        self.bank.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the bank, on its threads.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut hardneg::Bank<'static>) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        Resources::new(py, self.threads)?.run(py, || change(&mut self.write())).map_err(refused)
    }
}

#[pymethods]
impl Bank {
    #[new]
    #[pyo3(signature = (rows, *, screens=None, threads=1))]
    fn new(
        py: Python<'_>,
        rows: &Bound<'_, PyAny>,
        screens: Option<&Bound<'_, PyAny>>,
        threads: i64,
    ) -> PyResult<Bank> {
        let resources = Resources::new(py, threads)?;
        let mut options = BankOptions::new().threads(resources.threads());
        if let Some(screens) = screens {
            options = options.screens(&screens_from(screens)?);
        }
        let rows = OwnedRows::extract("rows", rows)?;
        let (dim, mut borrowed) = (rows.dim(), None);
        let data = rows.into_data(&mut borrowed);
        let bank = resources.run(py, || options.build(data.into_owned(), dim)).map_err(refused)?;
        Ok(Bank { dim, threads, bank: RwLock::new(bank) })
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.read().len())
    }

    /// The bytes of the rows and of all that is kept of them.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.read().bytes())
    }

    /// The length of a row.
    #[getter]
    fn dim(&self) -> usize {
        self.dim
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Bank({} rows of {} elements)", self.__len__(py), self.dim)
    }

    /// Appends rows (m, dim). The indices of the others stay.
    fn add(&self, py: Python<'_>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        let rows = Rows::extract("rows", rows)?;
        check_dim(Side::NewRows, self.dim, rows.dim())?;
        let data = rows.data();
        self.change(py, |bank| bank.push(data))
    }

    /// Overwrites row `index` by the vector `row` (dim).
    fn replace(&self, py: Python<'_>, index: i64, row: &Bound<'_, PyAny>) -> PyResult<()> {
        let row = arrays::vector("row", row)?;
        let data = row.as_slice()?;
        let index = place(index)?;
        self.change(py, |bank| bank.replace(index, data))
    }

    /// Removes row `index` by moving the last row into its place. Returns the index that the moved row had, or None
    /// where the removed row was the last.
    fn swap_remove(&self, py: Python<'_>, index: i64) -> PyResult<Option<usize>> {
        let index = place(index)?;
        self.change(py, |bank| bank.swap_remove(index))
    }

    /// The modified triplet loss of anchors against the rows of the bank.
    ///
    /// `positives` are the rows of the bank that are the positives (m integers), or rows of their own (m, dim), to
    /// which every row of the bank is a negative. `labels` is a tuple of the labels of the anchors and of the bank's
    /// rows. The other arguments, and the result, are those of hardneg.triplet_loss.
    #[pyo3(signature = (anchors, positives, *, margin=0.25, negatives="below", reduction="sum", labels=None,
        exclude=None, threads=1))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn triplet_loss<'py>(
        &self,
        py: Python<'py>,
        anchors: &Bound<'py, PyAny>,
        positives: &Bound<'py, PyAny>,
        margin: f64,
        negatives: &str,
        reduction: &str,
        labels: Option<&Bound<'py, PyAny>>,
        exclude: Option<&Bound<'py, PyAny>>,
        threads: i64,
    ) -> PyResult<TripletLossResult> {
        let exclude = Exclude { labels, lists: exclude };
        let inputs = Inputs::against_bank(anchors, positives, self.__len__(py), exclude)?;
        check_dim(Side::Anchors, self.dim, inputs.dim())?;
        let options = loss::Options { margin, negatives, reduction, threads };
        loss::forward(py, &inputs, &options, |parts, call| {
            let bank = self.read();
            call(parts.batch_against(&bank)?)
        })
    }

    /// The k most similar rows of the bank that qualify, for each query.
    ///
    /// The arguments, and the result, are those of hardneg.mine, whose corpus is the bank.
    #[pyo3(signature = (queries, k=10, *, positives=PositivesArgument::Paired, negatives="any", absolute_margin=None,
        relative_margin=None, max_similarity=None, min_similarity=None, skip=0, exclude=None, query_labels=None,
        corpus_labels=None, distinct=false, threads=1, progress=false),
        text_signature = "($self, queries, k=10, *, positives='paired', negatives='any', absolute_margin=None, \
        relative_margin=None, max_similarity=None, min_similarity=None, skip=0, exclude=None, query_labels=None, \
        corpus_labels=None, distinct=False, threads=1, progress=False)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn mine<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
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
        let queries = Rows::extract("queries", queries)?;
        check_dim(Side::Queries, self.dim, queries.dim())?;
        let shape = Shape { rows: queries.count(), candidates: self.__len__(py) };
        let arguments = KnowledgeArguments { positives: &positives, query_labels, corpus_labels, exclude, distinct };
        let knowledge = Knowledge::extract(arguments, shape)?;
        let options = mine::Options {
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
        mine::run(py, &queries, &knowledge, &options, |_, call| call(Corpus::Bank(&self.read())))
    }

    /// Mines the bank as a shard of a larger corpus: `positives` are those of the shard, and `similarities` the smallest
    /// of each query with its positives anywhere, NaN where it has none. For hardneg.ray.
    #[pyo3(signature = (queries, k, positives, similarities, *, negatives="any", absolute_margin=None,
        relative_margin=None, max_similarity=None, min_similarity=None, exclude=None, query_labels=None,
        corpus_labels=None, threads=1))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn _mine_shard<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        k: i64,
        positives: PositivesArgument<'py>,
        similarities: &Bound<'py, PyAny>,
        negatives: &str,
        absolute_margin: Option<f64>,
        relative_margin: Option<f64>,
        max_similarity: Option<f64>,
        min_similarity: Option<f64>,
        exclude: Option<&Bound<'py, PyAny>>,
        query_labels: Option<&Bound<'py, PyAny>>,
        corpus_labels: Option<&Bound<'py, PyAny>>,
        threads: i64,
    ) -> PyResult<Mined> {
        let queries = Rows::extract("queries", queries)?;
        check_dim(Side::Queries, self.dim, queries.dim())?;
        let similarities = arrays::vector("similarities", similarities)?;
        if similarities.len() != queries.count() {
            let (side, expected, actual) = (Side::Similarities, queries.count(), similarities.len());
            return Err(refused(Error::Length { side, expected, actual }));
        }
        let shape = Shape { rows: queries.count(), candidates: self.__len__(py) };
        let arguments =
            KnowledgeArguments { positives: &positives, query_labels, corpus_labels, exclude, distinct: false };
        let knowledge = Knowledge::extract(arguments, shape)?.with_similarities(similarities.as_slice()?);
        let options = mine::Options {
            k,
            negatives,
            absolute_margin,
            relative_margin,
            max_similarity,
            min_similarity,
            skip: 0,
            threads,
            progress: false,
        };
        mine::run(py, &queries, &knowledge, &options, |_, call| call(Corpus::Bank(&self.read())))
    }
}

fn place(index: i64) -> PyResult<usize> {
    usize::try_from(index).map_err(|_| PyIndexError::new_err(format!("row {index} of a bank")))
}

/// One name of a screen, or several.
fn screens_from(names: &Bound<'_, PyAny>) -> PyResult<Vec<Screen>> {
    let screen = |name: &str| name.parse::<Screen>().map_err(unknown_option);
    if let Ok(name) = names.cast::<PyString>() {
        return Ok(vec![screen(name.to_cow()?.as_ref())?]);
    }
    let wrong = |_| PyTypeError::new_err("screens: expected names of screens");
    let names: Vec<String> = names.extract().map_err(wrong)?;
    names.iter().map(|name| screen(name)).collect()
}
