//! What a word of a panel holds: one `f32`, two 16-bit integers, or four bytes; and how sums of their products become
//! intervals in which the exact similarities lie.

use super::center::Centers;
use super::float;
use super::pack::{MAX_LANES, Place};
use super::quantize::{self, Integers};
use crate::arch::Simd;

/// What all rows of a call are prepared with.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) centers: Centers<'a>,
    /// The error of sums in `f32`.
    pub(crate) bound: f32,
}

/// Rows as the caller has them, with their norms.
#[derive(Clone, Copy)]
pub(crate) struct RawRows<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) norms: &'a [f64],
    pub(crate) dim: usize,
}

impl<'a> RawRows<'a> {
    /// The rows, `lanes` at a time, with the index of the first of them.
    #[inline(always)]
    pub(crate) fn squares(self, lanes: usize) -> impl Iterator<Item = (usize, RawRows<'a>)> {
        let squares = self.rows.chunks(lanes * self.dim).zip(self.norms.chunks(lanes)).enumerate();
        squares.map(move |(square, (rows, norms))| (square * lanes, RawRows { rows, norms, ..self }))
    }
}

/// A way to write down the elements of a row in words of 32 bits, `PER_WORD` elements each.
pub(crate) trait Format: 'static {
    /// Elements in a word.
    const PER_WORD: usize;
    /// Numbers that stand behind the words of each candidate: those of [`CandidateConstants`].
    const CONSTANTS: usize;
    /// A register of words, or of sums of their products.
    type Words<S: Simd>: Copy;
    /// The constants of a register of candidates.
    type Loaded<S: Simd>: Copy;

    fn load<S: Simd>(simd: S, words: &[u32]) -> Self::Words<S>;
    fn splat<S: Simd>(simd: S, word: u32) -> Self::Words<S>;
    /// Adds the products of the words' elements to `sum`.
    fn add_products<S: Simd>(
        simd: S,
        anchor: Self::Words<S>,
        candidates: Self::Words<S>,
        sum: Self::Words<S>,
    ) -> Self::Words<S>;
    fn columns<S: Simd>(simd: S, columns: CandidateConstants<'_>) -> Self::Loaded<S>;
    /// The upper ends of the intervals in which the similarities of the pairs with these sums lie, less the anchor's
    /// [`AnchorConstants::shift`].
    fn upper<S: Simd>(simd: S, sum: Self::Words<S>, row: &AnchorConstants, columns: &Self::Loaded<S>) -> S::F32;
    /// The lengths of the intervals.
    fn length<S: Simd>(simd: S, row: &AnchorConstants, columns: &Self::Loaded<S>) -> S::F32;

    /// Writes the words of anchors, and tells what a tile must know of each.
    fn write_anchors<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        setting: Setting<'_>,
        scratch: &mut [f32],
        place: Place<'_>,
    ) -> [AnchorConstants; MAX_LANES];
    /// Writes the words and the constants of candidates.
    fn write_candidates<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        setting: Setting<'_>,
        scratch: &mut [f32],
        place: Place<'_>,
    );

    /// How many words an anchor has.
    fn steps(dim: usize) -> usize {
        dim.div_ceil(Self::PER_WORD)
    }

    /// How many words a candidate has, its constants among them.
    fn stride(dim: usize) -> usize {
        Self::steps(dim) + Self::CONSTANTS
    }
}

/// What a tile knows of an anchor beside its words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnchorConstants {
    /// The word that a sum starts with.
    pub(crate) start: u32,
    /// What one unit of the anchor's integers stands for.
    pub(crate) scale: f32,
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
    /// The largest error of similarities with candidates that have at most this residual and this norm, beside
    /// `length`.
    #[inline(always)]
    pub(crate) fn error(&self, [residual, norm]: [f32; 2]) -> f32 {
        self.norm * residual + self.residual * norm
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
    fn load<S: Simd>(self, simd: S) -> [S::F32; 4] {
        let mut loaded = [simd.splat(0.0); 4];
        for (row, loaded) in loaded.iter_mut().enumerate() {
            *loaded = simd.load_bits(&self.constants[row * self.width + self.first..]);
        }
        loaded
    }
}

/// Elements as they are.
pub(crate) struct F32;

impl Format for F32 {
    const PER_WORD: usize = 1;
    const CONSTANTS: usize = 0;
    type Words<S: Simd> = S::F32;
    type Loaded<S: Simd> = ();

    #[inline(always)]
    fn load<S: Simd>(simd: S, words: &[u32]) -> S::F32 {
        simd.load_bits(words)
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, word: u32) -> S::F32 {
        simd.splat(f32::from_bits(word))
    }

    #[inline(always)]
    fn add_products<S: Simd>(simd: S, anchor: S::F32, candidates: S::F32, sum: S::F32) -> S::F32 {
        simd.mul_add(anchor, candidates, sum)
    }

    #[inline(always)]
    fn columns<S: Simd>(_simd: S, _columns: CandidateConstants<'_>) {}

    #[inline(always)]
    fn upper<S: Simd>(_simd: S, sum: S::F32, _row: &AnchorConstants, (): &()) -> S::F32 {
        sum
    }

    #[inline(always)]
    fn length<S: Simd>(simd: S, row: &AnchorConstants, (): &()) -> S::F32 {
        simd.splat(row.length)
    }

    #[inline(always)]
    fn write_anchors<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        setting: Setting<'_>,
        _scratch: &mut [f32],
        place: Place<'_>,
    ) -> [AnchorConstants; MAX_LANES] {
        float::pack(simd, rows, place);
        [float::row(setting.bound); MAX_LANES]
    }

    #[inline(always)]
    fn write_candidates<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        _setting: Setting<'_>,
        _scratch: &mut [f32],
        place: Place<'_>,
    ) {
        float::pack(simd, rows, place);
    }
}

/// 16-bit integers.
pub(crate) struct I16;

/// Bytes: those of candidates have 128 added, as the hardware multiplies unsigned bytes by signed ones.
/// [`AnchorConstants::start`] takes it back.
pub(crate) struct I8;

impl<I: Integers> Format for I {
    const PER_WORD: usize = I::PER_WORD;
    const CONSTANTS: usize = 4;
    type Words<S: Simd> = S::I32;
    type Loaded<S: Simd> = [S::F32; 4];

    #[inline(always)]
    fn load<S: Simd>(simd: S, words: &[u32]) -> S::I32 {
        simd.load_words(words)
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, word: u32) -> S::I32 {
        simd.splat_word(word)
    }

    #[inline(always)]
    fn add_products<S: Simd>(simd: S, anchor: S::I32, candidates: S::I32, sum: S::I32) -> S::I32 {
        I::dot(simd, anchor, candidates, sum)
    }

    #[inline(always)]
    fn columns<S: Simd>(simd: S, columns: CandidateConstants<'_>) -> [S::F32; 4] {
        columns.load(simd)
    }

    /// `sum` in units of similarity, with what was removed from the rows added again and the largest error on top.
    #[inline(always)]
    fn upper<S: Simd>(
        simd: S,
        sum: S::I32,
        row: &AnchorConstants,
        [scale, cross, residual, norm]: &[S::F32; 4],
    ) -> S::F32 {
        let product = simd.mul(simd.to_f32(sum), *scale);
        let similarity = simd.mul_add(product, simd.splat(row.scale), *cross);
        let upper = simd.mul_add(*residual, simd.splat(row.norm), similarity);
        simd.mul_add(*norm, simd.splat(row.residual), upper)
    }

    /// Twice the largest error.
    #[inline(always)]
    fn length<S: Simd>(simd: S, row: &AnchorConstants, [_, _, residual, norm]: &[S::F32; 4]) -> S::F32 {
        let first = simd.mul_add(*residual, simd.splat(2.0 * row.norm), simd.splat(row.length));
        simd.mul_add(*norm, simd.splat(2.0 * row.residual), first)
    }

    #[inline(always)]
    fn write_anchors<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        setting: Setting<'_>,
        scratch: &mut [f32],
        place: Place<'_>,
    ) -> [AnchorConstants; MAX_LANES] {
        quantize::anchors::<S, I>(simd, rows, setting.centers, scratch, place)
    }

    #[inline(always)]
    fn write_candidates<S: Simd>(
        simd: S,
        rows: RawRows<'_>,
        setting: Setting<'_>,
        scratch: &mut [f32],
        place: Place<'_>,
    ) {
        quantize::candidates::<S, I>(simd, rows, setting.centers, scratch, place);
    }
}
