//! The formats of a screen: what a word of 32 bits holds, how words are multiplied, and how sums of products become
//! intervals in which exact similarities lie. Why the intervals hold stands in [`screen`](crate::screen).

use crate::arch::{Backend, Simd};

use super::screen_tile::AnchorConstants;

/// What a word of a panel holds: four bytes, two 16-bit integers, or one `f32`. In ascending order of the time that a
/// product takes, and in descending order of the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    Int8,
    Int16,
    #[default]
    Float32,
}

impl Format {
    /// Elements in a word.
    pub(crate) const fn per_word(self) -> usize {
        match self {
            Format::Int8 => 4,
            Format::Int16 => 2,
            Format::Float32 => 1,
        }
    }

    /// How many words a row of `dim` elements has.
    pub(crate) const fn steps(self, dim: usize) -> usize {
        dim.div_ceil(self.per_word())
    }

    /// How many candidates a panel has.
    pub(crate) const fn panel_width(self, backend: Backend) -> usize {
        backend.traits().tiles[self as usize].registers * backend.traits().f32_lanes
    }

    /// How many anchors a whole tile has.
    pub(crate) const fn tile_anchors(self, backend: Backend) -> usize {
        backend.traits().tiles[self as usize].anchors
    }

    /// How many numbers stand behind the words of each candidate: those of [`CandidateConstants`].
    pub(crate) const fn constants(self) -> usize {
        match self {
            Format::Int8 | Format::Int16 => 4,
            Format::Float32 => 0,
        }
    }

    /// What the elements of anchors and of candidates are rounded to; nothing where they stay as they are.
    pub(crate) const fn integer_ranges(self, backend: Backend) -> Option<[IntegerRange; 2]> {
        let traits = backend.traits();
        let ([anchors, candidates], offset, largest_norm, largest_sum) = match self {
            Format::Int8 => ([traits.i8_anchors, traits.i8_candidates], traits.i8_offset, f32::INFINITY, traits.i8_sum),
            Format::Int16 => ([32767; 2], 0, LARGEST_NORM, None),
            Format::Float32 => return None,
        };
        let anchors =
            IntegerRange { format: self, largest: anchors, largest_norm, largest_sum, candidate_offset: None };
        let offset = Some(offset);
        Some([anchors, IntegerRange { largest: candidates, largest_sum: None, candidate_offset: offset, ..anchors }])
    }

    /// How many words a candidate has, its constants among them.
    pub(crate) const fn words_per_candidate(self, dim: usize) -> usize {
        self.steps(dim) + self.constants()
    }
}

/// The largest norm of a row of 16-bit integers, but for their rounding: two such rows have a product below 2^31, also
/// after their rounding.
pub(crate) const LARGEST_NORM: f32 = 46000.0;

/// The integers that the elements of a row are rounded to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntegerRange {
    pub(crate) format: Format,
    /// The largest magnitude of an integer.
    pub(crate) largest: i32,
    /// The largest norm that the integers of a row may have, but for their rounding.
    pub(crate) largest_norm: f32,
    /// The largest sum that the positive integers of an anchor may have among four that are multiplied into one sum of 16
    /// bits, and the magnitudes of the negative ones; none for candidates, and where no products are added in 16 bits.
    pub(crate) largest_sum: Option<i32>,
    /// What is added to each integer of a candidate; none for anchors.
    pub(crate) candidate_offset: Option<i32>,
}

/// A format as a type, in which the kernels are written.
pub(super) trait Words: 'static {
    const FORMAT: Format;
    /// A register of words, or of sums of their products.
    type Register<S: Simd>: Copy;
    /// The constants of a register of candidates.
    type Constants<S: Simd>: Copy;

    fn load<S: Simd>(simd: S, words: &[u32]) -> Self::Register<S>;
    fn splat<S: Simd>(simd: S, word: u32) -> Self::Register<S>;
    /// Adds the products of the elements in a word of an anchor and in words of candidates to `sum`.
    fn add_products<S: Simd>(
        simd: S,
        anchor: u32,
        candidates: Self::Register<S>,
        sum: Self::Register<S>,
    ) -> Self::Register<S>;
    /// [`Words::add_products`] of two steps.
    #[inline(always)]
    fn add_two_products<S: Simd>(
        simd: S,
        anchors: [u32; 2],
        candidates: [Self::Register<S>; 2],
        sum: Self::Register<S>,
    ) -> Self::Register<S> {
        let first = Self::add_products(simd, anchors[0], candidates[0], sum);
        Self::add_products(simd, anchors[1], candidates[1], first)
    }
    fn load_constants<S: Simd>(simd: S, constants: CandidateConstants<'_>) -> Self::Constants<S>;
    /// The upper ends of the intervals of the pairs with these sums, less the anchor's [`AnchorConstants::shift`].
    fn upper<S: Simd>(simd: S, sum: Self::Register<S>, row: &AnchorConstants, of: &Self::Constants<S>) -> S::F32;
    /// The lengths of the intervals.
    fn length<S: Simd>(simd: S, row: &AnchorConstants, of: &Self::Constants<S>) -> S::F32;
}

/// Integers of some size.
pub(super) trait Integers: 'static {
    const FORMAT: Format;
    /// Adds the products of the integers in a word of an anchor and in words of candidates to `sum`.
    fn dot<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32;
    /// [`Integers::dot`] of two steps.
    #[inline(always)]
    fn dot_twice<S: Simd>(simd: S, anchors: [u32; 2], candidates: [S::I32; 2], sum: S::I32) -> S::I32 {
        Self::dot(simd, anchors[1], candidates[1], Self::dot(simd, anchors[0], candidates[0], sum))
    }
}

/// Elements as they are.
pub(super) struct Float32;

/// 16-bit integers.
pub(super) struct Int16;

/// Bytes: those of candidates have [`Simd::I8_OFFSET`] added. [`AnchorConstants::start`] takes it back.
pub(super) struct Int8;

impl Words for Float32 {
    const FORMAT: Format = Format::Float32;
    type Register<S: Simd> = S::F32;
    type Constants<S: Simd> = ();

    #[inline(always)]
    fn load<S: Simd>(simd: S, words: &[u32]) -> S::F32 {
        simd.load_bits(words)
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, word: u32) -> S::F32 {
        simd.splat(f32::from_bits(word))
    }

    #[inline(always)]
    fn add_products<S: Simd>(simd: S, anchor: u32, candidates: S::F32, sum: S::F32) -> S::F32 {
        simd.mul_add(Self::splat(simd, anchor), candidates, sum)
    }

    #[inline(always)]
    fn load_constants<S: Simd>(_simd: S, _constants: CandidateConstants<'_>) {}

    #[inline(always)]
    fn upper<S: Simd>(_simd: S, sum: S::F32, _row: &AnchorConstants, (): &()) -> S::F32 {
        sum
    }

    #[inline(always)]
    fn length<S: Simd>(simd: S, row: &AnchorConstants, (): &()) -> S::F32 {
        simd.splat(row.length)
    }
}

impl Integers for Int16 {
    const FORMAT: Format = Format::Int16;

    #[inline(always)]
    fn dot<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32 {
        simd.dot_i16(sum, candidates, simd.splat_word(anchor))
    }
}

impl Integers for Int8 {
    const FORMAT: Format = Format::Int8;

    #[inline(always)]
    fn dot<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32 {
        simd.dot_i8(sum, candidates, anchor)
    }

    #[inline(always)]
    fn dot_twice<S: Simd>(simd: S, anchors: [u32; 2], candidates: [S::I32; 2], sum: S::I32) -> S::I32 {
        simd.dot_i8_twice(sum, candidates, anchors)
    }
}

impl<I: Integers> Words for I {
    const FORMAT: Format = I::FORMAT;
    type Register<S: Simd> = S::I32;
    type Constants<S: Simd> = [S::F32; 4];

    #[inline(always)]
    fn load<S: Simd>(simd: S, words: &[u32]) -> S::I32 {
        simd.load_words(words)
    }

    #[inline(always)]
    fn splat<S: Simd>(simd: S, word: u32) -> S::I32 {
        simd.splat_word(word)
    }

    #[inline(always)]
    fn add_products<S: Simd>(simd: S, anchor: u32, candidates: S::I32, sum: S::I32) -> S::I32 {
        I::dot(simd, anchor, candidates, sum)
    }

    #[inline(always)]
    fn add_two_products<S: Simd>(simd: S, anchors: [u32; 2], candidates: [S::I32; 2], sum: S::I32) -> S::I32 {
        I::dot_twice(simd, anchors, candidates, sum)
    }

    #[inline(always)]
    fn load_constants<S: Simd>(simd: S, constants: CandidateConstants<'_>) -> [S::F32; 4] {
        constants.load(simd)
    }

    /// `sum` in units of similarity, with what was removed from the rows added again and the largest error on top.
    #[inline(always)]
    fn upper<S: Simd>(
        simd: S,
        sum: S::I32,
        row: &AnchorConstants,
        [quant_step, center_dot, residual, norm]: &[S::F32; 4],
    ) -> S::F32 {
        let product = simd.mul(simd.to_f32(sum), *quant_step);
        let similarity = simd.mul_add(product, simd.splat(row.quant_step), *center_dot);
        let upper = simd.mul_add(*residual, simd.splat(row.norm), similarity);
        simd.mul_add(*norm, simd.splat(row.residual), upper)
    }

    /// Twice the largest error.
    #[inline(always)]
    fn length<S: Simd>(simd: S, row: &AnchorConstants, [_, _, residual, norm]: &[S::F32; 4]) -> S::F32 {
        let first = simd.mul_add(*residual, simd.splat(2.0 * row.norm), simd.splat(row.length));
        simd.mul_add(*norm, simd.splat(2.0 * row.residual), first)
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
pub(super) struct CandidateConstants<'a> {
    pub(super) constants: &'a [u32],
    pub(super) width: usize,
    /// The first candidate of the register.
    pub(super) first: usize,
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
