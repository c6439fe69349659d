//! The frame of every rival that leaves the product to a library: strips of anchors are multiplied with all candidates
//! into a buffer, which is then reduced row by row. A strip for each thread makes it the whole matrix.

use std::sync::Mutex;

use hardneg::triplet_loss;
use rayon::prelude::*;

use super::super::common::Pairs;
use super::reduce::{normalize, reduce};
use super::{Entrant, MARGIN, Rival, Row};

/// The anchors in a strip. 64 cost `gemm` up to half of its speed at 4096 x 768; 512 gained little over 256.
const STRIP: usize = 256;

/// A product as some library does it.
pub(crate) trait Product: Sync + Send {
    /// What one thread needs for a strip, beyond the similarities.
    type Scratch: Send;

    fn scratch(strip: usize, rows: usize) -> Self::Scratch;

    /// Takes note of the candidates of a batch.
    fn prepare(&mut self, candidates: &[f32]) {
        _ = candidates;
    }

    /// Writes the similarities of a strip of anchors with all candidates. All rows have norm 1.
    fn multiply(&self, anchors: &[f32], candidates: &[f32], scratch: &mut Self::Scratch, similarities: &mut [f32]);
}

/// The frame, filled with a product.
pub(crate) struct Blocked<P: Product> {
    product: P,
    dim: usize,
    strip: usize,
    anchors: Vec<f32>,
    candidates: Vec<f32>,
    rows: Vec<Row>,
    /// One for each thread.
    slots: Vec<Mutex<Slot<P>>>,
}

struct Slot<P: Product> {
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
        let slot = |_| Mutex::new(Slot { similarities: vec![0.0; strip * rows], scratch: P::scratch(strip, rows) });
        let [anchors, candidates] = [0, 1].map(|_| vec![0.0; rows * dim]);
        let slots = (0..threads).map(slot).collect();
        Blocked { product, dim, strip, anchors, candidates, rows: vec![Row::default(); rows], slots }
    }
}

/// Consecutive anchors on their way to rows.
struct Strip<'a> {
    raw: &'a [f32],
    unit: &'a mut [f32],
    rows: &'a mut [Row],
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

    fn take_strips(&mut self, anchors: &[f32]) {
        let Self { product, dim, strip: count, anchors: unit, candidates, rows, slots } = self;
        let (count, share) = (*count, *count * *dim);
        let take = |index: usize, strip: Strip<'_>| {
            let slot = rayon::current_thread_index().unwrap_or(0) % slots.len();
            let slot = &mut *slots[slot].lock().expect("no thread panics");
            take_strip(product, *dim, candidates, index * count, strip, slot);
        };
        if slots.len() == 1 {
            let strips = anchors.chunks(share).zip(unit.chunks_mut(share)).zip(rows.chunks_mut(count)).enumerate();
            strips.for_each(|(index, ((raw, unit), rows))| take(index, Strip { raw, unit, rows }));
        } else {
            let strips = anchors.par_chunks(share).zip(unit.par_chunks_mut(share)).zip(rows.par_chunks_mut(count));
            strips.enumerate().for_each(|(index, ((raw, unit), rows))| take(index, Strip { raw, unit, rows }));
        }
    }
}

/// From the anchors of a strip, of which the first has index `first`, to their rows.
fn take_strip<P: Product>(
    product: &P,
    dim: usize,
    candidates: &[f32],
    first: usize,
    strip: Strip<'_>,
    slot: &mut Slot<P>,
) {
    let count = candidates.len() / dim;
    normalize(strip.raw, dim, strip.unit);
    let similarities = &mut slot.similarities[..strip.rows.len() * count];
    product.multiply(strip.unit, candidates, &mut slot.scratch, similarities);
    for (index, (row, similarities)) in strip.rows.iter_mut().zip(similarities.chunks_exact(count)).enumerate() {
        *row = reduce(similarities, first + index);
    }
}

impl<P: Product> Rival for Blocked<P> {
    fn run(&mut self, pairs: &Pairs) -> f64 {
        self.normalize_candidates(&pairs.positives);
        self.product.prepare(&self.candidates);
        self.take_strips(&pairs.anchors);
        let loss = |row: &Row| {
            let closest = row.closest.map_or(0.0, |(_, closest)| triplet_loss(row.positive, closest, MARGIN));
            triplet_loss(row.positive, row.mean_negative, MARGIN) + closest
        };
        self.rows.iter().map(loss).sum()
    }

    fn rows(&self) -> Vec<Row> {
        self.rows.clone()
    }
}
