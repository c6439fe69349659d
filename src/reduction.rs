//! The sum or mean of the losses of rows, and the counts that come with it.

use core::ops::AddAssign;

use crate::arch::in_default_environment;
use crate::exact::sum_in_order;
use crate::row_stats::RowStats;

/// How the losses of the rows become one number. The names are `sum` and `mean`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduction {
    /// Their sum.
    #[default]
    Sum,
    /// Their mean.
    Mean,
}

/// The loss of some rows and what it is made of.
///
/// With the feature `serde` it can be written and read. Through JSON the bits of its floats are the same again only where
/// the reader is exact: `serde_json` is with its feature `float_roundtrip`, and may be off by the last bit without it.
///
/// Values add up, field by field: the totals of several batches. Means become a sum of means, which the number of calls
/// divides. (To split one batch over calls with the bits of one call, put the rows together:
/// [`TripletLoss::reduce`](crate::TripletLoss::reduce).)
///
/// ```
/// use hardneg::{Batch, Loss, TripletLoss, Workspace};
///
/// let rows = [1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0];
/// let (loss, mut workspace) = (TripletLoss::new(), Workspace::new());
/// let mut epoch = Loss::default();
/// for half in rows.chunks(4) {
///     epoch += loss.forward(Batch::paired(half, half, 2)?, &mut workspace)?.loss();
/// }
/// assert_eq!((epoch.rows, epoch.zero_anchors), (4, Some(0)));
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Loss {
    /// `mean_term + closest_term`.
    pub loss: f64,
    /// The sum (or mean) over the rows of the hinge on the mean negative.
    pub mean_term: f64,
    /// The sum (or mean) over the rows of the hinge on the closest negative.
    pub closest_term: f64,
    /// How many rows were added up.
    pub rows: usize,
    /// Rows in which the hinge on the mean negative is above 0.
    pub active_mean: usize,
    /// Rows in which the hinge on the closest negative is above 0.
    pub active_closest: usize,
    /// Rows in which no negative qualified as the closest, those without negatives among them.
    pub without_closest_negative: usize,
    /// Rows without negatives, as all candidates are excluded: their loss is 0.
    #[cfg_attr(feature = "serde", serde(default))]
    pub without_negatives: usize,
    /// Anchors of norm 0, whose similarities are 0; `None` where rows were not looked at, as in
    /// [`TripletLoss::reduce`](crate::TripletLoss::reduce) and
    /// [`TripletLoss::forward_from_similarities`](crate::TripletLoss::forward_from_similarities).
    pub zero_anchors: Option<usize>,
    /// Candidates of norm 0, whose similarities are 0; `None` where rows were not looked at. Several calls against the
    /// same candidates count them several times.
    pub zero_candidates: Option<usize>,
    /// Positives of norm 0 that are no candidates, as [`Positives::Outside`](crate::Positives::Outside) gives them: 0
    /// where the positives are candidates, and `None` where rows were not looked at.
    pub zero_positives: Option<usize>,
}

impl Default for Loss {
    /// The loss of no rows, to add others to.
    fn default() -> Loss {
        Loss {
            loss: 0.0,
            mean_term: 0.0,
            closest_term: 0.0,
            rows: 0,
            active_mean: 0,
            active_closest: 0,
            without_closest_negative: 0,
            without_negatives: 0,
            zero_anchors: Some(0),
            zero_candidates: Some(0),
            zero_positives: Some(0),
        }
    }
}

impl AddAssign for Loss {
    /// Adds field by field; what one of the two did not count is absent from the sum.
    fn add_assign(&mut self, other: Loss) {
        in_default_environment(|| {
            self.loss += other.loss;
            self.mean_term += other.mean_term;
            self.closest_term += other.closest_term;
        });
        // Counts that were read from elsewhere may be anything.
        self.rows = self.rows.saturating_add(other.rows);
        self.active_mean = self.active_mean.saturating_add(other.active_mean);
        self.active_closest = self.active_closest.saturating_add(other.active_closest);
        self.without_closest_negative = self.without_closest_negative.saturating_add(other.without_closest_negative);
        self.without_negatives = self.without_negatives.saturating_add(other.without_negatives);
        let add = |ours: Option<usize>, theirs: Option<usize>| Some(ours?.saturating_add(theirs?));
        self.zero_anchors = add(self.zero_anchors, other.zero_anchors);
        self.zero_candidates = add(self.zero_candidates, other.zero_candidates);
        self.zero_positives = add(self.zero_positives, other.zero_positives);
    }
}

impl Reduction {
    /// What the loss of each of `rows` rows is multiplied by.
    pub(crate) fn row_weight(self, rows: usize) -> f64 {
        match self {
            Reduction::Sum => 1.0,
            Reduction::Mean => 1.0 / rows as f64,
        }
    }
}

/// The sums of the hinges of some rows, and how many rows have which of them, or none.
struct Terms {
    hinges: [f64; 2],
    active: [usize; 2],
    without_closest: usize,
    without_negatives: usize,
}

impl Terms {
    /// Adds up some rows, one after the other.
    #[inline(always)]
    fn of(rows: &[RowStats], margin: f32) -> Terms {
        // Numbers of their own until all are added: two that are written to memory and read as one register wait for the
        // memory, row after row.
        let (mut mean_sum, mut closest_sum, mut active_mean, mut active_closest) = (0.0, 0.0, 0, 0);
        let (mut without_closest, mut without_negatives) = (0, 0);
        for row in rows {
            let [mean, closest] = row.terms(margin);
            mean_sum += mean;
            closest_sum += closest;
            active_mean += usize::from(mean > 0.0);
            active_closest += usize::from(closest > 0.0);
            without_closest += usize::from(row.closest_negative().is_none());
            without_negatives += usize::from(row.mean_negative().is_none());
        }
        let (hinges, active) = ([mean_sum, closest_sum], [active_mean, active_closest]);
        Terms { hinges, active, without_closest, without_negatives }
    }

    /// The sums of these rows and of others.
    fn and(self, other: Terms) -> Terms {
        Terms {
            hinges: [self.hinges[0] + other.hinges[0], self.hinges[1] + other.hinges[1]],
            active: [self.active[0] + other.active[0], self.active[1] + other.active[1]],
            without_closest: self.without_closest + other.without_closest,
            without_negatives: self.without_negatives + other.without_negatives,
        }
    }
}

impl Loss {
    /// The loss of rows, whose norms are not known.
    pub(crate) fn of(rows: &[RowStats], margin: f32, reduction: Reduction) -> Loss {
        let sums = sum_in_order(rows, &|block| Terms::of(block, margin), &Terms::and);
        let [mean_sum, closest_sum] = sums.hinges;
        let [mean_term, closest_term] = match reduction {
            Reduction::Sum => [mean_sum, closest_sum],
            Reduction::Mean => [mean_sum, closest_sum].map(|sum| sum / rows.len() as f64),
        };
        Loss {
            loss: mean_term + closest_term,
            mean_term,
            closest_term,
            rows: rows.len(),
            active_mean: sums.active[0],
            active_closest: sums.active[1],
            without_closest_negative: sums.without_closest,
            without_negatives: sums.without_negatives,
            zero_anchors: None,
            zero_candidates: None,
            zero_positives: None,
        }
    }
}
