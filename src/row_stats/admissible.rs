//! The similarities that qualify in a row: the rule for the closest negative, and thresholds.

/// Which candidates may be the closest negative of a row.
///
/// | value | name | candidates j with | who does this |
/// |---|---|---|---|
/// | `Below` | `below` | `s_ij < s_ip`: a negative that is harder than the positive is skipped | the course lab's text; semi-hard mining |
/// | `AtOrBelow` | `at-or-below` | `s_ij <= s_ip`: ties with the positive are kept | the course lab's code |
/// | `Any` | `any` | all negatives, also those more similar than the positive | batch-hard mining |
///
/// The name is what [`Display`](core::fmt::Display) writes and [`FromStr`](core::str::FromStr) reads.
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
    /// The similarities with which a negative qualifies in a row whose positive has this one.
    #[inline(always)]
    pub(crate) fn admissible(self, positive: f32) -> Admissible {
        let high = match self {
            Negatives::Below => positive.next_down(),
            Negatives::AtOrBelow => positive,
            Negatives::Any => f32::INFINITY,
        };
        Admissible { low: f32::NEG_INFINITY, high }
    }
}

/// The similarities with which a candidate of a row qualifies: those from `low` to `high`, none where `low > high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Admissible {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Admissible {
    /// Every similarity.
    pub(crate) const ALL: Admissible = Admissible { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// No similarity.
    pub(crate) const NONE: Admissible = Admissible { low: f32::INFINITY, high: f32::NEG_INFINITY };

    #[inline(always)]
    pub(crate) fn admits(self, similarity: f32) -> bool {
        self.low <= similarity && similarity <= self.high
    }

    /// Whether no similarity qualifies.
    pub(crate) fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// The similarities that are in both.
    pub(crate) fn and(self, other: Admissible) -> Admissible {
        Admissible { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    /// Those of at least `floor`.
    pub(crate) fn from(self, floor: f32) -> Admissible {
        self.and(Admissible { low: floor, ..Admissible::ALL })
    }

    /// The similarities `s` with `s <= limit`.
    fn at_most(limit: f64) -> Admissible {
        let nearest = limit as f32;
        let high = if f64::from(nearest) > limit { nearest.next_down() } else { nearest };
        Admissible { high, ..Admissible::ALL }
    }

    /// The similarities `s` with `s <= limit`, rounded to `f32` first: a similarity passes the limit of its own digits.
    fn at_most_rounded(limit: f64) -> Admissible {
        Admissible { high: limit as f32, ..Admissible::ALL }
    }

    /// The similarities `s` with `s >= limit`, rounded to `f32` first.
    fn at_least_rounded(limit: f64) -> Admissible {
        Admissible { low: limit as f32, ..Admissible::ALL }
    }

    /// The similarities `s` with `s + margin <= limit`, where the sum is rounded to `f64`.
    fn with_margin(margin: f64, limit: f64) -> Admissible {
        let holds = |similarity: f32| f64::from(similarity) + margin <= limit;
        let near = (limit - margin) as f32;
        let near = [near.next_up(), near, near.next_down()];
        let is_last = |&similarity: &f32| holds(similarity) && !holds(similarity.next_up());
        let high = near.into_iter().find(is_last).unwrap_or_else(|| last_where(holds));
        Admissible { high, ..Admissible::ALL }
    }
}

/// The largest `f32` for which `holds` is true, or negative infinity, if it is false for every number above one for
/// which it is false: by bisection of the numbers in their order.
fn last_where(holds: impl Fn(f32) -> bool) -> f32 {
    // Number 0 is negative infinity, and each `f32` has the number after that of the next smaller one.
    const LARGEST: u32 = 2 * 0x7F80_0000;
    let nth = |number: u32| {
        let rank = i64::from(number) - i64::from(LARGEST / 2);
        let magnitude = f32::from_bits(rank.unsigned_abs() as u32);
        if rank < 0 { -magnitude } else { magnitude }
    };
    let (mut low, mut high) = (0, LARGEST);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(nth(middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    nth(low)
}

/// Which similarities with a query qualify for mining: see [`Miner`](crate::Miner). Comparisons are made in `f64`, with
/// p the smallest similarity of a query and its known positives; the largest and the smallest similarity are rounded to
/// `f32` before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub(crate) negatives: Negatives,
    /// `s + a <= p`
    pub(crate) absolute_margin: Option<f64>,
    /// `s <= p - abs(p) * r`
    pub(crate) relative_margin: Option<f64>,
    pub(crate) max_similarity: Option<f64>,
    pub(crate) min_similarity: Option<f64>,
}

impl Thresholds {
    /// The similarities that qualify for a query with this p. Without it, thresholds on p keep everything.
    pub(crate) fn admissible(&self, positive: Option<f32>) -> Admissible {
        let keep = |threshold: Option<f64>, admissible: fn(f64) -> Admissible| threshold.map(admissible);
        let own = [
            keep(self.max_similarity, Admissible::at_most_rounded),
            keep(self.min_similarity, Admissible::at_least_rounded),
        ];
        let of_positive = |positive: f32| {
            let p = f64::from(positive);
            let absolute = self.absolute_margin.map(|margin| Admissible::with_margin(margin, p));
            let relative = self.relative_margin.map(|margin| Admissible::at_most(p - p.abs() * margin));
            [Some(self.negatives.admissible(positive)), absolute, relative]
        };
        let of_positive = positive.map_or([None; 3], of_positive);
        own.into_iter().chain(of_positive).flatten().fold(Admissible::ALL, Admissible::and)
    }

    /// Whether one of them rules out similar candidates.
    pub(crate) fn have_upper(&self) -> bool {
        let upper = [self.absolute_margin, self.relative_margin, self.max_similarity];
        self.negatives != Negatives::Any || upper.iter().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::Random;

    /// Similarities and limits, many of them neighbours.
    fn numbers(random: &mut Random) -> Vec<f32> {
        let mut numbers = vec![0.0, -0.0, 1.0, -1.0, f32::MIN_POSITIVE, 1e-40, -1e-45, 0.75, 1.000_000_1];
        numbers.extend((0..40).map(|_| random.unit()));
        let neighbours: Vec<f32> = numbers.iter().flat_map(|number| [number.next_up(), number.next_down()]).collect();
        numbers.extend(neighbours);
        numbers
    }

    /// Every threshold is compared in `f64` in the definition, and has an interval of `f32` here.
    #[test]
    fn intervals_say_what_thresholds_say() {
        let random = &mut Random(1);
        let numbers = numbers(random);
        let mut margins: Vec<f64> = vec![0.0, -0.0, 0.05, -0.05, 1e-9, 1e-17, -1e-17, 1e-320, 3.0, -3.0, 1e10, 1e300];
        margins.extend((0..20).map(|_| f64::from(random.unit())));
        let none = Thresholds {
            negatives: Negatives::Any,
            absolute_margin: None,
            relative_margin: None,
            max_similarity: None,
            min_similarity: None,
        };
        let mut on_the_edge = 0;
        for &positive in &numbers {
            for &margin in &margins {
                let p = f64::from(positive);
                let absolute = Thresholds { absolute_margin: Some(margin), ..none }.admissible(Some(positive));
                let relative = Thresholds { relative_margin: Some(margin), ..none }.admissible(Some(positive));
                // Margins of this size put the limit on one of the numbers, or beside one.
                let most = Thresholds { max_similarity: Some(p + 1e-9 * margin), ..none }.admissible(Some(positive));
                let least = Thresholds { min_similarity: Some(p + 1e-9 * margin), ..none }.admissible(Some(positive));
                let ends = [absolute.high, relative.high, most.high, least.low];
                let near = ends.into_iter().flat_map(|end| [end.next_down(), end, end.next_up()]);
                for similarity in near.filter(|end| end.is_finite()).chain(numbers.iter().copied()) {
                    let s = f64::from(similarity);
                    let what = format!("s {similarity:e}, p {positive:e}, margin {margin:e}");
                    assert_eq!(absolute.admits(similarity), s + margin <= p, "absolute: {what}");
                    assert_eq!(relative.admits(similarity), s <= p - p.abs() * margin, "relative: {what}");
                    let limit = f64::from((p + 1e-9 * margin) as f32);
                    assert_eq!(most.admits(similarity), s <= limit, "most: {what}");
                    assert_eq!(least.admits(similarity), s >= limit, "least: {what}");
                    on_the_edge += usize::from(s + margin == p);
                }
            }
            let at = |negatives| Thresholds { negatives, ..none }.admissible(Some(positive));
            for &similarity in &numbers {
                assert_eq!(at(Negatives::Below).admits(similarity), similarity < positive);
                assert_eq!(at(Negatives::AtOrBelow).admits(similarity), similarity <= positive);
                assert!(at(Negatives::Any).admits(similarity));
            }
        }
        assert!(on_the_edge > 1000, "{on_the_edge}");
        let all = Thresholds { absolute_margin: Some(0.1), relative_margin: Some(0.1), ..none };
        assert_eq!(all.admissible(None), Admissible::ALL);
    }

    /// Shortest digits of an `f32`, read as `f64`, are on either side of it.
    #[test]
    fn a_similarity_passes_the_limit_of_its_own_digits() {
        let (mut below, mut above) = (0, 0);
        for similarity in numbers(&mut Random(2)) {
            let limit: f64 = similarity.to_string().parse().expect("digits of a number");
            assert!(Admissible::at_most_rounded(limit).admits(similarity), "{similarity}");
            assert!(Admissible::at_least_rounded(limit).admits(similarity), "{similarity}");
            assert!(!Admissible::at_most_rounded(limit).admits(similarity.next_up()), "{similarity}");
            assert!(!Admissible::at_least_rounded(limit).admits(similarity.next_down()), "{similarity}");
            below += usize::from(limit < f64::from(similarity));
            above += usize::from(limit > f64::from(similarity));
        }
        assert!(below > 10 && above > 10, "{below} below, {above} above");
    }

    #[test]
    fn bisection_finds_every_number() {
        for limit in [0.0, 1.0, -1.0, 1e-45, -1e-45, f32::MAX, f32::MIN, 0.3, f32::NEG_INFINITY, f32::INFINITY] {
            assert_eq!(last_where(|number| number <= limit), limit);
        }
        assert_eq!(last_where(|_| false), f32::NEG_INFINITY);
    }
}
