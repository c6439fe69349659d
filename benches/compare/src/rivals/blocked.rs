//! The frame of every rival that leaves the product to a library: strips of anchors are multiplied with all candidates
//! into a buffer, which is then reduced row by row. A strip for each thread makes it the whole matrix.

use std::sync::Mutex;

use hardneg::triplet_loss;
use rayon::prelude::*;

use super::entrant::{Entrant, MARGIN, Rival};
use super::reduce::{normalize, reduce};
use crate::common::OwnedBatch;
use crate::row::Row;

/// The anchors in a strip. 64 cost `gemm` up to half of its speed at 4096 x 768; 512 gained little over 256.
const STRIP: usize = 256;

/// A product as some library does it.
pub(crate) trait Product: Sync + Send {
    /// Whether it wants rows of norm 1, or takes them as they are.
    const UNIT_ROWS: bool;

    /// What one thread needs for a strip, beyond unit rows and similarities.
    type Scratch: Send;

    fn scratch(strip: usize, rows: usize) -> Self::Scratch;

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
    candidates: Vec<f32>,
    rows: Vec<Row>,
    /// One for each thread.
    slots: Vec<Mutex<Slot<P>>>,
}

struct Slot<P: Product> {
    /// The anchors of a strip, with norm 1, if the product wants that.
    anchors: Vec<f32>,
    similarities: Vec<f32>,
    scratch: P::Scratch,
}

impl<P: Product + 'static> Blocked<P> {
    /// Strips that are whole shares of the threads: the whole matrix is there at once.
    pub(crate) fn whole(
        name: &str,
        threads: usize,
        product: impl Fn(usize, usize) -> P + Copy + Sync + 'static,
    ) -> Entrant {
        let strip = move |rows: usize| rows.div_ceil(threads);
        Entrant::new(format!("{name}, whole matrix"), threads, move |rows, dim| {
            Blocked::new(product(rows, dim), rows, dim, threads, strip(rows))
        })
    }

    /// Strips of some hundred anchors: their similarities take little memory, and the candidates, which most libraries
    /// pack for every product, are not packed too often.
    pub(crate) fn strips(
        name: &str,
        threads: usize,
        product: impl Fn(usize, usize) -> P + Copy + Sync + 'static,
    ) -> Entrant {
        let strip = move |rows: usize| STRIP.min(rows.div_ceil(threads));
        Entrant::new(format!("{name}, strips"), threads, move |rows, dim| {
            Blocked::new(product(rows, dim), rows, dim, threads, strip(rows))
        })
    }

    fn new(product: P, rows: usize, dim: usize, threads: usize, strip: usize) -> Blocked<P> {
        let unit_rows = |rows: usize| if P::UNIT_ROWS { vec![0.0; rows * dim] } else { Vec::new() };
        let slot = |_| {
            let (similarities, scratch) = (vec![0.0; strip * rows], P::scratch(strip, rows));
            Mutex::new(Slot { anchors: unit_rows(strip), similarities, scratch })
        };
        let slots = (0..threads).map(slot).collect();
        Blocked { product, dim, strip, candidates: unit_rows(rows), rows: vec![Row::default(); rows], slots }
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

    fn take_strips(&mut self, pairs: &OwnedBatch) {
        let Self { product, dim, strip, candidates, rows, slots } = self;
        let (dim, strip) = (*dim, *strip);
        let candidates = if P::UNIT_ROWS { candidates } else { &pairs.candidates };
        let take = |(index, (anchors, rows)): (usize, (&[f32], &mut [Row]))| {
            let slot = rayon::current_thread_index().unwrap_or(0) % slots.len();
            let slot = &mut *slots[slot].lock().expect("no thread panics");
            take_strip(product, dim, candidates, anchors, slot);
            let similarities = slot.similarities.chunks_exact(candidates.len() / dim);
            for (positive, (row, similarities)) in (index * strip..).zip(rows.iter_mut().zip(similarities)) {
                *row = reduce(similarities, positive);
            }
        };
        if slots.len() == 1 {
            pairs.anchors.chunks(strip * dim).zip(rows.chunks_mut(strip)).enumerate().for_each(take);
        } else {
            pairs.anchors.par_chunks(strip * dim).zip(rows.par_chunks_mut(strip)).enumerate().for_each(take);
        }
    }
}

/// The similarities of a strip of anchors.
fn take_strip<P: Product>(product: &P, dim: usize, candidates: &[f32], anchors: &[f32], slot: &mut Slot<P>) {
    let similarities = &mut slot.similarities[..anchors.len() / dim * (candidates.len() / dim)];
    let anchors = if P::UNIT_ROWS {
        normalize(anchors, dim, &mut slot.anchors);
        &slot.anchors[..anchors.len()]
    } else {
        anchors
    };
    product.multiply(anchors, candidates, &mut slot.scratch, similarities);
}

impl<P: Product> Rival for Blocked<P> {
    fn run(&mut self, pairs: &OwnedBatch) -> f64 {
        if P::UNIT_ROWS {
            self.normalize_candidates(&pairs.candidates);
        }
        self.product.prepare(if P::UNIT_ROWS { &self.candidates } else { &pairs.candidates });
        self.take_strips(pairs);
        let loss = |row: &Row| {
            let closest = row.closest.map_or(0.0, |(_, closest)| triplet_loss(row.positive, closest, MARGIN));
            triplet_loss(row.positive, row.mean_negative, MARGIN) + closest
        };
        self.rows.iter().map(loss).sum()
    }

    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]) {
        self.run(pairs);
        rows.copy_from_slice(&self.rows);
    }
}
