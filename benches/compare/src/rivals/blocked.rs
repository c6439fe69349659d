//! The frame of rivals that leave the product to a library: strips of anchors are multiplied with all candidates into a
//! buffer, which is then reduced. A strip for each thread makes it the whole matrix.

use std::mem::take;
use std::sync::Mutex;

use rayon::prelude::*;

use super::buffer::Buffer;
use super::entrant::{Entrant, Rival};
use super::reduce::{normalize, reduce, sum_of_hinges};
use crate::common::OwnedBatch;
use crate::row::Row;
use crate::shapes::Case;

/// The anchors in a strip. 64 cost `gemm` up to half of its speed at 4096 x 768; 512 gained little over 256.
const STRIP: usize = 256;

/// A product as some library does it.
pub(crate) trait Product: Sync + Send {
    /// Whether it wants rows of norm 1, or takes them as they are.
    const UNIT_ROWS: bool;

    /// What one thread needs for a strip, beyond unit rows and similarities.
    type Scratch: Send;

    fn scratch(strip: usize, candidates: usize) -> Self::Scratch;

    /// Takes note of the candidates of a batch.
    fn prepare(&mut self, candidates: &[f32]) {
        _ = candidates;
    }

    /// Writes the similarities of a strip of anchors with all candidates.
    fn multiply(&self, anchors: &[f32], candidates: &[f32], scratch: &mut Self::Scratch, similarities: &mut [f32]);
}

/// The frame, filled with a product.
pub(crate) struct Blocked<P: Product> {
    product: P,
    dim: usize,
    strip: usize,
    /// Of norm 1, if the product wants that.
    candidates: Buffer,
    /// The hinges of each strip.
    losses: Vec<f64>,
    /// One for each thread.
    slots: Vec<Mutex<Slot<P>>>,
}

struct Slot<P: Product> {
    /// The anchors of a strip, with norm 1, if the product wants that.
    anchors: Buffer,
    similarities: Buffer,
    scratch: P::Scratch,
}

impl<P: Product + 'static> Blocked<P> {
    /// Strips that are whole shares of the threads: the whole matrix is there at once.
    pub(crate) fn whole(name: &str, threads: usize, product: impl Fn(&Case) -> P + Copy + Sync + 'static) -> Entrant {
        Entrant::new(name, threads, move |shape: &Case| {
            Blocked::new(product(shape), shape, threads, shape.rows.div_ceil(threads))
        })
    }

    /// Strips of some hundred anchors: their similarities take little memory, and the candidates, which most libraries
    /// pack for every product, are not packed too often.
    pub(crate) fn strips(name: &str, threads: usize, product: impl Fn(&Case) -> P + Copy + Sync + 'static) -> Entrant {
        Entrant::new(format!("{name}, strips"), threads, move |shape: &Case| {
            Blocked::new(product(shape), shape, threads, STRIP.min(shape.rows.div_ceil(threads)))
        })
    }

    fn new(product: P, shape: &Case, threads: usize, strip: usize) -> Blocked<P> {
        let &Case { rows, candidates, dim, .. } = shape;
        let unit_rows = |rows: usize| Buffer::new(if P::UNIT_ROWS { rows * dim } else { 0 });
        let slot = |_| {
            let (similarities, scratch) = (Buffer::new(strip * candidates), P::scratch(strip, candidates));
            Mutex::new(Slot { anchors: unit_rows(strip), similarities, scratch })
        };
        let (losses, slots) = (vec![0.0; rows.div_ceil(strip)], (0..threads).map(slot).collect());
        Blocked { product, dim, strip, candidates: unit_rows(candidates), losses, slots }
    }
}

impl<P: Product> Blocked<P> {
    fn normalize_candidates(&mut self, positives: &[f32]) {
        if self.slots.len() == 1 {
            return normalize(positives, self.dim, &mut self.candidates);
        }
        let share = self.strip * self.dim;
        let shares = positives.par_chunks(share).zip(self.candidates.par_chunks_mut(share));
        shares.for_each(|(rows, output)| normalize(rows, self.dim, output));
    }

    /// Hands the similarities of every strip to `finish`, with the first of its anchors and its share of `outputs`.
    fn take_strips<T: Send>(
        &mut self,
        pairs: &OwnedBatch,
        (outputs, share): (&mut [T], usize),
        finish: impl Fn(&[f32], usize, &mut [T]) + Sync,
    ) {
        if P::UNIT_ROWS {
            self.normalize_candidates(&pairs.candidates);
        }
        self.product.prepare(if P::UNIT_ROWS { &self.candidates } else { &pairs.candidates });
        let Self { product, dim, strip, candidates, slots, .. } = self;
        let candidates: &[f32] = if P::UNIT_ROWS { candidates } else { &pairs.candidates };
        let take_one = |slot: &mut Slot<P>, index: usize, anchors: &[f32], outputs: &mut [T]| {
            finish(take_strip(product, *dim, candidates, anchors, slot), index * *strip, outputs);
        };
        let elements = *strip * *dim;
        if let [slot] = &mut slots[..] {
            let slot = slot.get_mut().expect("no thread panics");
            let strips = pairs.anchors.chunks(elements).zip(outputs.chunks_mut(share)).enumerate();
            strips.for_each(|(index, (anchors, outputs))| take_one(slot, index, anchors, outputs));
        } else {
            let strips = pairs.anchors.par_chunks(elements).zip(outputs.par_chunks_mut(share)).enumerate();
            strips.for_each(|(index, (anchors, outputs))| {
                let slot = &slots[rayon::current_thread_index().unwrap_or(0) % slots.len()];
                take_one(&mut slot.lock().expect("no thread panics"), index, anchors, outputs);
            });
        }
    }
}

/// The similarities of a strip of anchors.
fn take_strip<'a, P: Product>(
    product: &P,
    dim: usize,
    candidates: &[f32],
    anchors: &[f32],
    slot: &'a mut Slot<P>,
) -> &'a [f32] {
    let similarities = &mut slot.similarities[..anchors.len() / dim * (candidates.len() / dim)];
    let anchors = if P::UNIT_ROWS {
        normalize(anchors, dim, &mut slot.anchors);
        &slot.anchors[..anchors.len()]
    } else {
        anchors
    };
    product.multiply(anchors, candidates, &mut slot.scratch, similarities);
    similarities
}

impl<P: Product> Rival for Blocked<P> {
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
