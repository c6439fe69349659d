//! The crate `numkong` (formerly SimSIMD): angular distances of packed rows, computed in `f64`, strip by strip.

use numkong::{Angulars, Dots};

use super::blocked::{Blocked, Product};
use super::entrant::Entrant;
use crate::inputs::Shape;

/// A cache line, to which packed rows are aligned.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; 64],
}

struct NumKong {
    dim: usize,
    packed: Vec<Line>,
}

pub(super) fn entrant(threads: usize) -> Entrant {
    let product = |Shape { candidates, dim, .. }| {
        let lines = f32::dots_packed_size(candidates, dim).div_ceil(size_of::<Line>());
        NumKong { dim, packed: vec![Line { _bytes: [0; 64] }; lines] }
    };
    Blocked::strips("numkong", threads, product)
}

impl Product for NumKong {
    const UNIT_ROWS: bool = false;

    /// Distances.
    type Scratch = Vec<f64>;

    fn scratch(strip: usize, candidates: usize) -> Vec<f64> {
        vec![0.0; strip * candidates]
    }

    fn prepare(&mut self, candidates: &[f32]) {
        let count = candidates.len() / self.dim;
        assert!(size_of_val(&*self.packed) >= f32::dots_packed_size(count, self.dim));
        let (packed, stride) = (self.packed.as_mut_ptr().cast(), self.dim * size_of::<f32>());
        // SAFETY: there are `count` rows of `dim` elements, and the room for them packed is as large as is asked for.
        unsafe { f32::dots_pack(candidates.as_ptr(), count, self.dim, stride, packed) }
    }

    fn multiply(&self, anchors: &[f32], candidates: &[f32], distances: &mut Vec<f64>, similarities: &mut [f32]) {
        let (rows, columns) = (anchors.len() / self.dim, candidates.len() / self.dim);
        assert!(rows * columns == similarities.len() && similarities.len() <= distances.len());
        let (stride, output_stride) = (self.dim * size_of::<f32>(), columns * size_of::<f64>());
        let (packed, output) = (self.packed.as_ptr().cast(), distances.as_mut_ptr());
        // SAFETY: there are `rows` rows of `dim` elements, the candidates were packed by `prepare`, and there is room
        // for a distance of each pair.
        unsafe {
            f32::angulars_packed(anchors.as_ptr(), packed, output, rows, columns, self.dim, stride, output_stride);
        }
        for (similarity, distance) in similarities.iter_mut().zip(distances) {
            *similarity = (1.0 - *distance) as f32;
        }
    }
}
