//! `Batch`: the input of a call, validated once.

use crate::bank::Bank;
use crate::error::{Error, Side, check_length};
use crate::exclusions::Exclusions;
use crate::positives::{Place, Positives};
use crate::rows::{Rows, Sides};

/// Anchors, candidates and their pairing: the input of [`TripletLoss::forward`](crate::TripletLoss::forward).
///
/// Both sides are row-major `f32`, one embedding a row, of any length: similarities are cosines, so rows need not be
/// normalised. Nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    anchors: Rows<'a>,
    candidates: Rows<'a>,
    positives: Positives<'a>,
    exclusions: Exclusions<'a>,
    /// The bank that the candidates are in.
    bank: Option<&'a Bank<'a>>,
    /// What an error calls the candidates.
    candidate_side: Side,
}

impl<'a> Batch<'a> {
    /// The paired batch of m anchors and m positives, m * dim elements each: row `i` of one belonging to row `i` of the
    /// other. Every other row of `positives` is a negative of anchor `i`.
    ///
    /// ```
    /// use hardneg::Batch;
    ///
    /// let anchors = [1.0, 0.0, 0.0, 1.0];
    /// let positives = [2.0, 1.0, -1.0, 3.0];
    /// let batch = Batch::paired(&anchors, &positives, 2)?;
    /// assert_eq!((batch.rows(), batch.candidates(), batch.dim()), (2, 2, 2));
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// `dim` is 0; a slice is empty or not a whole number of rows; the two disagree; there is one row only.
    pub fn paired(anchors: &'a [f32], positives: &'a [f32], dim: usize) -> Result<Batch<'a>, Error> {
        let anchors = Rows::new(Side::Anchors, anchors, dim)?;
        check_length(Side::Positives, anchors.data().len(), positives.len())?;
        let batch = Batch::new(anchors.data(), positives, dim, Positives::Identity)?;
        Ok(Batch { candidate_side: Side::Positives, ..batch })
    }

    /// The rectangular batch: m anchors (m * dim elements), n candidates (n * dim elements), and for each anchor its
    /// positive: a candidate, or a row of its own. See [`Positives`] for an example.
    ///
    /// # Errors
    /// `dim` is 0; a slice is empty or not a whole number of rows; there is one candidate only, which is the positive;
    /// the index slice has another length than there are anchors; a positive is not among the candidates; there are not
    /// as many positives of their own as anchors.
    pub fn new(
        anchors: &'a [f32],
        candidates: &'a [f32],
        dim: usize,
        positives: Positives<'a>,
    ) -> Result<Batch<'a>, Error> {
        let anchors = Rows::new(Side::Anchors, anchors, dim)?;
        let candidates = Rows::new(Side::Candidates, candidates, dim)?;
        Batch::checked(anchors, candidates, positives, None)
    }

    /// The batch of m anchors (m * dim elements) against the n rows of a [`Bank`], which were prepared before; for each
    /// anchor the row of the bank that is its positive, or a row [outside](Positives::Outside) of it.
    ///
    /// Every call gives the bits of the same rows passed raw. See [`Bank`] for an example. For the k nearest rows of the
    /// bank, without a positive, see [`MiningBatch::against`](crate::MiningBatch::against).
    ///
    /// # Errors
    /// The slice is empty or not a whole number of the bank's rows; the bank is empty, or has one row only; the index
    /// slice has another length than there are anchors; a positive is not in the bank.
    pub fn against(anchors: &'a [f32], bank: &'a Bank<'_>, positives: Positives<'a>) -> Result<Batch<'a>, Error> {
        let anchors = Rows::new(Side::Anchors, anchors, bank.dim())?;
        let candidates = Rows::new(Side::Candidates, bank.rows(), bank.dim())?;
        Batch::checked(anchors, candidates, positives, Some(bank))
    }

    fn checked(
        anchors: Rows<'a>,
        candidates: Rows<'a>,
        positives: Positives<'a>,
        bank: Option<&'a Bank<'a>>,
    ) -> Result<Batch<'a>, Error> {
        if let Positives::Outside(rows) = positives {
            check_length(Side::Positives, anchors.data().len(), rows.len())?;
        } else if candidates.count() == 1 {
            return Err(Error::NoNegative);
        }
        positives.check(anchors.count(), candidates.count())?;
        let exclusions = Exclusions::None;
        Ok(Batch { anchors, candidates, positives, exclusions, bank, candidate_side: Side::Candidates })
    }

    /// The batch with candidates that are no negatives of some anchors, in place of those of an earlier call: neither
    /// the mean nor the closest negative of an anchor looks at them.
    ///
    /// An anchor all of whose candidates are excluded has neither, costs nothing, and is counted in
    /// [`Loss::without_negatives`](crate::Loss::without_negatives). Labels cost O((m + n) * dim), however they are
    /// distributed; lists O(dim) for each index.
    ///
    /// ```
    /// use hardneg::{Batch, Exclusions, Negatives, TripletLoss, Workspace};
    ///
    /// // The second pair repeats the first one.
    /// let rows = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    /// let batch = Batch::paired(&rows, &rows, 2)?;
    /// let (loss, mut workspace) = (TripletLoss::new().negatives(Negatives::Any), Workspace::new());
    /// assert_eq!(loss.forward(batch, &mut workspace)?.loss().active_closest, 2);
    ///
    /// let labels = [7, 7, 8];
    /// let by_labels = batch.excluding(Exclusions::Labels { anchors: &labels, candidates: &labels })?;
    /// let by_lists = batch.excluding(Exclusions::Lists { offsets: &[0, 1, 2, 2], indices: &[1, 0] })?;
    /// for batch in [by_labels, by_lists] {
    ///     let forward = loss.forward(batch, &mut workspace)?;
    ///     assert_eq!(forward.loss().active_closest, 0);
    ///     assert_eq!(forward.row_stats()[0].mean_negative(), Some(0.0));
    ///     assert_eq!(forward.row_stats()[0].closest_negative().map(|closest| closest.index()), Some(2));
    /// }
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// There are not as many labels as rows; there is not one offset more than anchors; offsets do not ascend from 0 to
    /// the number of indices; an excluded candidate does not exist.
    pub fn excluding(self, exclusions: Exclusions<'a>) -> Result<Batch<'a>, Error> {
        exclusions.check(self.rows(), self.candidates())?;
        Ok(Batch { exclusions, ..self })
    }

    /// How many anchors there are.
    #[doc(alias = "anchors")]
    #[must_use]
    pub fn rows(self) -> usize {
        self.anchors.count()
    }

    /// How many candidates there are.
    #[must_use]
    pub fn candidates(self) -> usize {
        self.candidates.count()
    }

    /// How many negatives each anchor has.
    pub(crate) fn negatives(&self) -> usize {
        self.candidates() - usize::from(!matches!(self.positives, Positives::Outside(_)))
    }

    /// The length of an embedding.
    #[must_use]
    pub fn dim(self) -> usize {
        self.anchors.dim()
    }

    /// The rows of both sides.
    pub(crate) fn sides(&self) -> Sides<'a> {
        Sides { anchors: self.anchors, candidates: self.candidates, candidate_side: self.candidate_side }
    }

    pub(crate) fn anchor_rows(&self) -> Rows<'a> {
        self.anchors
    }

    pub(crate) fn candidate_rows(&self) -> Rows<'a> {
        self.candidates
    }

    /// Whether a pass over `earlier` has left the norms and the sum of these candidates in its workspace: the candidates
    /// are the very same slice, and no bank had its norms.
    pub(crate) fn is_measured_by(self, earlier: Batch<'_>) -> bool {
        let (own, others) = (self.candidates, earlier.candidates);
        earlier.bank.is_none() && own.dim() == others.dim() && core::ptr::eq(own.data(), others.data())
    }

    /// The bank that the candidates are in.
    pub(crate) fn bank(&self) -> Option<&'a Bank<'a>> {
        self.bank
    }

    pub(crate) fn positives(&self) -> Positives<'a> {
        self.positives
    }

    pub(crate) fn exclusions(&self) -> Exclusions<'a> {
        self.exclusions
    }

    /// The positives, where they are no candidates.
    pub(crate) fn outside_rows(&self) -> Option<Rows<'a>> {
        match self.positives {
            Positives::Outside(rows) => Some(self.anchors.of_same_dim(rows)),
            _ => None,
        }
    }

    /// The candidate that is the positive of anchor `row`, if one is.
    #[inline]
    pub(crate) fn positive_index(&self, row: usize) -> Option<usize> {
        self.positives.index(row)
    }

    /// The positive of anchor `row`.
    #[inline]
    pub(crate) fn positive_row(&self, row: usize) -> &'a [f32] {
        self.positives.row(row, self.candidates)
    }

    /// The rows that lie in memory from the positive of anchor `row` on.
    pub(crate) fn rows_from_positive(&self, row: usize) -> &'a [f32] {
        match self.positives.place(row) {
            Place::Candidate(index) => &self.candidates.data()[index * self.dim()..],
            Place::Outside(rows) => &rows[row * self.dim()..],
        }
    }

    /// What an error calls the candidates: in a paired batch they are the positives.
    pub(crate) fn candidate_side(&self) -> Side {
        self.candidate_side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Norms and sums that are in a workspace are those of one slice, not of equal ones.
    #[test]
    fn a_batch_is_measured_by_a_pass_over_its_own_candidates() {
        let rows: Vec<f32> = (1..=24).map(|value| value as f32).collect();
        let (copy, bank) = (rows.clone(), Bank::new(&rows[..], 4).unwrap());
        let batch = |candidates, dim| Batch::new(&rows[..12], candidates, dim, Positives::Identity).unwrap();
        let own = batch(&rows, 4);
        assert!(own.is_measured_by(batch(&rows, 4)));
        assert!(!own.is_measured_by(batch(&copy, 4)), "equal rows elsewhere");
        assert!(!own.is_measured_by(batch(&rows, 3)), "other rows in the same place");
        assert!(!own.is_measured_by(batch(&rows[..20], 4)), "some of the rows");
        let against = Batch::against(&rows[..12], &bank, Positives::Identity).unwrap();
        assert!(!batch(bank.rows(), 4).is_measured_by(against), "a bank has its norms elsewhere");
    }
}
