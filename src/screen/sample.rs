//! The first screen of a call, by the exact similarities of a few anchors with a few candidates.

use super::center::Center;
use super::cost::{CostModel, exact_tile_cost, is_sampled};
use super::method::{Method, Methods};
use super::packing::Params;
use super::quantize::int16_residual;
use super::screening::Screening;
use crate::arch::Backend;
use crate::kernels::{Format, cosine, dots, inverse, norm};
use crate::row_stats::RowRule;
use crate::rows::Sides;

/// The error bound of similarities of bytes up to 127, for rows whose largest element is 3.5 times their root mean square;
/// if these rows' are larger, the blocks will notice.
const INT8_ERROR: f64 = 0.016;

/// The error bound with the bytes of a backend.
fn int8_error(backend: Backend) -> f64 {
    let traits = backend.traits();
    // Four elements of one sign add up to 1.6 times the largest one in such rows.
    let anchors = traits.i8_sum.map_or(traits.i8_anchors, |sum| traits.i8_anchors.min(sum * 5 / 8));
    let share = |largest: i32| 127.0 / f64::from(largest) / 2.0;
    INT8_ERROR * (share(anchors) + share(traits.i8_candidates))
}

/// The divisor of the sampled number of doubtful pairs before costs are compared: a small sample errs, and blocks can
/// change to a finer screen, but not back.
const CAUTION: f64 = 1.25;

/// The candidates of the sample.
const SAMPLE: usize = 32;

/// The pairs of the sample that are computed at once, which hide each other's latency.
const TOGETHER: usize = 4;

/// What the similarities of a row are compared with, beside each other.
pub(crate) trait RowLimits {
    /// The largest similarity that qualifies in a row, or about that; infinity where all do.
    fn limit(&self, row: usize) -> f64;
    /// Who is no negative of a row.
    fn rule(&self, row: usize) -> RowRule<'_>;
}

/// The method with which the blocks of a batch begin, one of `methods`: the cheapest by a sample, if there are limits and
/// the batch is large; and how many pairs the sample has.
pub(crate) fn first_method(
    backend: Backend,
    sides: Sides<'_>,
    limits: Option<&dyn RowLimits>,
    params: Params<'_>,
    methods: Methods,
) -> (Method, usize) {
    let first = methods.first();
    match (first, limits) {
        (Method::Screen(format), Some(limits))
            if first < methods.last() && format < Format::Float32 && is_sampled(backend, sides.shape()) =>
        {
            let sample = Sample { backend, sides, limits, center: params.center };
            (sample.cheapest(format, methods, params.float_bound), sample.pairs())
        }
        _ => (first, 0),
    }
}

/// A look at the exact similarities of a few anchors with a few candidates.
struct Sample<'a> {
    backend: Backend,
    sides: Sides<'a>,
    limits: &'a dyn RowLimits,
    center: Center<'a>,
}

impl Sample<'_> {
    /// The method that is the cheapest if all rows are like those of the sample. `format` is the coarsest screen, and
    /// `float_bound` the error of sums in `f32`.
    fn cheapest(&self, format: Format, methods: Methods, float_bound: f32) -> Method {
        let candidates = self.sides.candidates;
        let spread = self.spread();
        let float32 = 2.0 * f64::from(float_bound);
        let int16 = spread * 2.0 * f64::from(int16_residual(candidates.dim())) + float32;
        let error = match format {
            Format::Int8 => spread * int8_error(self.backend) + float32,
            Format::Int16 => int16,
            Format::Float32 => float32,
        };
        let (count, costs) = (candidates.count() as f64, self.backend.traits().costs);
        let [here, finest_left] = self.doubtful_shares([error, float32]);
        let model = CostModel {
            format,
            dim: candidates.dim() as f64,
            screened: 0.0,
            done: Screening::default(),
            rows: 1.0,
            candidates: count,
            doubtful: count * here / CAUTION,
            scored: 0.0,
            listed: 0.0,
            given_up: None,
            int16_share: int16 / error,
            float32_share: if here > 0.0 { finest_left / here } else { 0.0 },
            screening: costs.screening,
            // Whatever begins, candidates are packed for it.
            packing: 0.0,
            exact_cost: exact_tile_cost(costs.exact, candidates.dim()),
        };
        model.cheapest(methods)
    }

    /// How many pairs the sample has.
    fn pairs(&self) -> usize {
        self.sampled_anchors().count() * self.sides.candidates.spread(SAMPLE).count()
    }

    /// The anchors of the sample: few enough to be cheap beside the call, enough pairs to see some per cent of them.
    fn sampled_anchors(&self) -> impl Iterator<Item = usize> {
        let anchors = self.sides.anchors;
        anchors.spread((anchors.count() / 32).clamp(4, 64))
    }

    /// About the product of the norms that an anchor and a candidate have without the center: `|u - b|^2` is
    /// `1 - 2 u.b + b.b`, and about `1 - b.b` on average over rows whose mean is b.
    fn spread(&self) -> f64 {
        let (anchors, squared_norm) = (self.sides.anchors, self.center.squared_norm());
        let Some(center) = self.center.values().get(..anchors.dim()) else { return 1.0 };
        let (mut sum, mut count) = (0.0, 0.0);
        for row in self.sampled_anchors() {
            let anchor = anchors.row(row);
            let [own, along] = dots(self.backend, anchor, [anchor, center]);
            sum += 1.0 - 2.0 * along * inverse(own.sqrt()) + squared_norm;
            count += 1.0;
        }
        let of_anchors = (sum / count).max(0.0).sqrt();
        of_anchors * (1.0 - squared_norm).max(0.0).sqrt()
    }

    /// The shares of pairs whose similarity is within each error of the limit of the anchor's row.
    fn doubtful_shares(&self, errors: [f64; 2]) -> [f64; 2] {
        let (backend, Sides { anchors, candidates, .. }) = (self.backend, self.sides);
        let (mut sample, mut norms, mut count) = ([0; SAMPLE], [0.0; SAMPLE], 0);
        for index in candidates.spread(SAMPLE) {
            (sample[count], norms[count]) = (index, norm(backend, candidates.row(index)));
            count += 1;
        }
        let sample = &sample[..count];
        let (mut pairs, mut doubtful) = (0_u32, [0; 2]);
        for row in self.sampled_anchors() {
            let (anchor, rule) = (anchors.row(row), self.limits.rule(row));
            let (anchor_norm, limit) = (norm(backend, anchor), self.limits.limit(row));
            for (sample, norms) in sample.chunks(TOGETHER).zip(norms.chunks(TOGETHER)) {
                // A group beyond the last candidate repeats that one.
                let others: [&[f32]; TOGETHER] =
                    core::array::from_fn(|c| candidates.row(sample[c.min(sample.len() - 1)]));
                let dots = dots(backend, anchor, others);
                for ((&candidate, &candidate_norm), &dot) in sample.iter().zip(norms).zip(&dots) {
                    if !rule.excludes(candidate) {
                        let similarity = cosine(dot, anchor_norm, candidate_norm);
                        for (doubtful, error) in doubtful.iter_mut().zip(errors) {
                            *doubtful += u32::from((similarity - limit).abs() <= error);
                        }
                        pairs += 1;
                    }
                }
            }
        }
        doubtful.map(|doubtful| f64::from(doubtful) / f64::from(pairs.max(1)))
    }
}
