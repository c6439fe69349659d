//! The operations in which every kernel is written once: on registers of `f32`, of `f64` and of integers, and only
//! those that this crate needs. Each instruction set implements them in a file of its own.

use super::traits::{Costs, TileShape};

/// A token for an instruction set. Holding one proves that the CPU has it.
///
/// Every method is `#[inline(always)]` in its implementations: it turns into the instruction it names when the kernel
/// that calls it runs inside [`Backend::run`](super::Backend::run), which is where the instruction set is switched on.
///
/// Registers are loaded from slices and stored to slices. A method that loads or stores reads or writes exactly one
/// register's worth from the start of the slice and panics if the slice is shorter; callers pass `chunks_exact` or
/// constant ranges, from which the compiler sees that it never is.
///
/// Kernels do without closures around these methods: a closure is a function of its own, compiled without the
/// instruction set, and an intrinsic that is not inlined costs a call through memory.
pub(crate) trait Simd: Copy + Send + Sync {
    /// A register of `f32`.
    type F32: Copy;
    /// A register of `f64`.
    type F64: Copy;
    /// A register of as many `i32` as it would hold `f32`, or of four bytes or two 16-bit integers in the place of
    /// each.
    type I32: Copy;
    /// How many `f32` a register holds.
    const F32_LANES: usize;
    /// How many `f64` a register holds.
    const F64_LANES: usize;
    /// The tiles of a screen in bytes, in 16-bit integers and in `f32`, whose accumulators fit into the registers.
    const TILES: [TileShape; 3];
    /// The most rows of a tile of dot products in `f64`.
    const DOT_ANCHORS: usize;
    /// The rows of both sides of a tile of widened rows: each pair has one register.
    const WIDE_ANCHORS: usize;
    const WIDE_CANDIDATES: usize;
    /// The rows of both sides of a tile of dot products in `f32`: each pair has one register, and as many pairs as a register
    /// has lanes, or a multiple of it, are summed together.
    const ROW_ANCHORS: usize;
    const ROW_CANDIDATES: usize;
    /// What computing costs with this set.
    const COSTS: Costs;
    /// The largest magnitudes of the bytes of both operands of [`Simd::dot_i8`]: those of anchors and those of candidates.
    const I8_ANCHORS: i32;
    const I8_CANDIDATES: i32;
    /// Where [`Simd::dot_i8_twice`] adds products in 16 bits, before they are widened: the largest sum that the positive bytes
    /// of an anchor may have in each half of its two words, and so the magnitudes of the negative ones.
    const I8_SUM: Option<i32>;
    /// What the bytes of candidates have added to them, at least their largest magnitude where the hardware multiplies
    /// unsigned bytes by signed ones; 0 elsewhere.
    const I8_OFFSET: i32;

    /// Runs `computation`, compiled for this instruction set, as a function of its own: from outside to switch the
    /// instruction set on, from inside another computation to keep rare code out of a hot loop.
    fn run<W: WithSimd>(self, computation: W) -> W::Output;

    /// Runs `kernel` on a tile of `registers` registers and at least `rows` rows, both from 1 to those of the kernel's
    /// [`TileShape`] and constants to the kernel. It is inlined into the caller.
    fn run_tile<K: TileKernel>(self, rows: usize, registers: usize, kernel: K);

    /// Runs `kernel` on a tile of dot products with `anchors` rows, from 1 to `DOT_ANCHORS`, in the shape that suits
    /// them. It is inlined into the caller.
    fn run_dot_tile<K: DotKernel>(self, anchors: usize, kernel: K);

    /// Runs `kernel` on a tile of `WIDE_ANCHORS` by `WIDE_CANDIDATES` rows. It is inlined into the caller.
    fn run_wide_tile<K: DotKernel>(self, kernel: K);

    /// Runs `kernel` on a tile of `ROW_ANCHORS` by `ROW_CANDIDATES` rows. It is inlined into the caller.
    fn run_row_tile<K: DotKernel>(self, kernel: K);

    fn splat(self, value: f32) -> Self::F32;
    fn load(self, source: &[f32]) -> Self::F32;
    /// Loads a register of each of the first `F32_LANES` rows of a matrix, whose rows begin `stride` elements apart, into
    /// the first registers of `square`. It checks once that all of them are in `rows`, not row by row.
    fn load_rows(self, rows: &[f32], stride: usize, square: &mut [Self::F32]);
    fn store(self, value: Self::F32, target: &mut [f32]);
    /// Loads `f32` that are kept as their bits.
    fn load_bits(self, source: &[u32]) -> Self::F32;
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once where the hardware can and twice elsewhere: for screens, whose bound covers both.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `c - a * b`, rounded like [`Simd::mul_add`].
    fn neg_mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// Lane by lane the larger of `best` and the magnitude of `value`; neither is NaN. Of two zeros either may be
    /// taken, here and in [`Simd::max_where`] and [`Simd::largest`].
    fn max_abs(self, best: Self::F32, value: Self::F32) -> Self::F32;
    /// Bit `l` is set where `low <= value <= high` in lane `l`; it is not where one of them is NaN.
    fn in_range(self, value: Self::F32, low: Self::F32, high: Self::F32) -> u32;
    /// Lane by lane the larger of `best` and `value`, where `key` is at most `limit`, and there neither is NaN;
    /// elsewhere `best`, as where `key` or `limit` is NaN.
    fn max_where(self, best: Self::F32, value: Self::F32, key: Self::F32, limit: Self::F32) -> Self::F32;
    /// The largest lane; none is NaN.
    fn largest(self, value: Self::F32) -> f32;
    /// Transposes a square of `F32_LANES` registers: lane `k` of register `r` changes places with lane `r` of register
    /// `k`. Like loads, it works on the first `F32_LANES` elements of the slice.
    fn transpose(self, square: &mut [Self::F32]);
    /// The first `F32_LANES` registers of a slice, the lanes of each added up, in any order, into its lane of the result: for
    /// screens.
    fn sum_each(self, values: &[Self::F32]) -> Self::F32;

    fn splat_word(self, word: u32) -> Self::I32;
    fn load_words(self, source: &[u32]) -> Self::I32;
    fn store_words(self, value: Self::I32, target: &mut [u32]);
    /// The bits of each `f32`.
    fn bits(self, value: Self::F32) -> Self::I32;
    /// The `f32` nearest to each `i32`.
    fn to_f32(self, value: Self::I32) -> Self::F32;
    /// In each lane the lowest byte of `low` below the lowest three of `high`.
    fn join_low_bytes(self, low: Self::I32, high: Self::I32) -> Self::I32;
    /// In each lane the lower half of `low` below the lower half of `high`.
    fn join_low_i16(self, low: Self::I32, high: Self::I32) -> Self::I32;
    /// Adds to each lane of `sum` the four products of its bytes in `bytes`, which are up to [`Simd::I8_CANDIDATES`] and
    /// have [`Simd::I8_OFFSET`] added, and those of `word`, which are up to [`Simd::I8_ANCHORS`].
    fn dot_i8(self, sum: Self::I32, bytes: Self::I32, word: u32) -> Self::I32;
    /// [`Simd::dot_i8`] of two steps. In each half of both words together the positive bytes add up to [`Simd::I8_SUM`] at
    /// most, if there is such a limit, and so do the magnitudes of the negative ones; also where `dot_i8` alone is used.
    #[inline(always)]
    fn dot_i8_twice(self, sum: Self::I32, bytes: [Self::I32; 2], words: [u32; 2]) -> Self::I32 {
        self.dot_i8(self.dot_i8(sum, bytes[0], words[0]), bytes[1], words[1])
    }
    /// Adds to each lane of `sum` the two products of its halves, which lie between -32767 and 32767.
    fn dot_i16(self, sum: Self::I32, a: Self::I32, b: Self::I32) -> Self::I32;

    fn splat64(self, value: f64) -> Self::F64;
    fn load64(self, source: &[f64]) -> Self::F64;
    fn store64(self, value: Self::F64, target: &mut [f64]);
    /// Loads `F64_LANES` values of `f32`, widened without loss.
    fn widen(self, source: &[f32]) -> Self::F64;
    fn add64(self, a: Self::F64, b: Self::F64) -> Self::F64;
    fn mul64(self, a: Self::F64, b: Self::F64) -> Self::F64;
    /// `a * b + c` where `a * b` is exact, so that one rounding and two agree.
    fn mul_add_exact(self, a: Self::F64, b: Self::F64, c: Self::F64) -> Self::F64;
    /// The sum of the lanes, folded by halves: lane `l` takes lane `l + F64_LANES / 2`, and so on down to one.
    fn fold(self, value: Self::F64) -> f64;
    /// The first `F64_LANES` registers of a slice, each folded into its lane of the result.
    fn fold_each(self, values: &[Self::F64]) -> Self::F64;
}

/// A computation written once for every instruction set.
pub(crate) trait WithSimd {
    type Output;
    /// The body; implementations are `#[inline(always)]` so that it compiles under the token's instruction set.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The inner computation of a tile of rows by registers, written once for every shape. The instruction set gives it the
/// shape as constants, so that its accumulators stay in registers.
pub(crate) trait TileKernel {
    /// Which of [`Simd::TILES`] is the largest tile.
    const TILE: usize;
    /// The body; implementations are `#[inline(always)]`.
    fn run<S: Simd, const ANCHORS: usize, const REGISTERS: usize>(self, simd: S);
}

/// The inner computation of a tile of dot products: `ANCHORS` rows by `CANDIDATES` rows with `REGISTERS` accumulators of
/// `f64` for each pair.
pub(crate) trait DotKernel {
    /// The body; implementations are `#[inline(always)]`.
    fn run<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(self, simd: S);
}

/// The first `N` elements of a slice, for one register.
#[inline(always)]
pub(super) fn head<T, const N: usize>(slice: &[T]) -> &[T; N] {
    slice.first_chunk().expect("a full register")
}

/// The first `N` elements of a slice, to be overwritten by one register.
#[inline(always)]
pub(super) fn head_mut<T, const N: usize>(slice: &mut [T]) -> &mut [T; N] {
    slice.first_chunk_mut().expect("a full register")
}

/// How many elements a matrix has at least of whose first `N` rows, `stride` elements apart, the first `N` elements are
/// loaded; the most there are where that overflows.
#[inline(always)]
pub(super) fn last_of_rows<const N: usize>(stride: usize) -> usize {
    stride.saturating_mul(N - 1).saturating_add(N)
}
