//! The order in which a tile reads rows, and how rows are packed in that order, a register's worth of rows at a time.
//!
//! Rows are grouped into panels of `width` rows. A panel lies `[step][row]`: word 0 of all its rows, then word 1, and
//! so on; behind the words lie the constants of the candidates. The last panel is narrower if there are fewer rows
//! left; the number of rows is rounded up to whole registers with rows of zeros.

use crate::arch::{Backend, Simd, TileShape, WithSimd, prefetch};

/// The most lanes that a register of `f32` has, and a multiple of the lanes of every other: the most rows that are packed
/// at once.
pub(crate) const MAX_LANES: usize = 16;

/// Rows as the caller has them, with their norms.
#[derive(Clone, Copy)]
pub(crate) struct RawRows<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) norms: &'a [f64],
    pub(crate) dim: usize,
}

impl<'a> RawRows<'a> {
    /// Groups of `size` rows, each with the index of its first row.
    #[inline(always)]
    pub(crate) fn groups(self, size: usize) -> impl Iterator<Item = (usize, RawRows<'a>)> {
        let groups = self.rows.chunks(size * self.dim).zip(self.norms.chunks(size)).enumerate();
        groups.map(move |(group, (rows, norms))| (group * size, RawRows { rows, norms, ..self }))
    }
}

/// Panels, and the place in them of the rows that are packed.
pub(crate) struct PanelTarget<'a> {
    /// The words of panels of `width` rows, a multiple of a register's or a tile of anchors, that hold `padded` rows in all.
    pub(crate) panels: &'a mut [u32],
    pub(crate) width: usize,
    pub(crate) padded: usize,
    /// The words of a row, its constants among them.
    pub(crate) words_per_row: usize,
    /// The first of the rows.
    pub(crate) first: usize,
}

impl PanelTarget<'_> {
    /// The words of the register's worth of rows that begins `from` rows after the first one.
    #[inline(always)]
    pub(super) fn columns<S: Simd>(&mut self, from: usize) -> Columns<'_> {
        let row = self.first + from;
        let start = row - row % self.width;
        let width = self.width.min(self.padded - start);
        let words = &mut self.panels[start * self.words_per_row..];
        let mut pieces = [row - start; MOST_PIECES];
        if width < S::F32_LANES {
            let rows = piece_rows(width);
            for (piece, at) in pieces.iter_mut().enumerate() {
                let row = row - start + piece * rows;
                *at = row / width * width * self.words_per_row + row % width;
            }
        }
        Columns { words, width, pieces }
    }

    /// The words from the first one of a row on, the row `from` rows after the first one, and how far apart its words are.
    pub(super) fn row(&mut self, from: usize) -> (&mut [u32], usize) {
        let row = self.first + from;
        let start = row - row % self.width;
        let width = self.width.min(self.padded - start);
        (&mut self.panels[start * self.words_per_row + row - start..], width)
    }
}

/// The most pieces of a register's worth of rows.
const MOST_PIECES: usize = 4;

/// A register's worth of rows is divided into pieces of so many, each in a single one of panels that are narrower: they have
/// an even number of rows.
fn piece_rows(width: usize) -> usize {
    if width.is_multiple_of(4) { 4 } else { 2 }
}

/// Whether all tiles have pieces of four rows, so that there is no code for others.
const fn all_in_fours([bytes, words, floats]: [TileShape; 3]) -> bool {
    (bytes.anchors | words.anchors | floats.anchors).is_multiple_of(4)
}

/// The words of a register's worth of rows: some columns of one panel, or of several narrow ones.
pub(super) struct Columns<'a> {
    words: &'a mut [u32],
    width: usize,
    /// Where word 0 of the first row of each piece stands. In a panel that is not narrower there is one piece.
    pieces: [usize; MOST_PIECES],
}

impl Columns<'_> {
    /// Writes word `step` of every row.
    #[inline(always)]
    pub(super) fn write<S: Simd>(&mut self, simd: S, step: usize, words: S::I32) {
        if self.width >= S::F32_LANES {
            simd.store_words(words, &mut self.words[self.pieces[0] + step * self.width..]);
            return;
        }
        let mut lanes = [0; MAX_LANES];
        simd.store_words(words, &mut lanes);
        // A constant number of rows: a copy of them is one instruction.
        if const { all_in_fours(S::TILES) } || piece_rows(self.width) == 4 {
            self.copy_pieces::<4>(step, &lanes[..S::F32_LANES]);
        } else {
            self.copy_pieces::<2>(step, &lanes[..S::F32_LANES]);
        }
    }

    #[inline(always)]
    fn copy_pieces<const ROWS: usize>(&mut self, step: usize, lanes: &[u32]) {
        for (lanes, at) in lanes.as_chunks::<ROWS>().0.iter().zip(self.pieces) {
            self.words[at + step * self.width..][..ROWS].copy_from_slice(lanes);
        }
    }
}

/// Packs up to [`MAX_LANES`] rows as `f32`, each scaled to the norm `norm`.
pub(crate) fn pack_floats(backend: Backend, rows: RawRows<'_>, norm: f64, target: PanelTarget<'_>) {
    backend.run(PackFloats { rows, norm, target });
}

struct PackFloats<'a, 'b> {
    rows: RawRows<'a>,
    norm: f64,
    target: PanelTarget<'b>,
}

impl WithSimd for PackFloats<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, norm, mut target } = self;
        let dim = rows.dim;
        for (first, rows) in rows.groups(S::F32_LANES) {
            let (group, mut columns) = (RowGroup::new(rows, norm), target.columns::<S>(first));
            for start in (0..dim).step_by(S::F32_LANES) {
                let elements = group.columns(simd, start);
                for k in start..dim.min(start + S::F32_LANES) {
                    columns.write(simd, k, simd.bits(elements[k - start]));
                }
            }
        }
    }
}

/// The two factors that bring a row to norm `target`: a power of two that brings its norm near 1, so that neither
/// factor overflows nor loses bits, and `f32` of what is left. Both are 0 for a zero row.
///
/// `normalize_into` rounds less, but it goes through `f64`; a screen may be off by what its bound says.
pub(super) fn factors(norm: f64, target: f64) -> [f32; 2] {
    const FAR: f64 = (1_u128 << 64) as f64;
    let power = if norm > FAR {
        1.0 / (FAR * (1_u128 << 32) as f64)
    } else if norm < 1.0 / FAR {
        FAR
    } else {
        1.0
    };
    if norm == 0.0 { [0.0; 2] } else { [power as f32, (target / (norm * power)) as f32] }
}

/// Up to a register's worth of rows, and what scales them.
pub(super) struct RowGroup<'a> {
    rows: &'a [f32],
    dim: usize,
    /// Where each row begins, and the factors that scale it. A row beyond the last is the first one times 0.
    starts: [usize; MAX_LANES],
    factors: [[f32; 2]; MAX_LANES],
}

impl<'a> RowGroup<'a> {
    /// The rows of `rows`, each scaled to the norm `target`.
    #[inline(always)]
    pub(super) fn new(rows: RawRows<'a>, target: f64) -> RowGroup<'a> {
        let RawRows { rows, norms, dim } = rows;
        let (mut starts, mut scales) = ([0; MAX_LANES], [[0.0; 2]; MAX_LANES]);
        for (row, &norm) in norms.iter().enumerate() {
            starts[row] = row * dim;
            scales[row] = factors(norm, target);
        }
        RowGroup { rows, dim, starts, factors: scales }
    }

    /// The length of the rows.
    #[inline(always)]
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Elements `k` and on, one of each row in a register; 0 beyond the last.
    #[inline(always)]
    pub(super) fn columns<S: Simd>(&self, simd: S, k: usize) -> [S::F32; MAX_LANES] {
        let mut square = [simd.splat(0.0); MAX_LANES];
        let rest = self.dim - k;
        if rest >= S::F32_LANES && self.is_full::<S>() {
            simd.load_rows(&self.rows[k..], self.dim, &mut square);
        } else if rest >= S::F32_LANES {
            for (elements, &start) in square.iter_mut().zip(&self.starts[..S::F32_LANES]) {
                *elements = simd.load(&self.rows[start + k..]);
            }
        } else {
            let length = rest.min(S::F32_LANES);
            for (elements, &start) in square.iter_mut().zip(&self.starts[..S::F32_LANES]) {
                let mut block = [0.0; MAX_LANES];
                block[..length].copy_from_slice(&self.rows[start + k..][..length]);
                *elements = simd.load(&block);
            }
        }
        for (elements, [power, rest]) in square.iter_mut().zip(self.factors).take(S::F32_LANES) {
            *elements = simd.mul(simd.mul(*elements, simd.splat(power)), simd.splat(rest));
        }
        simd.transpose(&mut square);
        square
    }

    /// Asks for elements `k` and on of the rows a panel further, one line a row, to be read while there is much to
    /// compute. Rows from memory were rounded to bytes in 0.56 to 0.74 of the time; packing rows in `f32`, which writes
    /// as much as it reads, took 1.04 to 1.09 times as long and does without. Lines beyond the end of the memory are
    /// asked for all the same, which does no harm.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(&self, k: usize) {
        let ahead = 3 * S::F32_LANES * self.dim;
        for &start in &self.starts[..S::F32_LANES] {
            prefetch(self.rows.as_ptr().wrapping_add(start + k + ahead).cast());
        }
    }

    /// Whether there is a row for each lane of a register.
    #[inline(always)]
    fn is_full<S: Simd>(&self) -> bool {
        self.rows.len() >= S::F32_LANES * self.dim
    }
}
