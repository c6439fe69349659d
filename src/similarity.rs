//! The exact similarity: the one definition that every path of this crate returns, bit for bit.
//!
//! Similarities decide which negative is chosen, and a comparison is not continuous: one unit in the last place between
//! two code paths picks another negative and moves the loss by as much as the margin. So the order of every sum is
//! fixed here, for every instruction set:
//!
//! * [`dot`] sums `f64(x_k) * f64(y_k)`, element `k` into virtual lane `k % LANES` in ascending `k`, and then folds the
//!   lanes by halves. The product of two `f32` is exact in `f64` (24 + 24 bits of 53), so that a fused multiply-add and
//!   a multiplication followed by an addition agree.
//! * [`norm`] is `sqrt(dot(x, x))`. No finite `f32` row overflows or underflows it.
//! * [`cosine_similarity`] is `f32(dot / (norm * norm))`, 0 where a norm is 0, and never clamped: a clamp makes ties.

use crate::arch::{Backend, Kernel, Simd};
use crate::error::{Error, Side};
use crate::rows::Rows;

/// The virtual lanes of a sum over the elements of a row. Frozen: another value is another definition of similarity.
///
/// Chosen among 8, 16 and 32 by the time of one dot product at dim 64 to 1024, on AVX-512, AVX2 and SSE2 (a core of the
/// Sapphire Rapids class). 8 leave AVX-512 waiting for its own additions (120 ns against 95 ns at dim 768); 32 gain
/// nothing more, cost AVX2 and SSE2 registers they do not have, and make the incomplete block at the end of a row
/// longer (27 ns against 22 ns at dim 100 on AVX2).
const LANES: usize = 16;

/// The registers that hold the virtual lanes; an instruction set with wider registers uses the first few.
type Lanes<S> = [<S as Simd>::F64; LANES / 4];

/// Zeros in every virtual lane.
#[inline(always)]
fn zero_lanes<S: Simd>(simd: S) -> Lanes<S> {
    [simd.splat64(0.0); LANES / 4]
}

/// Folds the virtual lanes by halves: lane `l` takes lane `l + LANES / 2`, and so on down to one.
#[inline(always)]
fn fold_lanes<S: Simd>(simd: S, mut lanes: Lanes<S>) -> f64 {
    let mut registers = LANES / S::F64_LANES;
    while registers > 1 {
        registers /= 2;
        for r in 0..registers {
            lanes[r] = simd.add64(lanes[r], lanes[r + registers]);
        }
    }
    simd.fold(lanes[0])
}

/// The last, incomplete block of a row, filled up with zeros, which add nothing to their lanes.
#[inline(always)]
fn padded<T: Copy + Default>(tail: &[T]) -> [T; LANES] {
    let mut block = [T::default(); LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

/// The exact dot product of two rows of one length.
#[inline(always)]
pub(crate) fn dot_rows<S: Simd>(simd: S, x: &[f32], y: &[f32]) -> f64 {
    let [dot] = dots(simd, x, [y]);
    dot
}

/// The exact dot products of a row with several: each has the lanes of its own, so that they hide each other's latency,
/// and `x` is widened once.
#[inline(always)]
pub(crate) fn dots<S: Simd, const ROWS: usize>(simd: S, x: &[f32], rows: [&[f32]; ROWS]) -> [f64; ROWS] {
    #[inline(always)]
    fn step<S: Simd, const ROWS: usize>(
        simd: S,
        lanes: &mut [Lanes<S>; ROWS],
        x: &[f32; LANES],
        rows: [&[f32; LANES]; ROWS],
    ) {
        for r in 0..LANES / S::F64_LANES {
            let x = simd.widen(&x[r * S::F64_LANES..]);
            for row in 0..ROWS {
                lanes[row][r] = simd.mul_add_exact(x, simd.widen(&rows[row][r * S::F64_LANES..]), lanes[row][r]);
            }
        }
    }
    let mut lanes = [zero_lanes(simd); ROWS];
    let (x, x_tail) = x.as_chunks::<LANES>();
    let chunks = rows.map(|row| &row.as_chunks::<LANES>().0[..x.len()]);
    for (k, x) in x.iter().enumerate() {
        let mut blocks = [x; ROWS];
        for row in 0..ROWS {
            blocks[row] = &chunks[row][k];
        }
        step(simd, &mut lanes, x, blocks);
    }
    if !x_tail.is_empty() {
        let tails = rows.map(|row| padded(row.as_chunks::<LANES>().1));
        step(simd, &mut lanes, &padded(x_tail), tails.each_ref());
    }
    let mut sums = [0.0; ROWS];
    for row in 0..ROWS {
        sums[row] = fold_lanes(simd, lanes[row]);
    }
    sums
}

/// The squares of the norms of two rows, which hide each other's latency.
#[inline(always)]
fn squares<S: Simd>(simd: S, rows: [&[f32]; 2]) -> [f64; 2] {
    #[inline(always)]
    fn step<S: Simd>(simd: S, lanes: &mut [Lanes<S>; 2], rows: [&[f32; LANES]; 2]) {
        for (lanes, row) in lanes.iter_mut().zip(rows) {
            for (r, lane) in lanes.iter_mut().enumerate().take(LANES / S::F64_LANES) {
                let x = simd.widen(&row[r * S::F64_LANES..]);
                *lane = simd.mul_add_exact(x, x, *lane);
            }
        }
    }
    let mut lanes = [zero_lanes(simd); 2];
    let [(x, x_tail), (y, y_tail)] = rows.map(<[f32]>::as_chunks);
    for (x, y) in x.iter().zip(y) {
        step(simd, &mut lanes, [x, y]);
    }
    if !x_tail.is_empty() {
        step(simd, &mut lanes, [&padded(x_tail), &padded(y_tail)]);
    }
    [fold_lanes(simd, lanes[0]), fold_lanes(simd, lanes[1])]
}

/// What an anchor needs of itself, its positive and the sum of all candidates, in one pass: the dot products with
/// itself, with `row` and with `sum`. The products with `sum` are not exact, so that they are rounded before they are
/// added, on every instruction set.
#[inline(always)]
pub(crate) fn anchor_dots<S: Simd>(simd: S, x: &[f32], row: &[f32], sum: &[f64]) -> [f64; 3] {
    #[inline(always)]
    fn step<S: Simd>(simd: S, lanes: &mut [Lanes<S>; 3], x: &[f32; LANES], row: &[f32; LANES], sum: &[f64; LANES]) {
        let [squares, dots, sums] = lanes;
        for r in 0..LANES / S::F64_LANES {
            let at = r * S::F64_LANES;
            let x = simd.widen(&x[at..]);
            squares[r] = simd.mul_add_exact(x, x, squares[r]);
            dots[r] = simd.mul_add_exact(x, simd.widen(&row[at..]), dots[r]);
            sums[r] = simd.add64(sums[r], simd.mul64(x, simd.load64(&sum[at..])));
        }
    }
    let mut lanes = [zero_lanes(simd); 3];
    let ((x, x_tail), (row, row_tail), (sum, sum_tail)) = (x.as_chunks(), row.as_chunks(), sum.as_chunks());
    for ((x, row), sum) in x.iter().zip(row).zip(sum) {
        step(simd, &mut lanes, x, row, sum);
    }
    if !x_tail.is_empty() {
        step(simd, &mut lanes, &padded(x_tail), &padded(row_tail), &padded(sum_tail));
    }
    [fold_lanes(simd, lanes[0]), fold_lanes(simd, lanes[1]), fold_lanes(simd, lanes[2])]
}

/// The dot product of a row with a vector of `f64`, in the same lanes. The products are not exact, so that they are
/// rounded before they are added, on every instruction set.
#[inline(always)]
pub(crate) fn dot_sum<S: Simd>(simd: S, x: &[f32], sum: &[f64]) -> f64 {
    #[inline(always)]
    fn step<S: Simd>(simd: S, lanes: &mut Lanes<S>, x: &[f32; LANES], sum: &[f64; LANES]) {
        for r in 0..LANES / S::F64_LANES {
            let (x, sum) = (simd.widen(&x[r * S::F64_LANES..]), simd.load64(&sum[r * S::F64_LANES..]));
            lanes[r] = simd.add64(lanes[r], simd.mul64(x, sum));
        }
    }
    let mut lanes = zero_lanes(simd);
    let ((x, x_tail), (sum, sum_tail)) = (x.as_chunks(), sum.as_chunks());
    for (x, sum) in x.iter().zip(sum) {
        step(simd, &mut lanes, x, sum);
    }
    if !x_tail.is_empty() {
        step(simd, &mut lanes, &padded(x_tail), &padded(sum_tail));
    }
    fold_lanes(simd, lanes)
}

/// The sum of a slice in `f64`, over virtual lanes folded by halves.
pub(crate) fn sum_lanes(values: &[f32]) -> f64 {
    let mut lanes = [0.0; LANES];
    for values in values.chunks(LANES) {
        for (lane, &value) in lanes.iter_mut().zip(values) {
            *lane += f64::from(value);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// The norm of a row. Not finite if, and only if, an element is not.
#[inline(always)]
pub(crate) fn norm_row<S: Simd>(simd: S, x: &[f32]) -> f64 {
    dot_rows(simd, x, x).sqrt()
}

/// The norms of rows of `dim` elements.
#[inline(always)]
pub(crate) fn norm_rows<S: Simd>(simd: S, rows: &[f32], dim: usize, norms: &mut [f64]) {
    for (rows, norms) in rows.chunks(2 * dim).zip(norms.chunks_mut(2)) {
        let (first, second) = rows.split_at(dim);
        let squares = squares(simd, [first, if norms.len() == 2 { second } else { first }]);
        for (norm, square) in norms.iter_mut().zip(squares) {
            *norm = square.sqrt();
        }
    }
}

/// `1 / norm`, and 0 for a zero row.
#[inline(always)]
pub(crate) fn inverse(norm: f64) -> f64 {
    if norm == 0.0 { 0.0 } else { 1.0 / norm }
}

/// The cosine similarity of two rows whose dot product and norms are known, before it is rounded to `f32`.
#[inline(always)]
pub(crate) fn cosine(dot: f64, x_norm: f64, y_norm: f64) -> f64 {
    let norms = x_norm * y_norm;
    if norms == 0.0 { 0.0 } else { dot / norms }
}

/// The cosine similarity of two rows whose norms are known, before it is rounded to `f32`.
#[inline(always)]
pub(crate) fn cosine_rows<S: Simd>(simd: S, x: &[f32], x_norm: f64, y: &[f32], y_norm: f64) -> f64 {
    cosine(dot_rows(simd, x, y), x_norm, y_norm)
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        dot_rows(simd, self.0, self.1)
    }
}

struct Cosine<'a>(&'a [f32], &'a [f32]);

impl Kernel for Cosine<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let Self(x, y) = self;
        cosine_rows(simd, x, norm_row(simd, x), y, norm_row(simd, y))
    }
}

struct Normalize<'a> {
    row: &'a [f32],
    norm: f64,
    output: &'a mut [f32],
}

impl Kernel for Normalize<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let scale = inverse(self.norm);
        for (output, &value) in self.output.iter_mut().zip(self.row) {
            *output = (f64::from(value) * scale) as f32;
        }
    }
}

/// The first row with an element that is not finite, found by its norm.
struct FirstNotFinite<'a>(Rows<'a>);

impl Kernel for FirstNotFinite<'_> {
    type Output = Option<usize>;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Option<usize> {
        for (index, row) in self.0.iter().enumerate() {
            if !norm_row(simd, row).is_finite() {
                return Some(index);
            }
        }
        None
    }
}

struct AllPairs<'a> {
    anchors: Rows<'a>,
    candidates: Rows<'a>,
    output: &'a mut [f32],
}

impl Kernel for AllPairs<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        /// The candidates whose norms are kept at hand; those of the anchors are computed again for each such block.
        const BLOCK: usize = 128;
        let Self { anchors, candidates, output } = self;
        let count = candidates.count();
        let mut norms = [0.0; BLOCK];
        for start in (0..count).step_by(BLOCK) {
            let block = start..count.min(start + BLOCK);
            for (norm, j) in norms.iter_mut().zip(block.clone()) {
                *norm = norm_row(simd, candidates.row(j));
            }
            for (anchor, output) in anchors.iter().zip(output.chunks_exact_mut(count)) {
                let anchor_norm = norm_row(simd, anchor);
                for ((similarity, j), &norm) in output[block.clone()].iter_mut().zip(block.clone()).zip(&norms) {
                    *similarity = cosine_rows(simd, anchor, anchor_norm, candidates.row(j), norm) as f32;
                }
            }
        }
    }
}

/// Checks the length of a buffer to be written.
fn check_output(expected: usize, output: &[f32]) -> Result<(), Error> {
    if output.len() == expected {
        Ok(())
    } else {
        Err(Error::Length { side: Side::Output, expected, actual: output.len() })
    }
}

/// The exact similarity on a chosen instruction set. The functions of the same names at the root of the crate do the
/// same on [`Backend::detect`], and describe the arguments, results and errors.
impl Backend {
    /// [`dot`](crate::dot) on this backend.
    ///
    /// # Errors
    /// As [`dot`](crate::dot).
    pub fn dot(self, x: &[f32], y: &[f32]) -> Result<f64, Error> {
        let (x, y) = Rows::pair(x, y)?;
        self.finite(self.run(Dot(x.data(), y.data())), x, y)
    }

    /// [`norm`](crate::norm) on this backend.
    ///
    /// # Errors
    /// As [`norm`](crate::norm).
    pub fn norm(self, x: &[f32]) -> Result<f64, Error> {
        self.dot(x, x).map(f64::sqrt)
    }

    /// [`cosine_similarity`](crate::cosine_similarity) on this backend.
    ///
    /// # Errors
    /// As [`cosine_similarity`](crate::cosine_similarity).
    pub fn cosine_similarity(self, x: &[f32], y: &[f32]) -> Result<f32, Error> {
        let (x, y) = Rows::pair(x, y)?;
        self.finite(self.run(Cosine(x.data(), y.data())), x, y).map(|cosine| cosine as f32)
    }

    /// [`normalize_into`](crate::normalize_into) on this backend.
    ///
    /// # Errors
    /// As [`normalize_into`](crate::normalize_into).
    pub fn normalize_into(self, row: &[f32], output: &mut [f32]) -> Result<(), Error> {
        if row.is_empty() {
            return Err(Error::ZeroDim);
        }
        check_output(row.len(), output)?;
        let norm = self.norm(row)?;
        self.run(Normalize { row, norm, output });
        Ok(())
    }

    /// [`similarity_matrix_into`](crate::similarity_matrix_into) on this backend.
    ///
    /// # Errors
    /// As [`similarity_matrix_into`](crate::similarity_matrix_into).
    pub fn similarity_matrix_into(
        self,
        anchors: &[f32],
        candidates: &[f32],
        dim: usize,
        output: &mut [f32],
    ) -> Result<(), Error> {
        let anchors = Rows::new(Side::Anchors, anchors, dim)?;
        let candidates = Rows::new(Side::Candidates, candidates, dim)?;
        let (rows, columns) = (anchors.count(), candidates.count());
        let overflow = Error::SizeOverflow { side: Side::Output, rows, columns };
        check_output(rows.checked_mul(columns).ok_or(overflow)?, output)?;
        self.check_finite(Side::Anchors, anchors)?;
        self.check_finite(Side::Candidates, candidates)?;
        self.run(AllPairs { anchors, candidates, output });
        Ok(())
    }

    /// A number computed from two rows, unless one of them is not finite, which shows in the number.
    fn finite(self, value: f64, x: Rows<'_>, y: Rows<'_>) -> Result<f64, Error> {
        if !value.is_finite() {
            self.check_finite(Side::Anchors, x)?;
            self.check_finite(Side::Candidates, y)?;
        }
        Ok(value)
    }

    /// The error that names the first row with an element that is not finite, if there is one.
    pub(crate) fn check_finite(self, side: Side, rows: Rows<'_>) -> Result<(), Error> {
        self.run(FirstNotFinite(rows)).map_or(Ok(()), |row| Err(Error::NotFinite { side, row }))
    }
}

/// The dot product of two vectors, in `f64`, summed in the fixed order that makes it the same on every CPU.
///
/// Element `k` goes to virtual lane `k % 16` in ascending `k`; then lane `l` takes lane `l + 8`, `l + 4`, and so on.
/// Nothing is allocated.
///
/// ```
/// assert_eq!(hardneg::dot(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.5])?, 15.5);
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// # Errors
/// The vectors are empty or differ in length; an element is not finite.
pub fn dot(x: &[f32], y: &[f32]) -> Result<f64, Error> {
    Backend::detect().dot(x, y)
}

/// The Euclidean norm of a vector, in `f64`: `sqrt(dot(x, x))`. It is right for every finite `f32`, however small or
/// large. Nothing is allocated.
///
/// ```
/// assert!(hardneg::norm(&[3e38, 3e38, 1e-45])?.is_finite());
/// assert_eq!(hardneg::norm(&[3.0, 4.0])?, 5.0);
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// # Errors
/// The vector is empty; an element is not finite.
pub fn norm(x: &[f32]) -> Result<f64, Error> {
    Backend::detect().norm(x)
}

/// The cosine similarity of two vectors: `dot / (norm * norm)`, computed in `f64` and rounded once; 0 where either
/// vector is zero. It is not clamped, so that it may exceed 1 by a rounding. Nothing is allocated.
///
/// ```
/// let similarity = hardneg::cosine_similarity(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.5])?;
/// assert!((similarity - 0.997_408_65).abs() < 1e-7);
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// # Errors
/// The vectors are empty or differ in length; an element is not finite.
pub fn cosine_similarity(x: &[f32], y: &[f32]) -> Result<f32, Error> {
    Backend::detect().cosine_similarity(x, y)
}

/// Writes `row` scaled to norm 1, `f32(f64(x_k) * (1 / norm))`, into `output`; a zero row stays zero. Nothing is
/// allocated.
///
/// ```
/// let mut unit = [0.0; 2];
/// hardneg::normalize_into(&[3e-40, 4e-40], &mut unit)?;
/// assert!((unit[0] - 0.6).abs() < 1e-5 && (unit[1] - 0.8).abs() < 1e-5);
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// # Errors
/// The row is empty; `output` has another length; an element is not finite. Then nothing was written.
pub fn normalize_into(row: &[f32], output: &mut [f32]) -> Result<(), Error> {
    Backend::detect().normalize_into(row, output)
}

/// Writes the cosine similarity of every anchor (m rows) with every candidate (n rows) into `output` (m x n,
/// row-major), each with the bits of [`cosine_similarity`].
///
/// This is for looking at a small matrix. [`TripletLoss::forward`](crate::TripletLoss::forward) needs none, and is many
/// times faster. Runs on the calling thread; nothing is allocated.
///
/// ```
/// let (anchors, candidates) = ([1.0, 0.0, 3.0, 4.0], [0.0, 2.0, 5.0, 0.0, 1.0, 0.0]);
/// let mut matrix = [0.0; 6];
/// hardneg::similarity_matrix_into(&anchors, &candidates, 2, &mut matrix)?;
/// assert_eq!(matrix, [0.0, 1.0, 1.0, 0.8, 0.6, 0.6]);
/// # Ok::<(), hardneg::Error>(())
/// ```
///
/// # Errors
/// `dim` is 0; a side is empty or not a whole number of rows; `output` has another length than m * n; a row is not
/// finite. Then nothing was written.
pub fn similarity_matrix_into(
    anchors: &[f32],
    candidates: &[f32],
    dim: usize,
    output: &mut [f32],
) -> Result<(), Error> {
    Backend::detect().similarity_matrix_into(anchors, candidates, dim, output)
}
