//! Unit rows in the order in which a tile reads them.
//!
//! Rows are grouped into panels of `width` rows. A panel lies `[k][row]`: element 0 of all its rows, then element 1, and
//! so on. The last panel is narrower if there are fewer rows left; the number of rows is rounded up to whole registers
//! with rows of zeros.

use crate::arch::Simd;

/// The most lanes that a register of `f32` has.
const MAX_LANES: usize = 16;

/// The two factors that bring a row to norm 1: a power of two that brings its norm near 1, so that neither factor
/// overflows nor loses bits, and `f32` of what is left. Both are 0 for a zero row.
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
    if norm == 0.0 { [0.0; 2] } else { [power as f32, (1.0 / (norm * power)) as f32] }
}

/// Writes `rows`, scaled to norm 1, into `panels` of `width` rows. `width` is a multiple or a divisor of the register
/// width, and `panels` has a place for every row that the rounding up to whole registers adds.
#[inline(always)]
pub(crate) fn pack<S: Simd>(simd: S, rows: &[f32], norms: &[f64], dim: usize, width: usize, panels: &mut [f32]) {
    let padded = norms.len().next_multiple_of(S::F32_LANES);
    for (square, (rows, norms)) in rows.chunks(S::F32_LANES * dim).zip(norms.chunks(S::F32_LANES)).enumerate() {
        let mut factors = [[0.0; 2]; MAX_LANES];
        for (factors, &norm) in factors.iter_mut().zip(norms) {
            *factors = unit_factors(norm);
        }
        let first = square * S::F32_LANES;
        let piece = width.min(S::F32_LANES);
        let load = |k: usize, r: usize| {
            let [power, rest] = factors[r].map(|factor| simd.splat(factor));
            let elements = rows.get(r * dim..(r + 1) * dim).map_or(&[][..], |row| &row[k..]);
            let elements = match elements.get(..S::F32_LANES) {
                Some(full) => simd.load(full),
                None => {
                    let mut block = [0.0; MAX_LANES];
                    block[..elements.len()].copy_from_slice(elements);
                    simd.load(&block)
                }
            };
            simd.mul(simd.mul(elements, power), rest)
        };
        for k in (0..dim).step_by(S::F32_LANES) {
            simd.transpose(
                |r| load(k, r),
                |column, values| {
                    let k = k + column;
                    if k >= dim {
                        return;
                    }
                    let mut lanes = [0.0; MAX_LANES];
                    if piece < S::F32_LANES {
                        simd.store(values, &mut lanes);
                    }
                    for from in (0..S::F32_LANES).step_by(piece) {
                        let row = first + from;
                        let (panel, within) = (row / width, row % width);
                        let panel_width = width.min(padded - panel * width);
                        let target = &mut panels[panel * width * dim + k * panel_width + within..][..piece];
                        if piece < S::F32_LANES {
                            target.copy_from_slice(&lanes[from..from + piece]);
                        } else {
                            simd.store(values, target);
                        }
                    }
                },
            );
        }
    }
}
