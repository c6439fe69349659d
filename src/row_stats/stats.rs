//! The numbers that a row is reduced to, and the hinges that make a loss of them.

use super::neighbour::{ClosestNegative, checked};
use crate::arch::in_default_environment;
use crate::error::Error;

/// The three numbers that a row of similarities is reduced to. All of them are finite, as far as they are there.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "RowStatsFields"))]
pub struct RowStats {
    positive: f32,
    mean_negative: Option<f32>,
    closest_negative: Option<ClosestNegative>,
}

impl RowStats {
    /// The statistics of a row from numbers that were computed elsewhere: by another process, in a file, on a shard. A
    /// row without negatives has no mean negative.
    ///
    /// ```
    /// use hardneg::{ClosestNegative, RowStats, TripletLoss};
    ///
    /// let row = RowStats::new(0.8, Some(0.1), Some(ClosestNegative::new(7, 0.75)?))?;
    /// assert!((TripletLoss::new().reduce(&[row])?.loss - 0.2).abs() < 1e-6);
    /// assert!(RowStats::new(f32::NAN, Some(0.1), None).is_err());
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// A similarity is not finite.
    pub fn new(
        positive: f32,
        mean_negative: Option<f32>,
        closest_negative: Option<ClosestNegative>,
    ) -> Result<RowStats, Error> {
        let mean_negative = mean_negative.map(checked).transpose()?;
        Ok(RowStats { positive: checked(positive)?, mean_negative, closest_negative })
    }

    /// A row of zeros: what memory for statistics is filled with.
    pub(crate) const ZERO: RowStats = RowStats { positive: 0.0, mean_negative: None, closest_negative: None };

    /// Statistics that the crate computed. They are not finite where a row is not: the call finds that later and fails,
    /// so that no user gets them.
    #[inline(always)]
    pub(crate) fn computed(
        positive: f32,
        mean_negative: Option<f32>,
        closest_negative: Option<ClosestNegative>,
    ) -> RowStats {
        RowStats { positive, mean_negative, closest_negative }
    }

    /// Completes a row whose closest negative was found last.
    #[inline(always)]
    pub(crate) fn set_closest_negative(&mut self, closest_negative: Option<ClosestNegative>) {
        self.closest_negative = closest_negative;
    }

    /// Replaces the mean of a row of which some candidates are excluded.
    #[inline(always)]
    pub(crate) fn set_mean_negative(&mut self, mean_negative: Option<f32>) {
        self.mean_negative = mean_negative;
    }

    /// The cosine similarity of the anchor and its positive.
    #[must_use]
    #[inline]
    pub fn positive(&self) -> f32 {
        self.positive
    }

    /// The mean cosine similarity of the anchor and its negatives, summed in `f64`, or `None` where all candidates are
    /// excluded.
    #[must_use]
    #[inline]
    pub fn mean_negative(&self) -> Option<f32> {
        self.mean_negative
    }

    /// The closest negative, or `None` where no negative qualifies.
    #[must_use]
    #[inline]
    pub fn closest_negative(&self) -> Option<ClosestNegative> {
        self.closest_negative
    }

    /// The first hinge of the row: `max(mean_negative - positive + margin, 0)`, and 0 without a mean negative.
    #[must_use]
    pub fn mean_term(&self, margin: f32) -> f64 {
        in_default_environment(|| self.terms(margin)[0])
    }

    /// The second hinge of the row: `max(closest_negative - positive + margin, 0)`, and 0 without a closest negative.
    #[must_use]
    pub fn closest_term(&self, margin: f32) -> f64 {
        in_default_environment(|| self.terms(margin)[1])
    }

    /// Both hinges of the row, computed in the environment of the call.
    #[inline(always)]
    pub(crate) fn terms(&self, margin: f32) -> [f64; 2] {
        let closest = self.closest_negative.map_or(0.0, |closest| hinge(self.positive, closest.similarity, margin));
        [self.mean_negative.map_or(0.0, |mean| hinge(self.positive, mean, margin)), closest]
    }
}

/// The original triplet loss of one anchor from its two similarities: `max(negative - positive + margin, 0)`, in `f64`.
///
/// The source is Schroff, Kalenichenko and Philbin, "FaceNet", 2015, with similarities in place of distances. A NaN in
/// any argument gives NaN.
///
/// ```
/// assert_eq!(hardneg::triplet_loss(0.5, 0.75, 0.25), 0.5);
/// assert_eq!(hardneg::triplet_loss(0.75, 0.25, 0.25), 0.0);
/// assert!(hardneg::triplet_loss(f32::NAN, 0.25, 0.25).is_nan());
/// ```
#[must_use]
pub fn triplet_loss(positive: f32, negative: f32, margin: f32) -> f64 {
    in_default_environment(|| hinge(positive, negative, margin))
}

fn hinge(positive: f32, negative: f32, margin: f32) -> f64 {
    let violation = f64::from(negative) - f64::from(positive) + f64::from(margin);
    // Not `f64::max`, which would turn NaN into 0.
    if violation <= 0.0 { 0.0 } else { violation }
}

/// What is read of [`RowStats`] before it is checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct RowStatsFields {
    positive: f32,
    mean_negative: Option<f32>,
    closest_negative: Option<ClosestNegative>,
}

#[cfg(feature = "serde")]
impl TryFrom<RowStatsFields> for RowStats {
    type Error = Error;

    fn try_from(fields: RowStatsFields) -> Result<RowStats, Error> {
        RowStats::new(fields.positive, fields.mean_negative, fields.closest_negative)
    }
}
