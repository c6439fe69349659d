//! The contract of a format: what a word of a panel holds, and how sums of products of words become intervals in which
//! the exact similarities lie. [`float`](super::float) and [`integer`](super::integer) implement it.

use super::center::Center;
use super::pack::{MAX_LANES, PanelWriter, RawRows};
use super::precision::Precision;
use crate::arch::Simd;

/// What the rows of a call are packed with, beside their elements.
#[derive(Clone, Copy)]
pub(crate) struct Params<'a> {
    /// What is removed from the rows of both sides before they are rounded to integers.
    pub(crate) center: Center<'a>,
    /// The error that a sum in `f32` may have.
    pub(crate) float_bound: f32,
}

/// A way to write down the elements of a row in words of 32 bits, `PER_WORD` elements each.
pub(crate) trait Format: 'static {
    const PRECISION: Precision;
    /// Elements in a word.
    const PER_WORD: usize;
    /// Numbers that stand behind the words of each candidate: those of [`CandidateConstants`].
    const CONSTANTS: usize;
    /// What a similarity of 1 is in the units of the intervals.
    const UNIT: f32;
    /// A register of words, or of sums of their products.
    type Words<S: Simd>: Copy;
    /// The constants of a register of candidates.
    type Loaded<S: Simd>: Copy;

    fn load<S: Simd>(simd: S, words: &[u32]) -> Self::Words<S>;
    fn splat<S: Simd>(simd: S, word: u32) -> Self::Words<S>;
    /// Adds the products of the elements in a word of an anchor and in words of candidates to `sum`.
    fn add_products<S: Simd>(simd: S, anchor: u32, candidates: Self::Words<S>, sum: Self::Words<S>) -> Self::Words<S>;
    fn load_constants<S: Simd>(simd: S, constants: CandidateConstants<'_>) -> Self::Loaded<S>;
    /// The upper ends of the intervals in which the similarities of the pairs with these sums lie, less the anchor's
    /// [`AnchorConstants::shift`].
    fn upper<S: Simd>(simd: S, sum: Self::Words<S>, row: &AnchorConstants, loaded: &Self::Loaded<S>) -> S::F32;
    /// The lengths of the intervals.
    fn length<S: Simd>(simd: S, row: &AnchorConstants, loaded: &Self::Loaded<S>) -> S::F32;

    /// Writes the words of up to a register's worth of anchors, and returns what a tile must know of each.
    fn pack_anchors<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        params: Params<'_>,
        scratch: &mut [f32],
        writer: PanelWriter<'_>,
    ) -> [AnchorConstants; MAX_LANES];
    /// Writes the words and the constants of up to a register's worth of candidates.
    fn pack_candidates<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        params: Params<'_>,
        scratch: &mut [f32],
        writer: PanelWriter<'_>,
    );
    /// The extremes of the candidates in panels of `width` candidates, the last of which may be narrower.
    fn extremes(panels: &[u32], width: usize, dim: usize) -> Extremes;
    /// About how much shorter intervals of 16-bit integers would be than those of this format: the share of the
    /// doubtful pairs that would be left to them.
    fn int16_share(rows: &[AnchorConstants], extremes: Extremes, dim: usize) -> f64;
    /// About how much shorter the intervals of `f32` would be, whose error is `float_bound`.
    fn float32_share(rows: &[AnchorConstants], extremes: Extremes, float_bound: f32) -> f64;

    /// How many words an anchor has.
    fn steps(dim: usize) -> usize {
        dim.div_ceil(Self::PER_WORD)
    }

    /// How many words a candidate has, its constants among them.
    fn words_per_candidate(dim: usize) -> usize {
        Self::steps(dim) + Self::CONSTANTS
    }
}

/// What a tile knows of an anchor beside its words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnchorConstants {
    /// The word that a sum starts with.
    pub(crate) start: u32,
    /// What one unit of the anchor's integers stands for.
    pub(crate) quant_step: f32,
    /// The norm of what the anchor's integers stand for.
    pub(crate) norm: f32,
    /// The norm of what they leave out.
    pub(crate) residual: f32,
    /// The part of an interval's length that is the same for all candidates.
    pub(crate) length: f32,
    /// What is added to all similarities of the row, and left out until they are compared.
    pub(crate) shift: f32,
}

impl AnchorConstants {
    /// The largest error of similarities with candidates that have these extremes, beside half of `length`.
    #[inline(always)]
    pub(crate) fn error(&self, extremes: Extremes) -> f32 {
        self.norm * extremes.residual + self.residual * extremes.norm
    }

    /// The length of the longest interval with candidates that have these extremes.
    #[inline(always)]
    pub(crate) fn longest(&self, extremes: Extremes) -> f32 {
        self.length + 2.0 * self.error(extremes)
    }
}

/// The largest residual and the largest norm among some candidates; both are 0 where the error is the same for all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extremes {
    pub(crate) residual: f32,
    pub(crate) norm: f32,
}

impl Extremes {
    /// The extremes of these candidates and others.
    pub(crate) fn max(self, other: Extremes) -> Extremes {
        Extremes { residual: self.residual.max(other.residual), norm: self.norm.max(other.norm) }
    }
}

/// The constants of a register of candidates, `width` apart:
///
/// | row | number |
/// |---|---|
/// | 0 | what one unit of the candidate's integers stands for |
/// | 1 | what is added to all similarities of the candidate |
/// | 2 | the norm of what its integers leave out |
/// | 3 | the norm of the row that they stand for |
#[derive(Clone, Copy)]
pub(crate) struct CandidateConstants<'a> {
    pub(crate) constants: &'a [u32],
    pub(crate) width: usize,
    /// The first candidate of the register.
    pub(crate) first: usize,
}

impl CandidateConstants<'_> {
    #[inline(always)]
    pub(crate) fn load<S: Simd>(self, simd: S) -> [S::F32; 4] {
        let mut loaded = [simd.splat(0.0); 4];
        for (row, loaded) in loaded.iter_mut().enumerate() {
            *loaded = simd.load_bits(&self.constants[row * self.width + self.first..]);
        }
        loaded
    }
}
