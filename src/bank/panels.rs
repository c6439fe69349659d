//! What a bank keeps for its screens: the panels of each format, and the center that is removed from the rows.

use core::marker::PhantomData;
use core::ops::Range;

use crate::arch::Backend;
use crate::candidates::{PackPanel, Padding, Preparation, extremes};
use crate::error::{Error, Side};
use crate::memory::{AlignedVec, grow};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::rows::Rows;
use crate::screen::{
    Center, Extremes, Float32, Format, Int8, Int16, MAX_LANES, Params, Precision, Precisions, RawRows, center_len,
    float_bound, scratch_len,
};

/// The panels of every format that is kept.
#[derive(Debug)]
pub(super) struct Panels {
    backend: Backend,
    dim: usize,
    kept: Precisions,
    int8: FormatPanels,
    int16: FormatPanels,
    float32: FormatPanels,
    /// What was removed from the rows, when the bank had `centered_rows` of them; `changed` rows came, went or changed
    /// since.
    center: Vec<f32>,
    squared_norm: f64,
    centered_rows: usize,
    changed: usize,
    /// A register's worth of rows without their center.
    scratch: PerThread<AlignedVec<f32>>,
}

/// The panels of one format. All of them are whole, so that a row can be added where it belongs.
#[derive(Debug, Default)]
struct FormatPanels {
    words: AlignedVec<u32>,
    /// At least those of the rows.
    extremes: Extremes,
}

/// The rows of a bank and their norms.
#[derive(Clone, Copy)]
pub(super) struct BankRows<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) norms: &'a [f64],
}

impl Panels {
    /// No panels of rows of `dim` elements.
    pub(super) fn new(backend: Backend, dim: usize, kept: Precisions) -> Panels {
        Panels {
            backend,
            dim,
            kept,
            int8: FormatPanels::default(),
            int16: FormatPanels::default(),
            float32: FormatPanels::default(),
            center: Vec::new(),
            squared_norm: 0.0,
            centered_rows: 0,
            changed: 0,
            scratch: PerThread::default(),
        }
    }

    pub(super) fn kept(&self) -> Precisions {
        self.kept
    }

    /// The length of the longest rows that are rounded to integers, or 0.
    pub(super) fn quantised_dim(&self) -> usize {
        if self.kept.coarsest() < Precision::Float32 { self.dim } else { 0 }
    }

    /// What the rows are packed with.
    pub(super) fn params(&self) -> Params<'_> {
        let center =
            if self.quantised_dim() == 0 { Center::NONE } else { Center::kept(&self.center, self.squared_norm) };
        Params { center, float_bound: float_bound(self.dim) }
    }

    /// The panels of `rows` rows in one precision, and the extremes of the rows in them; nothing where it is not kept.
    pub(super) fn of(&self, precision: Precision, rows: usize) -> (&[u32], Extremes) {
        let (panels, words) = match precision {
            _ if !self.kept.contains(precision) => return (&[], Extremes::default()),
            Precision::Int8 => (&self.int8, Int8::words_per_candidate(self.dim)),
            Precision::Int16 => (&self.int16, Int16::words_per_candidate(self.dim)),
            Precision::Float32 => (&self.float32, Float32::words_per_candidate(self.dim)),
            Precision::Exact => return (&[], Extremes::default()),
        };
        (&panels.words.as_aligned()[..self.padded(rows) * words], panels.extremes)
    }

    /// How many rows the panels of `rows` rows hold.
    fn padded(&self, rows: usize) -> usize {
        Padding::Panels.padded(self.backend, rows)
    }

    /// Gets the memory for `rows` rows that `threads` threads prepare, so that nothing else can fail.
    pub(super) fn reserve(&mut self, rows: usize, threads: usize) -> Result<(), Error> {
        let (padded, dim, kept, side) = (self.padded(rows), self.dim, self.kept, Side::Candidates);
        let extend = |panels: &mut FormatPanels, precision, words: usize| {
            if !kept.contains(precision) {
                return Ok(());
            }
            let overflow = Error::SizeOverflow { side, rows, columns: words };
            panels.words.extend(side, padded.checked_mul(words).ok_or(overflow)?)
        };
        extend(&mut self.int8, Precision::Int8, Int8::words_per_candidate(dim))?;
        extend(&mut self.int16, Precision::Int16, Int16::words_per_candidate(dim))?;
        extend(&mut self.float32, Precision::Float32, Float32::words_per_candidate(dim))?;
        let quantised_dim = self.quantised_dim();
        grow(&mut self.center, side, center_len(quantised_dim), 1)?;
        self.scratch.grow(threads, |scratch| scratch.grow(side, scratch_len(quantised_dim), 1).map(|_| ()))?;
        Ok(())
    }

    /// Packs all rows, with a center of their own, and computes their norms and the blocks of their sum on the way.
    pub(super) fn build(&mut self, join: Join, rows: Rows<'_>, norms: &mut [f64], sums: &mut [f64]) {
        self.center_on(rows);
        let mut measured = false;
        for precision in self.kept.iter() {
            match precision {
                Precision::Int8 => self.prepare::<Int8>(join, rows, norms, sums, measured),
                Precision::Int16 => self.prepare::<Int16>(join, rows, norms, sums, measured),
                Precision::Float32 => self.prepare::<Float32>(join, rows, norms, sums, measured),
                Precision::Exact => continue,
            }
            measured = true;
        }
    }

    /// Takes the center of these rows.
    fn center_on(&mut self, rows: Rows<'_>) {
        (self.centered_rows, self.changed) = (rows.count(), 0);
        if self.quantised_dim() > 0 {
            self.squared_norm = Center::of(self.backend, rows, &mut self.center).squared_norm();
        }
    }

    fn prepare<F: PanelFormat>(
        &mut self,
        join: Join,
        rows: Rows<'_>,
        norms: &mut [f64],
        sums: &mut [f64],
        measured: bool,
    ) {
        let (backend, dim, length) = (self.backend, self.dim, self.padded(rows.count()));
        let mut panels = core::mem::take(F::panels(self));
        let words = &mut panels.words.aligned()[..length * F::words_per_candidate(dim)];
        let (params, padding, scratch) = (self.params(), Padding::Panels, &self.scratch);
        Preparation { backend, join, rows, params, padding, measured, scratch }.run::<F>(norms, sums, words);
        panels.extremes = extremes::<F>(backend, words, dim);
        *F::panels(self) = panels;
    }

    /// Packs the rows `changed`, which came or changed; or all, if as many changed as there were when the center was
    /// taken.
    pub(super) fn update(&mut self, join: Join, bank: BankRows<'_>, changed: Range<usize>) {
        let recenter = self.is_due_after(changed.len());
        self.changed += changed.len();
        let changed = if recenter { 0..bank.norms.len() } else { changed };
        if recenter {
            self.center_on(bank.rows);
        }
        if changed.is_empty() {
            return;
        }
        for precision in self.kept.iter() {
            match precision {
                Precision::Int8 => self.pack::<Int8>(join, bank, changed.clone(), recenter),
                Precision::Int16 => self.pack::<Int16>(join, bank, changed.clone(), recenter),
                Precision::Float32 => self.pack::<Float32>(join, bank, changed.clone(), recenter),
                Precision::Exact => {}
            }
        }
    }

    /// Whether the center is due to be taken anew when so many more rows have changed.
    pub(super) fn is_due_after(&self, changed: usize) -> bool {
        self.changed.saturating_add(changed) > self.centered_rows
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        (self.centered_rows, self.changed) = (0, 0);
    }

    fn pack<F: PanelFormat>(&mut self, join: Join, bank: BankRows<'_>, changed: Range<usize>, anew: bool) {
        let (backend, dim, width) = (self.backend, self.dim, self.padded(1));
        let panel_words = width * F::words_per_candidate(dim);
        let mut panels = core::mem::take(F::panels(self));
        let (first, end) = (changed.start / width, changed.end.div_ceil(width));
        let words = &mut panels.words.aligned()[first * panel_words..end * panel_words];
        let (params, padding, scratch) = (self.params(), Padding::Panels, &self.scratch);
        for_each_block(join, Chunks::new(&mut *words, panel_words), &|block, panel| {
            let start = (first + block) * width;
            // Rows are packed by registers.
            let count = changed.end.next_multiple_of(MAX_LANES).min(bank.norms.len()).min(start + width) - start;
            let rows =
                RawRows { rows: bank.rows.range(start, count).data(), norms: &bank.norms[start..][..count], dim };
            let from = changed.start.saturating_sub(start);
            let scratch = &mut scratch.of(join);
            let (scratch, panel, format) = (scratch.aligned(), panel.slice, PhantomData::<F>);
            backend.run(PackPanel { rows, from, params, padding, scratch, panel, format });
        });
        let extremes = extremes::<F>(backend, words, dim);
        panels.extremes = if anew { extremes } else { panels.extremes.max(extremes) };
        *F::panels(self) = panels;
    }

    /// The bytes of all that is kept.
    pub(super) fn bytes(&self) -> usize {
        let words = [&self.int8, &self.int16, &self.float32].map(|panels| panels.words.len() * size_of::<u32>());
        words.iter().sum::<usize>() + self.center.capacity() * size_of::<f32>()
    }
}

/// A format with its place among the panels.
trait PanelFormat: Format {
    fn panels(panels: &mut Panels) -> &mut FormatPanels;
}

impl PanelFormat for Int8 {
    fn panels(panels: &mut Panels) -> &mut FormatPanels {
        &mut panels.int8
    }
}

impl PanelFormat for Int16 {
    fn panels(panels: &mut Panels) -> &mut FormatPanels {
        &mut panels.int16
    }
}

impl PanelFormat for Float32 {
    fn panels(panels: &mut Panels) -> &mut FormatPanels {
        &mut panels.float32
    }
}
