//! Unit rows, a little shrunk, in the order in which a tile reads them.
//!
//! Rows are grouped into panels of `width` rows. A panel lies `[k][row]`: element 0 of all its rows, then element 1,
//! and so on. The last panel is narrower if there are fewer rows left; the number of rows is rounded up to whole
//! registers with rows of zeros.

use super::SHRINK;
use crate::arch::Simd;

/// The most lanes that a register of `f32` has, and a multiple of the lanes of every other.
pub(crate) const MAX_LANES: usize = 16;

/// The two factors that bring a row to norm [`SHRINK`]: a power of two that brings its norm near 1, so that neither
/// factor overflows nor loses bits, and `f32` of what is left. Both are 0 for a zero row.
///
/// `normalize_into` rounds less, but it goes through `f64`; a screen may be off by what its bound says.
fn unit_factors(norm: f64) -> [f32; 2] {
    const FAR: f64 = (1_u128 << 64) as f64;
    let power = if norm > FAR {
        1.0 / (FAR * (1_u128 << 32) as f64)
    } else if norm < 1.0 / FAR {
        FAR
    } else {
        1.0
    };
    if norm == 0.0 { [0.0; 2] } else { [power as f32, (SHRINK / (norm * power)) as f32] }
}

/// Writes `rows`, scaled to norm [`SHRINK`], into `panels` of `width` rows. `width` is a multiple or a divisor of the
/// register width, and `panels` has a place for every row that the rounding up to whole registers adds.
#[inline(always)]
pub(crate) fn pack<S: Simd>(simd: S, rows: &[f32], norms: &[f64], dim: usize, width: usize, panels: &mut [f32]) {
    let padded = norms.len().next_multiple_of(S::F32_LANES);
    let squares = rows.chunks(S::F32_LANES * dim).zip(norms.chunks(S::F32_LANES));
    for (square, (rows, norms)) in squares.enumerate() {
        let first = square * S::F32_LANES;
        if width >= S::F32_LANES {
            // The square is a part of the columns of one panel.
            let (start, within) = (first - first % width, first % width);
            let panel = &mut panels[start * dim + within..];
            pack_square(simd, rows, norms, dim, width.min(padded - start), panel);
        } else {
            // The square is several whole panels.
            let panels = &mut panels[first * dim..][..S::F32_LANES * dim];
            pack_narrow(simd, rows, norms, dim, width, panels);
        }
    }
}

/// Packs a square of rows into a register's worth of columns of a panel of `width` rows.
#[inline(always)]
fn pack_square<S: Simd>(simd: S, rows: &[f32], norms: &[f64], dim: usize, width: usize, panel: &mut [f32]) {
    let square = Square::new(rows, norms, dim);
    for start in (0..dim).step_by(S::F32_LANES) {
        let columns = square.columns(simd, start);
        for k in start..dim.min(start + S::F32_LANES) {
            simd.store(columns[k - start], &mut panel[k * width..]);
        }
    }
}

/// Packs a square of rows into several panels of `width` rows.
#[inline(always)]
fn pack_narrow<S: Simd>(simd: S, rows: &[f32], norms: &[f64], dim: usize, width: usize, panels: &mut [f32]) {
    let square = Square::new(rows, norms, dim);
    for start in (0..dim).step_by(S::F32_LANES) {
        let columns = square.columns(simd, start);
        for k in start..dim.min(start + S::F32_LANES) {
            let mut lanes = [0.0; MAX_LANES];
            simd.store(columns[k - start], &mut lanes);
            for first in (0..S::F32_LANES).step_by(width) {
                let target = &mut panels[first * dim + k * width..][..width];
                target.copy_from_slice(&lanes[first..first + width]);
            }
        }
    }
}

/// Up to a register's worth of rows.
struct Square<'a> {
    rows: &'a [f32],
    dim: usize,
    /// Where each row begins, and the factors that scale it. A row beyond the last is the first one times 0.
    starts: [usize; MAX_LANES],
    factors: [[f32; 2]; MAX_LANES],
}

impl<'a> Square<'a> {
    #[inline(always)]
    fn new(rows: &'a [f32], norms: &[f64], dim: usize) -> Square<'a> {
        let (mut starts, mut factors) = ([0; MAX_LANES], [[0.0; 2]; MAX_LANES]);
        for (row, &norm) in norms.iter().enumerate() {
            starts[row] = row * dim;
            factors[row] = unit_factors(norm);
        }
        Square { rows, dim, starts, factors }
    }

    /// Elements `k` and on, one of each row in a register.
    #[inline(always)]
    fn columns<S: Simd>(&self, simd: S, k: usize) -> [S::F32; MAX_LANES] {
        let mut square = [simd.splat(0.0); MAX_LANES];
        let rest = self.dim - k;
        if rest >= S::F32_LANES {
            for (r, elements) in square.iter_mut().enumerate().take(S::F32_LANES) {
                *elements = self.scale(simd, r, simd.load(&self.rows[self.starts[r] + k..]));
            }
        } else {
            for (r, elements) in square.iter_mut().enumerate().take(S::F32_LANES) {
                let mut block = [0.0; MAX_LANES];
                block[..rest].copy_from_slice(&self.rows[self.starts[r] + k..][..rest]);
                *elements = self.scale(simd, r, simd.load(&block));
            }
        }
        simd.transpose(&mut square);
        square
    }

    #[inline(always)]
    fn scale<S: Simd>(&self, simd: S, row: usize, elements: S::F32) -> S::F32 {
        let [power, rest] = self.factors[row];
        simd.mul(simd.mul(elements, simd.splat(power)), simd.splat(rest))
    }
}
