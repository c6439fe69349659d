//! Constants of the bounds on roundings.

/// The relative error of one rounding to `f32`.
pub(super) const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

/// A bound that rules out nothing: similarities, screened and exact, lie between -2 and 2 at any dim, so that an
/// interval of 4 on both sides holds them all. An exact one exceeds 1 by roundings only. A screened one is a sum in
/// `f32` of terms whose magnitudes add up to less than 1, with their own roundings, by Cauchy-Schwarz, as the norms of
/// the screen's rows are below 1. When a term t is added to the sum so far, s, rounding moves s + t no farther than to
/// s, which is an `f32` itself: by |t| at most. So the sum changes by at most 2 |t|, and by less than 2 in all.
pub(super) const ANYTHING: f32 = 4.0;
