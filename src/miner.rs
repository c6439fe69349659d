//! `Miner`: the options of mining, the call, and its result.

use core::fmt;
use core::ops::{Index, Range};

use crate::arch::{Backend, in_default_environment};
use crate::error::{Error, Side};
use crate::mine::{self, NeighbourPlan, QueryState};
use crate::mining_batch::MiningBatch;
use crate::parallel::Threads;
use crate::row_stats::{Negatives, Neighbour, Thresholds};
use crate::screen::{Screen, Screening};
use crate::workspace::Workspace;

/// Hard-negative mining: for each query the k most similar candidates that qualify.
///
/// A candidate qualifies when it is neither a known positive of the query nor excluded, and every threshold holds that
/// was asked for. Candidates are filtered first and chosen then: nobody runs short because a pool of the most similar
/// ones was filtered afterwards. With s the `f32` similarity of query and candidate, p the smallest one of the query
/// and its known positives, and all comparisons made in `f64`, `max` and `min` after they were rounded to `f32`, so that a
/// similarity passes the threshold of its own digits:
///
/// | option | keeps candidates with | known as |
/// |---|---|---|
/// | [`negatives`](Miner::negatives) | `s < p`, `s <= p` or all | semi-hard and batch-hard mining |
/// | [`absolute_margin`](Miner::absolute_margin) a | `s + a <= p` | `absolute_margin` of sentence-transformers |
/// | [`relative_margin`](Miner::relative_margin) r | `s <= p - abs(p) * r` | `relative_margin`; TopK-PercPos of NV-Retriever |
/// | [`max_similarity`](Miner::max_similarity) | `s <= max` | `max_score` |
/// | [`min_similarity`](Miner::min_similarity) | `s >= min` | `min_score` |
/// | [`skip`](Miner::skip) q | all but the q most similar that qualify | `range_min` |
///
/// A query without a known positive has no p: thresholds on p keep everything. A list is sorted, the most similar first
/// and the lower index first on a tie, and is shorter than k only where fewer candidates qualify. The same input gives
/// the same bits on every backend, with every screen, on any number of threads, and for every way of splitting queries
/// into calls; candidates in several calls give lists that [`Neighbour::merge`] puts together.
///
/// Thresholds are `f64`, as they are compared in `f64` with sums and products of similarities, and as those of
/// sentence-transformers are; [`TripletLoss::margin`](crate::TripletLoss::margin) is an `f32`, as the similarities are to
/// which it is added.
///
/// The defaults are k = 10, [`Negatives::Any`], no thresholds, [`Threads::Serial`], the CPU's best backend, and
/// [`Screen::Auto`]. The value is small and `Copy`.
///
/// ```
/// use hardneg::{KnownPositives, Miner, MiningBatch, Positives, Workspace};
///
/// let queries = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
/// let passages = [0.8, 0.6, -0.6, 0.8, 0.0, 1.0];
/// let batch = MiningBatch::new(&queries, &passages, 2)?.known_positives(KnownPositives::One(Positives::Identity))?;
/// let mut workspace = Workspace::new();
/// let mined = Miner::new().k(2).mine(batch, &mut workspace)?;
/// assert_eq!(mined.row(0).iter().map(|neighbour| neighbour.index).collect::<Vec<_>>(), [2, 1]);
///
/// // Candidates more similar than 0.9 are probably positives that nobody has marked.
/// let mined = Miner::new().k(2).max_similarity(0.9).mine(batch, &mut workspace)?;
/// assert_eq!(mined.row(2).iter().map(|neighbour| neighbour.index).collect::<Vec<_>>(), [1]);
/// assert_eq!((mined.found(), mined.short_queries()), (4, 2));
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// The thresholds are those of `mine_hard_negatives` in sentence-transformers, and of G. de Souza P. Moreira et al.,
/// "NV-Retriever: Improving text embedding models with effective hard-negative mining", 2024.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct Miner {
    /// How many negatives a query gets, at least 1.
    pub k: usize,
    /// Which candidates qualify by their side of p.
    pub negatives: Negatives,
    /// By how much a candidate must be less similar than p.
    pub absolute_margin: Option<f64>,
    /// By which share of p a candidate must be less similar than p.
    pub relative_margin: Option<f64>,
    /// The largest similarity that qualifies.
    pub max_similarity: Option<f64>,
    /// The smallest similarity that qualifies.
    pub min_similarity: Option<f64>,
    /// How many of the most similar candidates that qualify are left out.
    pub skip: usize,
    /// Where calls run.
    pub threads: Threads,
    /// The instruction set.
    pub backend: Backend,
    /// How pairs that cannot matter are ruled out.
    pub screen: Screen,
}

impl Default for Miner {
    fn default() -> Miner {
        Miner::new()
    }
}

impl Miner {
    /// Mining with the default options.
    pub fn new() -> Miner {
        Miner {
            k: 10,
            negatives: Negatives::Any,
            absolute_margin: None,
            relative_margin: None,
            max_similarity: None,
            min_similarity: None,
            skip: 0,
            threads: Threads::default(),
            backend: Backend::detect(),
            screen: Screen::default(),
        }
    }

    /// Sets how many negatives a query gets, at least 1.
    #[doc(alias = "top_k")]
    pub fn k(self, k: usize) -> Miner {
        Miner { k, ..self }
    }

    /// Sets which candidates qualify: those less similar than every known positive, those at most as similar, or all.
    pub fn negatives(self, negatives: Negatives) -> Miner {
        Miner { negatives, ..self }
    }

    /// Keeps candidates with `s + margin <= p`.
    pub fn absolute_margin(self, margin: f64) -> Miner {
        Miner { absolute_margin: Some(margin), ..self }
    }

    /// Keeps candidates with `s <= p - abs(p) * margin`.
    pub fn relative_margin(self, margin: f64) -> Miner {
        Miner { relative_margin: Some(margin), ..self }
    }

    /// Keeps candidates with `s <= similarity`.
    pub fn max_similarity(self, similarity: f64) -> Miner {
        Miner { max_similarity: Some(similarity), ..self }
    }

    /// Keeps candidates with `s >= similarity`.
    pub fn min_similarity(self, similarity: f64) -> Miner {
        Miner { min_similarity: Some(similarity), ..self }
    }

    /// Leaves out the `skip` most similar of the candidates that qualify.
    pub fn skip(self, skip: usize) -> Miner {
        Miner { skip, ..self }
    }

    /// Sets where calls run.
    pub fn threads(self, threads: Threads) -> Miner {
        Miner { threads, ..self }
    }

    /// Sets the instruction set.
    pub fn backend(self, backend: Backend) -> Miner {
        Miner { backend, ..self }
    }

    /// Sets how pairs that cannot matter are ruled out: see [`Screen`]. It changes the time only.
    pub fn screen(self, screen: Screen) -> Miner {
        Miner { screen, ..self }
    }

    /// Finds the k most similar candidates that qualify for each query, m * n * dim multiply-adds and less. The lists
    /// lie in the workspace, which the result borrows.
    ///
    /// With k = 1, the one known positive of each query and the same rule, a list is the closest negative that
    /// [`TripletLoss::forward`](crate::TripletLoss::forward) finds, bit for bit.
    ///
    /// # Errors
    /// k is 0; a threshold is not finite (the error names it); a row is not finite; the workspace cannot grow.
    ///
    /// # Allocation
    /// None once the workspace has grown to the shape of the batch, k and `skip`; see [`Workspace`]. It holds about m *
    /// (k + skip) neighbours, for each thread about 100 lists of several times k + skip pairs, and a copy of lists of
    /// positives and exclusions.
    #[doc(alias = "knn")]
    #[doc(alias = "nearest")]
    #[doc(alias = "search")]
    #[doc(alias = "top_k")]
    #[doc(alias = "topk")]
    pub fn mine<'w>(&self, batch: MiningBatch<'_>, workspace: &'w mut Workspace) -> Result<Mined<'w>, Error> {
        let plan = self.plan(batch)?;
        let Workspace { exclusions, mining, .. } = workspace;
        let screening = in_default_environment(|| {
            let rules = exclusions.sort_mining(batch)?;
            mine::mine_neighbours(plan, batch, rules, mining)
        })
        .map_err(|error| error.renamed(Side::Anchors, Side::Queries))?;
        let (queries, neighbours) = mining.neighbours(batch.queries(), plan.kept);
        Ok(Mined { k: self.k, skip: self.skip, queries, neighbours, screening })
    }

    /// Checks the options.
    pub(crate) fn plan(&self, batch: MiningBatch<'_>) -> Result<NeighbourPlan, Error> {
        let Miner { k, skip, backend, screen, threads, .. } = *self;
        if k == 0 {
            return Err(Error::ZeroK);
        }
        let Miner { negatives, absolute_margin, relative_margin, max_similarity, min_similarity, .. } = *self;
        let given = [
            ("absolute_margin", absolute_margin),
            ("relative_margin", relative_margin),
            ("max_similarity", max_similarity),
            ("min_similarity", min_similarity),
        ];
        for (option, threshold) in given {
            if let Some(threshold) = threshold.filter(|threshold| !threshold.is_finite()) {
                return Err(Error::ThresholdNotFinite { option, threshold });
            }
        }
        let thresholds = Thresholds { negatives, absolute_margin, relative_margin, max_similarity, min_similarity };
        // No more can be found than there are.
        let kept = k.saturating_add(skip).min(batch.candidates());
        Ok(NeighbourPlan { kept, thresholds, backend, screen, threads })
    }
}

/// The result of [`Miner::mine`]: a list for each query. It borrows the workspace that it lies in.
///
/// ```
/// use hardneg::{Miner, MiningBatch, Workspace};
///
/// let (queries, passages) = ([1.0, 0.0, 0.0, 1.0], [0.8, 0.6, -0.6, 0.8, 0.1, 1.0]);
/// let mut workspace = Workspace::new();
/// let mined = Miner::new().k(2).mine(MiningBatch::new(&queries, &passages, 2)?, &mut workspace)?;
/// assert_eq!((mined[0][0].index, mined[1].len()), (0, 2));
/// for list in &mined {
///     assert!(list[0].similarity >= list[1].similarity);
/// }
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct Mined<'w> {
    k: usize,
    skip: usize,
    queries: &'w [QueryState],
    /// As many places for each query.
    neighbours: &'w [Neighbour],
    screening: Screening,
}

impl<'w> Mined<'w> {
    /// How many queries there are.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.queries.len()
    }

    /// The list of query `query`: the most similar first, and the lower index first on a tie.
    ///
    /// # Panics
    /// There is no such query.
    #[must_use]
    pub fn row(&self, query: usize) -> &'w [Neighbour] {
        let places = self.neighbours.len() / self.queries.len();
        let found = &self.neighbours[query * places..][..self.queries[query].found];
        let rest = &found[self.skip.min(found.len())..];
        &rest[..self.k.min(rest.len())]
    }

    /// The lists of all queries, in order. `&mined` is iterated in the same way.
    pub fn rows(&self) -> MinedRows<'w> {
        MinedRows { mined: *self, queries: 0..self.queries() }
    }

    /// The smallest similarity of query `query` and its known positives, or `None` where it has none.
    ///
    /// # Panics
    /// There is no such query.
    #[must_use]
    pub fn positive_similarity(&self, query: usize) -> Option<f32> {
        self.queries[query].positive
    }

    /// How many neighbours all lists have together.
    #[must_use]
    pub fn found(&self) -> usize {
        self.rows().map(<[Neighbour]>::len).sum()
    }

    /// How many queries have a list shorter than k.
    #[must_use]
    pub fn short_queries(&self) -> usize {
        self.rows().filter(|row| row.len() < self.k).count()
    }

    /// Counts of the work that the call did.
    #[must_use]
    pub fn screening(&self) -> Screening {
        self.screening
    }
}

/// The list of a query, as [`Mined::row`] returns it.
impl Index<usize> for Mined<'_> {
    type Output = [Neighbour];

    fn index(&self, query: usize) -> &[Neighbour] {
        self.row(query)
    }
}

impl<'w> IntoIterator for &Mined<'w> {
    type Item = &'w [Neighbour];
    type IntoIter = MinedRows<'w>;

    fn into_iter(self) -> MinedRows<'w> {
        self.rows()
    }
}

/// The lists of all queries in order: see [`Mined::rows`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MinedRows<'w> {
    mined: Mined<'w>,
    queries: Range<usize>,
}

impl<'w> Iterator for MinedRows<'w> {
    type Item = &'w [Neighbour];

    fn next(&mut self) -> Option<&'w [Neighbour]> {
        self.queries.next().map(|query| self.mined.row(query))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.queries.size_hint()
    }
}

impl DoubleEndedIterator for MinedRows<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.queries.next_back().map(|query| self.mined.row(query))
    }
}

impl ExactSizeIterator for MinedRows<'_> {}

impl fmt::Debug for Mined<'_> {
    /// Counts, without the lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mined")
            .field("queries", &self.queries())
            .field("found", &self.found())
            .field("screening", &self.screening)
            .finish_non_exhaustive()
    }
}
