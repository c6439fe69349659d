//! The least that the whole job needs with a matrix product: both sides are normalised into buffers, a product of the
//! crate `gemm` (about as fast as a Rust crate has them, with AVX-512) fills a buffer of similarities, and one pass over
//! it adds up the hinges. The buffer holds a strip of anchors for each thread: all of its anchors, or some hundred.

use std::mem::take;
use std::sync::Mutex;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use super::buffer::Buffer;
use super::entrant::{Entrant, Rival};
use super::reduce::{normalize, reduce, sum_of_hinges};
use crate::common::OwnedBatch;
use crate::row::Row;
use crate::shapes::Case;

/// The anchors in a strip. 64 cost `gemm` up to half of its speed at 4096 x 768; 512 gained little over 256.
const STRIP: usize = 256;

struct Gemm {
    dim: usize,
    strip: usize,
    /// Of norm 1.
    candidates: Buffer,
    /// The hinges of each strip.
    losses: Vec<f64>,
    /// One for each thread.
    slots: Vec<Mutex<Slot>>,
}

struct Slot {
    /// The anchors of a strip, of norm 1.
    anchors: Buffer,
    similarities: Buffer,
}

/// With the whole matrix, and in strips, which take less memory and are as fast or faster in large batches.
pub(super) fn entrants(threads: usize) -> [Entrant; 2] {
    let share = move |case: &Case| case.rows.div_ceil(threads);
    let whole = Entrant::new("gemm", threads, move |case: &Case| Gemm::new(case, threads, share(case)));
    let strips = move |case: &Case| Gemm::new(case, threads, STRIP.min(share(case)));
    [whole, Entrant::new("gemm, strips", threads, strips)]
}

impl Gemm {
    fn new(&Case { rows, candidates, dim, .. }: &Case, threads: usize, strip: usize) -> Gemm {
        let slot =
            |_| Mutex::new(Slot { anchors: Buffer::new(strip * dim), similarities: Buffer::new(strip * candidates) });
        let (losses, slots) = (vec![0.0; rows.div_ceil(strip)], (0..threads).map(slot).collect());
        Gemm { dim, strip, candidates: Buffer::new(candidates * dim), losses, slots }
    }

    /// Hands the similarities of every strip to `finish`, with the first of its anchors and its share of `outputs`.
    fn take_strips<T: Send>(
        &mut self,
        pairs: &OwnedBatch,
        (outputs, share): (&mut [T], usize),
        finish: impl Fn(&[f32], usize, &mut [T]) + Sync,
    ) {
        let Gemm { dim, strip, candidates, slots, .. } = self;
        let (dim, elements, strip) = (*dim, *strip * *dim, *strip);
        let take_one = |candidates: &[f32], slot: &mut Slot, index: usize, anchors: &[f32], outputs: &mut [T]| {
            let (unit, similarities) =
                (&mut slot.anchors[..anchors.len()], anchors.len() / dim * candidates.len() / dim);
            let similarities = &mut slot.similarities[..similarities];
            normalize(anchors, dim, unit);
            multiply(dim, unit, candidates, similarities);
            finish(similarities, index * strip, outputs);
        };
        if let [slot] = &mut slots[..] {
            normalize(&pairs.candidates, dim, candidates);
            let slot = slot.get_mut().expect("no thread panics");
            let strips = pairs.anchors.chunks(elements).zip(outputs.chunks_mut(share)).enumerate();
            strips.for_each(|(index, (anchors, outputs))| take_one(candidates, slot, index, anchors, outputs));
        } else {
            let shares = pairs.candidates.par_chunks(elements).zip(candidates.par_chunks_mut(elements));
            shares.for_each(|(rows, output)| normalize(rows, dim, output));
            let strips = pairs.anchors.par_chunks(elements).zip(outputs.par_chunks_mut(share)).enumerate();
            strips.for_each(|(index, (anchors, outputs))| {
                let slot = &slots[rayon::current_thread_index().unwrap_or(0) % slots.len()];
                take_one(candidates, &mut slot.lock().expect("no thread panics"), index, anchors, outputs);
            });
        }
    }
}

impl Rival for Gemm {
    fn run(&mut self, pairs: &OwnedBatch) -> f64 {
        let (columns, mut losses) = (pairs.candidates.len() / pairs.dim, take(&mut self.losses));
        self.take_strips(pairs, (&mut losses, 1), |similarities, first, losses| {
            losses[0] = sum_of_hinges(similarities, columns, first);
        });
        self.losses = losses;
        self.losses.iter().sum()
    }

    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]) {
        let columns = pairs.candidates.len() / pairs.dim;
        self.take_strips(pairs, (rows, self.strip), |similarities, first, rows| {
            for (positive, (row, similarities)) in (first..).zip(rows.iter_mut().zip(similarities.chunks(columns))) {
                *row = reduce(similarities, positive);
            }
        });
    }
}

/// Writes the dot product of every anchor with every candidate, on the calling thread.
pub(super) fn multiply(dim: usize, anchors: &[f32], candidates: &[f32], products: &mut [f32]) {
    let (rows, columns) = (anchors.len() / dim, candidates.len() / dim);
    assert!(products.len() == rows * columns && anchors.len() == rows * dim && candidates.len() == columns * dim);
    let (row_stride, output_stride) = (dim as isize, columns as isize);
    let (output, left, right) = (products.as_mut_ptr(), anchors.as_ptr(), candidates.as_ptr());
    let (alpha, beta, is_read, is_conjugated) = (0.0, 1.0, false, false);
    // SAFETY: the three matrices have the lengths that their sizes and strides ask for, as asserted; the candidates are
    // transposed by their strides, and the output is overwritten.
    unsafe {
        gemm(
            rows,
            columns,
            dim,
            output,
            1,
            output_stride,
            is_read,
            left,
            1,
            row_stride,
            right,
            row_stride,
            1,
            alpha,
            beta,
            is_conjugated,
            is_conjugated,
            is_conjugated,
            Parallelism::None,
        );
    }
}
