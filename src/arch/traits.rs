//! The numbers of an instruction set, as data for code that is compiled once.

use super::simd::Simd;

/// A tile of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileShape {
    /// The rows of a whole tile, an even number.
    pub(crate) anchors: usize,
    /// The registers of candidates of the widest tile.
    pub(crate) registers: usize,
}

impl TileShape {
    /// The tile of so many rows and registers.
    pub(super) const fn of(anchors: usize, registers: usize) -> TileShape {
        TileShape { anchors, registers }
    }
}

/// The shapes in which a set computes, and what computing costs there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    /// How many `f32` a register holds.
    pub(crate) f32_lanes: usize,
    /// The tiles of a screen in bytes, in 16-bit integers and in `f32`.
    pub(crate) tiles: [TileShape; 3],
    /// The largest magnitudes of the bytes of anchors and of candidates, the largest sum of bytes of anchors that are added
    /// in 16 bits, and what is added to those of candidates.
    pub(crate) i8_anchors: i32,
    pub(crate) i8_candidates: i32,
    pub(crate) i8_sum: Option<i32>,
    pub(crate) i8_offset: i32,
    pub(crate) costs: Costs,
}

/// What computing costs with an instruction set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Up to so many rows on both sides, exact tiles take less time than a screen, with its packing.
    pub(crate) exact_square: usize,
    /// Up to so many rows on one side, they do so whatever the other side has.
    pub(crate) exact_few: usize,
    /// Up to so many pairs for each row of both sides, rows are screened as they lie in memory: packing them takes longer
    /// than it saves.
    pub(crate) unpacked_pairs: usize,
    /// Up to so many anchors, from two on, the same holds of one pass over any number of candidates.
    pub(crate) unpacked_few: usize,
    /// From so many pairs on for each row of both sides, rows are widened before exact tiles multiply them.
    pub(crate) widened_pairs: usize,
    /// How many times as long as a screen's tile in `f32` an exact tile takes, pair for pair.
    pub(crate) exact: f64,
    /// What screening a pair takes in bytes, in 16-bit integers and in `f32`, of which the last takes 1.
    pub(crate) screening: [f64; 3],
    /// Whether products of 16-bit integers are faster than those of `f32`, an element of a row for an element.
    pub(crate) fast_i16: bool,
    /// Whether products of bytes are faster than both, an element for an element.
    pub(crate) fast_i8: bool,
    /// Batches with shorter rows, with fewer elements on both sides, or with fewer pairs for each row of both sides are
    /// screened in `f32`: there, rounding rows to integers costs more than it saves.
    pub(crate) integer_dim: usize,
    pub(crate) integer_elements: usize,
    pub(crate) integer_pairs: usize,
    /// From so many elements on the larger side on, few pairs do not matter: what is packed goes to memory, and integers
    /// are fewer bytes.
    pub(crate) integer_streamed: usize,
    /// Batches with fewer rows, or fewer elements, on both sides begin with 16-bit integers, without a sample: bytes save
    /// less there than it takes.
    pub(crate) sampled_rows: usize,
    pub(crate) sampled_elements: usize,
}

impl Costs {
    /// All of them by name.
    pub(super) fn named(self) -> [(&'static str, f64); 16] {
        let [int8, int16, _] = self.screening;
        [
            ("exact_square", self.exact_square as f64),
            ("exact_few", self.exact_few as f64),
            ("unpacked_pairs", self.unpacked_pairs as f64),
            ("unpacked_few", self.unpacked_few as f64),
            ("widened_pairs", self.widened_pairs as f64),
            ("exact", self.exact),
            ("screening_i8", int8),
            ("screening_i16", int16),
            ("fast_i16", f64::from(self.fast_i16)),
            ("fast_i8", f64::from(self.fast_i8)),
            ("integer_dim", self.integer_dim as f64),
            ("integer_elements", self.integer_elements as f64),
            ("integer_pairs", self.integer_pairs as f64),
            ("integer_streamed", self.integer_streamed as f64),
            ("sampled_rows", self.sampled_rows as f64),
            ("sampled_elements", self.sampled_elements as f64),
        ]
    }
}

impl Traits {
    /// The numbers of the set `S`.
    pub(super) const fn of<S: Simd>() -> Traits {
        Traits {
            f32_lanes: S::F32_LANES,
            tiles: S::TILES,
            i8_anchors: S::I8_ANCHORS,
            i8_candidates: S::I8_CANDIDATES,
            i8_sum: S::I8_SUM,
            i8_offset: S::I8_OFFSET,
            costs: S::COSTS,
        }
    }
}
