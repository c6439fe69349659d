//! Few rows as integers, one after the other: what [`round`](super::round) does for a register's worth of rows at once,
//! which takes as long for one row as for all of them. A search in a bank begins with a row or a few.

use super::format::{Format, IntegerRange};
use super::pack::{MAX_LANES, PanelTarget, RawRows, factors};
use super::round::{MAGIC, QuantizedRow};

/// The lanes of the sums along a row, as many as `round` has sums: the bound on their roundings is the same.
const SUMS: usize = 4;

type Quad = [f32; SUMS];

/// Rounds anchors to the integers of `range`, which bounds no sum of theirs, and packs them.
pub(super) fn pack_few_integers(
    range: IntegerRange,
    rows: RawRows<'_>,
    center: &[f32],
    scratch: &mut [f32],
    mut target: PanelTarget<'_>,
) -> [QuantizedRow; MAX_LANES] {
    let mut packed = [QuantizedRow::default(); MAX_LANES];
    let elements = &mut scratch.as_chunks_mut().0[..rows.dim.div_ceil(SUMS)];
    for (index, (row, &norm)) in rows.rows.chunks(rows.dim).zip(rows.norms).enumerate() {
        let mut measured = measure(row, factors(norm, 1.0), center.as_chunks().0, elements);
        measured.set_step(range);
        round(range.format, rows.dim, elements, target.row(index), &mut measured);
        packed[index] = measured;
    }
    packed
}

/// Writes the row without the center into `elements`, and measures it.
fn measure(row: &[f32], factors: [f32; 2], center: &[Quad], elements: &mut [Quad]) -> QuantizedRow {
    let [mut largest, mut squares, mut center_dots] = [[0.0; SUMS]; 3];
    let (quads, tail) = row.as_chunks::<SUMS>();
    let mut last = [0.0; SUMS];
    last[..tail.len()].copy_from_slice(tail);
    for ((values, center), elements) in quads.iter().chain([&last]).zip(center).zip(elements) {
        for k in 0..SUMS {
            let element = values[k] * factors[0] * factors[1] - center[k];
            let magnitude = element.abs();
            elements[k] = element;
            largest[k] = if magnitude > largest[k] { magnitude } else { largest[k] };
            squares[k] += element * element;
            center_dots[k] += element * center[k];
        }
    }
    QuantizedRow::measured(largest.into_iter().fold(0.0, f32::max), sum(squares), sum(center_dots))
}

/// Rounds the elements, writes them as words, each so many after the other, and measures what is left of them.
fn round(format: Format, dim: usize, elements: &[Quad], (words, apart): (&mut [u32], usize), row: &mut QuantizedRow) {
    let (step, inverse) = (row.quant_step, row.inverse_step());
    let [mut residuals, mut sums] = [[0.0; SUMS]; 2];
    for (quad, elements) in elements.iter().enumerate() {
        let mut rounded = [0; SUMS];
        for k in 0..SUMS {
            let magical = elements[k] * inverse + MAGIC;
            let integer = magical - MAGIC;
            let residual = elements[k] - integer * step;
            residuals[k] += residual * residual;
            sums[k] += integer;
            rounded[k] = magical.to_bits();
        }
        let [a, b, c, d] = rounded;
        if format == Format::Int8 {
            words[quad * apart] = u32::from_le_bytes([a, b, c, d].map(|bits| bits as u8));
        } else {
            words[2 * quad * apart] = a & 0xFFFF | b << 16;
            if 4 * quad + 2 < dim {
                words[(2 * quad + 1) * apart] = c & 0xFFFF | d << 16;
            }
        }
    }
    row.add_rounding(sum(residuals), sum(sums));
}

/// The sum of the lanes, in the order of [`round`](super::round).
fn sum([a, b, c, d]: Quad) -> f32 {
    (a + b) + (c + d)
}
