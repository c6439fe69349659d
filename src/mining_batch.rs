//! `MiningBatch`: the input of mining, validated once, and `KnownPositives`, which candidates a query has as positives.

use core::fmt;

use crate::bank::Bank;
use crate::error::{Error, Side, check_length};
use crate::exclusions::{Exclusions, IndexLists, Indices};
use crate::positives::Positives;
use crate::rows::{Rows, Sides};

/// The known positives of each of m queries. They are no negatives of it, and the least similar of them is what
/// thresholds compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum KnownPositives<'a> {
    /// No query has one.
    #[default]
    None,
    /// Every query has one. In the paired case, [`Positives::Identity`], it is candidate `i` of query `i`; it may be a
    /// row that is no candidate, [`Positives::Outside`].
    One(Positives<'a>),
    /// Any number for each query, as compressed lists: those of query `i` are `indices[offsets[i]..offsets[i + 1]]`, in
    /// any order, repeats allowed. There are m + 1 offsets, from 0 to the length of `indices`.
    Lists {
        /// Where the list of each query begins, and where the last one ends.
        offsets: &'a [usize],
        /// The candidates of all lists.
        indices: &'a [usize],
    },
    /// These candidates for every query, in any order, repeats allowed.
    Shared(&'a [usize]),
    /// The same with indices of 32 bits.
    SharedU32(&'a [u32]),
}

impl<'a> KnownPositives<'a> {
    /// Checks that they are candidates, or lists of them or rows of their own, one for each query.
    fn check(self, queries: Rows<'_>, candidates: usize) -> Result<(), Error> {
        let rows = queries.count();
        match self {
            KnownPositives::One(Positives::Outside(outside)) => {
                check_length(Side::Positives, queries.data().len(), outside.len())
            }
            KnownPositives::One(positives) => positives.check(rows, candidates),
            _ => {
                let beyond = |row, index| Error::PositiveOutOfRange { row, index, candidates };
                self.lists().map_or(Ok(()), |lists| lists.check(Side::KnownPositives, rows, candidates, beyond))
            }
        }
    }

    /// The lists, where a query has any number of them.
    pub(crate) fn lists(self) -> Option<IndexLists<'a>> {
        match self {
            KnownPositives::None | KnownPositives::One(_) => None,
            KnownPositives::Lists { offsets, indices } => Some(IndexLists::Rows { offsets, indices }),
            KnownPositives::Shared(indices) => Some(IndexLists::Shared(Indices::Usize(indices))),
            KnownPositives::SharedU32(indices) => Some(IndexLists::Shared(Indices::U32(indices))),
        }
    }
}

/// A predicate on (query, candidate), true where the candidate is no negative of the query.
pub type Predicate<'a> = &'a (dyn Fn(usize, usize) -> bool + Sync);

/// Queries, candidates, and what is known of them: the input of [`Miner::mine`](crate::Miner::mine).
///
/// Both sides are row-major `f32`, one embedding a row, of any length: similarities are cosines, so rows need not be
/// normalised. Nothing is copied.
///
/// ```
/// use hardneg::{KnownPositives, MiningBatch};
///
/// let (queries, candidates) = ([1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.6, 0.8, 1.0, 0.1]);
/// // The first query has two known positives, the second one none.
/// let known = KnownPositives::Lists { offsets: &[0, 2, 2], indices: &[2, 1] };
/// let batch = MiningBatch::new(&queries, &candidates, 2)?.known_positives(known)?;
/// assert_eq!((batch.queries(), batch.candidates(), batch.dim()), (2, 3, 2));
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct MiningBatch<'a> {
    queries: Rows<'a>,
    candidates: Rows<'a>,
    bank: Option<&'a Bank<'a>>,
    known: KnownPositives<'a>,
    exclusions: Exclusions<'a>,
    similarities: Option<&'a [Option<f32>]>,
    floors: Option<&'a [f32]>,
    predicate: Option<Predicate<'a>>,
}

impl<'a> MiningBatch<'a> {
    /// m queries (m * dim elements) and n candidates (n * dim elements), of which no positive is known.
    ///
    /// # Errors
    /// `dim` is 0; a slice is empty or not a whole number of rows.
    pub fn new(queries: &'a [f32], candidates: &'a [f32], dim: usize) -> Result<MiningBatch<'a>, Error> {
        let queries = Rows::new(Side::Queries, queries, dim)?;
        Ok(MiningBatch::of(queries, Rows::new(Side::Candidates, candidates, dim)?, None))
    }

    /// m queries (m * dim elements) and the n rows of a [`Bank`], which were prepared before, of which no positive is
    /// known. Every call gives the bits of the same rows passed raw.
    ///
    /// ```
    /// use hardneg::{Bank, Miner, MiningBatch, Workspace};
    ///
    /// let bank = Bank::new(vec![1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0], 2)?;
    /// let mut workspace = Workspace::new();
    /// let mined = Miner::new().k(2).mine(MiningBatch::against(&[1.0, 0.1], &bank)?, &mut workspace)?;
    /// assert_eq!([0, 1].map(|rank| mined.row(0)[rank].index), [0, 2]);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The slice is empty or not a whole number of the bank's rows; the bank is empty.
    #[doc(alias = "knn")]
    #[doc(alias = "nearest")]
    #[doc(alias = "search")]
    #[doc(alias = "top_k")]
    #[doc(alias = "topk")]
    pub fn against(queries: &'a [f32], bank: &'a Bank<'_>) -> Result<MiningBatch<'a>, Error> {
        let queries = Rows::new(Side::Queries, queries, bank.dim())?;
        Ok(MiningBatch::of(queries, Rows::new(Side::Candidates, bank.rows(), bank.dim())?, Some(bank)))
    }

    fn of(queries: Rows<'a>, candidates: Rows<'a>, bank: Option<&'a Bank<'a>>) -> MiningBatch<'a> {
        let (known, exclusions) = (KnownPositives::None, Exclusions::None);
        MiningBatch { queries, candidates, bank, known, exclusions, similarities: None, floors: None, predicate: None }
    }

    /// Sets the known positives of each query, in place of those of an earlier call. They are left out beside what
    /// [`excluding`](MiningBatch::excluding) and [`exclude_where`](MiningBatch::exclude_where) leave out, and are what
    /// [`Miner`](crate::Miner)'s thresholds on p compare with, which exclusions are not.
    ///
    /// # Errors
    /// There are not as many as queries, or not one offset more; offsets do not begin at 0, do not ascend, or do not
    /// end at the number of indices; a positive is not among the candidates.
    pub fn known_positives(self, known: KnownPositives<'a>) -> Result<MiningBatch<'a>, Error> {
        known.check(self.queries, self.candidates())?;
        Ok(MiningBatch { known, ..self })
    }

    /// Excludes candidates by labels or by lists, in place of those of an earlier call: they are no negatives of a query,
    /// and their similarities decide nothing. The queries' labels are called those of the anchors there. See
    /// [`Exclusions`].
    ///
    /// A candidate is left out if any of the three says so: [known positives](MiningBatch::known_positives), these
    /// exclusions, or the [function](MiningBatch::exclude_where). Each of the three replaces what the same method was
    /// given before; none replaces another.
    ///
    /// ```
    /// use hardneg::{Bank, Exclusions, Miner, MiningBatch, Workspace};
    ///
    /// let bank = Bank::new(vec![1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0], 2)?;
    /// // Both queries of a request: nothing that was seen, and nothing that is out of stock.
    /// let seen: [u32; 2] = [3, 0];
    /// let out_of_stock = |_query: usize, row: usize| row == 1;
    /// let batch = MiningBatch::against(&[1.0, 0.1, 0.1, 1.0], &bank)?
    ///     .excluding(Exclusions::SharedU32(&seen))?
    ///     .exclude_where(&out_of_stock);
    /// let mut workspace = Workspace::new();
    /// let found = Miner::new().k(3).mine(batch, &mut workspace)?;
    /// assert!(found.rows().all(|list| list.iter().map(|neighbour| neighbour.index).eq([2])));
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// There are not as many labels as rows; or there are not as many lists as queries, offsets do not begin at 0, do
    /// not ascend, or do not end at the number of indices, or an index is not among the candidates.
    pub fn excluding(self, exclusions: Exclusions<'a>) -> Result<MiningBatch<'a>, Error> {
        exclusions.check(self.queries(), self.candidates())?;
        Ok(MiningBatch { exclusions, ..self })
    }

    /// Sets, for each of m queries, the smallest similarity with its known positives, `None` where it has none. The
    /// known positives among the candidates are no negatives all the same, but their similarities decide nothing.
    ///
    /// For candidates that are mined in several parts: the positives may be in another part.
    /// [`Backend::cosine_similarity`](crate::Backend::cosine_similarity) gives the similarities.
    ///
    /// # Errors
    /// There are not as many as queries; one is not finite.
    pub fn positive_similarities(self, similarities: &'a [Option<f32>]) -> Result<MiningBatch<'a>, Error> {
        check_length(Side::Similarities, self.queries(), similarities.len())?;
        match similarities.iter().position(|similarity| similarity.is_some_and(|similarity| !similarity.is_finite())) {
            Some(row) => Err(Error::NotFinite { side: Side::Similarities, row }),
            None => Ok(MiningBatch { similarities: Some(similarities), ..self }),
        }
    }

    /// Sets, for each of m queries, the smallest similarity that is wanted; negative infinity for all. It changes which
    /// candidates qualify as [`Miner::min_similarity`](crate::Miner::min_similarity) does, query by query.
    ///
    /// For candidates that are mined in several parts: what is less similar than the last of a full list of the earlier
    /// parts would be dropped when the lists are merged, and a screen that knows it has less to do.
    ///
    /// # Errors
    /// There are not as many as queries; one is NaN.
    pub fn floors(self, floors: &'a [f32]) -> Result<MiningBatch<'a>, Error> {
        check_length(Side::Similarities, self.queries(), floors.len())?;
        match floors.iter().position(|floor| floor.is_nan()) {
            Some(row) => Err(Error::NotFinite { side: Side::Similarities, row }),
            None => Ok(MiningBatch { floors: Some(floors), ..self }),
        }
    }

    /// Excludes candidates by a function of (query, candidate), in place of that of an earlier call: those for which it is
    /// true are no negatives of the query, nor are those that [`excluding`](MiningBatch::excluding) names. The batch
    /// borrows the function: bind a closure to a name before. It must give the same answer for the same pair, and is asked about the few pairs that reach a list, a
    /// sample of pairs, and all pairs where a screen rules out too few; from several threads with
    /// [`Threads::Rayon`](crate::Threads::Rayon), and in the default floating-point environment.
    ///
    /// # Panics
    /// A call on rayon panics if the function waits for rayon, as `rayon::join` does: rayon may then begin another
    /// piece of the call in the middle of this one.
    ///
    /// ```
    /// use hardneg::{Miner, MiningBatch, Workspace};
    ///
    /// let (rows, documents) = ([1.0, 0.0, 0.8, 0.6, 0.0, 1.0], [3, 3, 8]);
    /// let same_document = |query: usize, candidate: usize| documents[query] == documents[candidate];
    /// let batch = MiningBatch::new(&rows, &rows, 2)?.exclude_where(&same_document);
    /// let mut workspace = Workspace::new();
    /// let mined = Miner::new().k(1).mine(batch, &mut workspace)?;
    /// assert_eq!([0, 1, 2].map(|query| mined.row(query)[0].index), [2, 2, 1]);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    pub fn exclude_where(self, predicate: Predicate<'a>) -> MiningBatch<'a> {
        MiningBatch { predicate: Some(predicate), ..self }
    }

    /// How many queries there are.
    #[must_use]
    pub fn queries(self) -> usize {
        self.queries.count()
    }

    /// How many candidates there are.
    #[must_use]
    pub fn candidates(self) -> usize {
        self.candidates.count()
    }

    /// The length of an embedding.
    #[must_use]
    pub fn dim(self) -> usize {
        self.queries.dim()
    }

    /// The rows of both sides.
    pub(crate) fn sides(self) -> Sides<'a> {
        Sides { anchors: self.queries, candidates: self.candidates, candidate_side: Side::Candidates }
    }

    /// The bank that the candidates are in.
    pub(crate) fn bank(self) -> Option<&'a Bank<'a>> {
        self.bank
    }

    /// The known positives.
    pub(crate) fn known(self) -> KnownPositives<'a> {
        self.known
    }

    /// What is excluded beside them.
    pub(crate) fn exclusions(self) -> Exclusions<'a> {
        self.exclusions
    }

    /// Calls `each` with the candidates that are known positives of query `row`.
    pub(crate) fn each_known(self, row: usize, each: &mut dyn FnMut(usize)) {
        if let KnownPositives::One(positives) = self.known {
            positives.index(row).into_iter().for_each(&mut *each);
        }
        if let Some(lists) = self.known.lists() {
            lists.of(row).iter().for_each(each);
        }
    }

    /// The rows of all positives, where they are no candidates.
    pub(crate) fn outside_rows(self) -> Option<Rows<'a>> {
        match self.known {
            KnownPositives::One(Positives::Outside(rows)) => Some(self.queries.of_same_dim(rows)),
            _ => None,
        }
    }

    /// Calls `each` with the rows of the known positives of query `row`.
    pub(crate) fn each_positive(self, row: usize, each: &mut dyn FnMut(&[f32])) {
        if let Some(rows) = self.outside_rows() {
            each(rows.row(row));
        }
        self.each_known(row, &mut |index| each(self.candidates.row(index)));
    }

    /// The smallest similarities of queries and positives, where the caller gave them.
    pub(crate) fn given_similarities(self) -> Option<&'a [Option<f32>]> {
        self.similarities
    }

    /// The smallest similarity of query `row` that is wanted.
    #[inline(always)]
    pub(crate) fn floor(self, row: usize) -> f32 {
        self.floors.map_or(f32::NEG_INFINITY, |floors| floors[row])
    }

    /// The function that excludes candidates.
    pub(crate) fn predicate(self) -> Option<Predicate<'a>> {
        self.predicate
    }
}

impl fmt::Debug for MiningBatch<'_> {
    /// Shapes, without the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiningBatch")
            .field("queries", &self.queries)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}
