//! Rows that make trouble: alike, almost alike, tiny, huge, and whatever bits there are.

use crate::bytes::Bytes;

/// Rows that resemble each other, and the ways to make one more.
pub struct Pool {
    dim: usize,
    rows: Vec<Vec<f32>>,
    /// The ways that this batch is made of.
    ways: Vec<Way>,
}

/// How a row is made.
#[derive(Clone, Copy)]
enum Way {
    /// Independent elements.
    Random,
    /// Independent elements on top of a mean that all rows share.
    CommonMean,
    /// Small whole numbers: exact sums, many equal similarities.
    Integers,
    /// Powers of two of both signs.
    Powers,
    /// Zeros of both signs.
    Zero,
    /// An earlier row.
    Duplicate,
    /// An earlier row with one element moved by a unit in the last place.
    OneUlp,
    /// An earlier row with every element moved by a little: the similarities with it differ by about as much as an
    /// `f32` sum gets wrong.
    NearTie,
    /// An earlier row turned round.
    Opposite,
    /// An earlier row times a power of two, from 2^-140 to 2^120: the same similarities from other numbers.
    Scaled,
}

const ALL_WAYS: [Way; 10] = [
    Way::Random,
    Way::CommonMean,
    Way::Integers,
    Way::Powers,
    Way::Zero,
    Way::Duplicate,
    Way::OneUlp,
    Way::NearTie,
    Way::Opposite,
    Way::Scaled,
];

/// 2 to the power of `exponent`, or what an `f32` has of it.
fn power_of_two(exponent: i32) -> f32 {
    2.0_f64.powi(exponent) as f32
}

impl Pool {
    /// A pool for rows of `dim` elements that are made in one to four ways.
    pub fn new(bytes: &mut Bytes<'_>, dim: usize) -> Pool {
        let ways = (0..1 + bytes.below(4)).map(|_| bytes.choose(&ALL_WAYS)).collect();
        Pool { dim, rows: Vec::new(), ways }
    }

    /// `count` more rows, one after the other.
    pub fn rows(&mut self, bytes: &mut Bytes<'_>, count: usize) -> Vec<f32> {
        let mut data = Vec::with_capacity(count * self.dim);
        for _ in 0..count {
            let row = self.row(bytes);
            data.extend_from_slice(&row);
            // Few enough that rows have many relatives.
            if self.rows.len() < 8 {
                self.rows.push(row);
            }
        }
        data
    }

    fn row(&self, bytes: &mut Bytes<'_>) -> Vec<f32> {
        let way = bytes.choose(&self.ways);
        let mut row = match way {
            Way::Random | Way::CommonMean | Way::Integers | Way::Powers | Way::Zero => vec![0.0; self.dim],
            _ => self.earlier(bytes),
        };
        match way {
            Way::Random => row.fill_with(|| bytes.unit()),
            Way::CommonMean => row.fill_with(|| 3.0 + bytes.unit()),
            Way::Integers => row.fill_with(|| (bytes.unit() * 3.0).round()),
            Way::Powers => row.fill_with(|| power_of_two(bytes.below(9) as i32 - 4).copysign(bytes.unit())),
            Way::Zero => row.fill_with(|| 0.0_f32.copysign(bytes.unit())),
            Way::Duplicate => {}
            Way::OneUlp => {
                let element = &mut row[bytes.below(256) % self.dim];
                *element = if bytes.below(2) == 0 { element.next_up() } else { element.next_down() };
            }
            Way::NearTie => {
                let size = power_of_two(-16 - bytes.below(12) as i32);
                row.iter_mut().for_each(|element| *element *= 1.0 + bytes.unit() * size);
            }
            Way::Opposite => row.iter_mut().for_each(|element| *element = -*element),
            Way::Scaled => {
                let scale = 2.0_f64.powi(2 * bytes.below(131) as i32 - 140);
                row.iter_mut().for_each(|element| *element = (f64::from(*element) * scale) as f32);
            }
        }
        // A scaled row may have been scaled before.
        row.iter_mut().for_each(|element| *element = element.clamp(f32::MIN, f32::MAX));
        row
    }

    /// A row that is there already, or else one of independent elements.
    fn earlier(&self, bytes: &mut Bytes<'_>) -> Vec<f32> {
        match self.rows.len() {
            0 => (0..self.dim).map(|_| bytes.unit()).collect(),
            count => self.rows[bytes.below(count)].clone(),
        }
    }
}

/// Elements at which something changes: the ends of every range, their neighbours, and NaNs of several payloads.
const SPECIAL: [u32; 24] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x8000_0001,
    0x007F_FFFF,
    0x0080_0000,
    0x8080_0000,
    0x1F80_0000,
    0x1FFF_FFFF,
    0x2000_0000,
    0x3F7F_FFFF,
    0x3F80_0000,
    0xBF80_0000,
    0x3F80_0001,
    0x5F80_0000,
    0x5F80_0001,
    0x7F00_0000,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0xFFC0_0001,
    0x7F80_0001,
];

/// What bits an element may have.
#[derive(Clone, Copy, PartialEq)]
pub enum Bits {
    /// Any.
    Any,
    /// Those of a finite number.
    Finite,
}

/// `count` elements of arbitrary bits.
pub fn raw(bytes: &mut Bytes<'_>, bits: Bits, count: usize) -> Vec<f32> {
    let element = |bytes: &mut Bytes<'_>| match bytes.below(4) {
        0 => bytes.choose(&SPECIAL),
        // Near 1: most elements must be ordinary for the others to matter.
        1 => 0x3F80_0000 ^ (bytes.word() & 0x80FF_FFFF),
        _ => bytes.word(),
    };
    let finite =
        |element: f32| if element.is_finite() { element } else { f32::from_bits(element.to_bits() & !0x4000_0000) };
    (0..count)
        .map(|_| f32::from_bits(element(bytes)))
        .map(|element| if bits == Bits::Finite { finite(element) } else { element })
        .collect()
}
