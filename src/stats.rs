//! What a row is reduced to, and the rules that decide it: the only place that knows ties, absence and hinges.

/// Which candidates may be the closest negative of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Negatives {
    /// Those less similar than the positive: the course lab's text, and every semi-hard miner.
    #[default]
    Below,
    /// Those at most as similar as the positive: the course lab's code, which keeps ties.
    AtOrBelow,
    /// All of them: batch-hard mining.
    Any,
}

impl Negatives {
    /// Whether a negative of this similarity qualifies in a row whose positive has that one.
    #[inline(always)]
    pub(crate) fn admit(self, similarity: f32, positive: f32) -> bool {
        match self {
            Negatives::Below => similarity < positive,
            Negatives::AtOrBelow => similarity <= positive,
            Negatives::Any => true,
        }
    }
}

/// The closest negative of a row: its candidate and their cosine similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClosestNegative {
    /// The candidate; the lowest index where several are equally similar.
    pub index: usize,
    /// Its cosine similarity with the anchor.
    pub similarity: f32,
}

/// The search for a row's closest negative: offer every candidate that may be it, in any order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClosestSearch {
    negatives: Negatives,
    positive: f32,
    positive_index: usize,
    found: Option<ClosestNegative>,
}

impl ClosestSearch {
    /// A search in the row whose positive is candidate `positive_index` with similarity `positive`.
    #[inline(always)]
    pub(crate) fn new(negatives: Negatives, positive: f32, positive_index: usize) -> ClosestSearch {
        ClosestSearch { negatives, positive, positive_index, found: None }
    }

    /// Considers candidate `index`: it must not be the positive, it must qualify, and it must be more similar than the
    /// one found so far, or as similar with a lower index.
    #[inline(always)]
    pub(crate) fn offer(&mut self, index: usize, similarity: f32) {
        let qualifies = index != self.positive_index && self.negatives.admit(similarity, self.positive);
        let wins = self.found.is_none_or(|found| {
            similarity > found.similarity || (similarity == found.similarity && index < found.index)
        });
        if qualifies && wins {
            self.found = Some(ClosestNegative { index, similarity });
        }
    }

    /// The closest negative among the candidates offered so far.
    #[inline(always)]
    pub(crate) fn found(&self) -> Option<ClosestNegative> {
        self.found
    }
}

/// The three numbers that a row of similarities is reduced to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RowStats {
    /// The cosine similarity of the anchor and its positive.
    pub positive: f32,
    /// The mean cosine similarity of the anchor and its negatives, summed in `f64`.
    pub mean_negative: f32,
    /// The closest negative, or `None` where no negative qualifies.
    pub closest_negative: Option<ClosestNegative>,
}

impl RowStats {
    /// The first hinge of the row: `max(mean_negative - positive + margin, 0)`.
    #[must_use]
    pub fn mean_term(&self, margin: f32) -> f64 {
        triplet_loss(self.positive, self.mean_negative, margin)
    }

    /// The second hinge of the row: `max(closest_negative - positive + margin, 0)`, and 0 without a closest negative.
    #[must_use]
    pub fn closest_term(&self, margin: f32) -> f64 {
        self.closest_negative.map_or(0.0, |closest| triplet_loss(self.positive, closest.similarity, margin))
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
    let violation = f64::from(negative) - f64::from(positive) + f64::from(margin);
    // Not `f64::max`, which would turn NaN into 0.
    if violation <= 0.0 { 0.0 } else { violation }
}
