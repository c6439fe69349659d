//! What a row comes to, whoever computes it.

use hardneg::{RowStats, triplet_loss};

use crate::rivals::MARGIN;

/// What a row comes to, as everybody reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub positive: f32,
    pub mean_negative: f32,
    /// Index and similarity of the closest negative below the positive.
    pub closest: Option<(usize, f32)>,
}

impl Row {
    /// What the row adds to the loss.
    pub(crate) fn loss(&self) -> f64 {
        let closest = self.closest.map_or(0.0, |(_, closest)| triplet_loss(self.positive, closest, MARGIN));
        triplet_loss(self.positive, self.mean_negative, MARGIN) + closest
    }
}

impl From<&RowStats> for Row {
    fn from(stats: &RowStats) -> Row {
        Row {
            positive: stats.positive(),
            mean_negative: stats.mean_negative().expect("a batch in which nothing is excluded"),
            closest: stats.closest_negative().map(|closest| (closest.index(), closest.similarity())),
        }
    }
}
