//! What a bank keeps for its screens: the panels of each format, and the center that is removed from the rows.

use core::ops::Range;

use crate::arch::Backend;
use crate::candidates::{Padding, Preparation, pack_panel};
use crate::error::{Error, Side};
use crate::kernels::{Format, MAX_LANES, RawRows, scratch_len};
use crate::memory::{AlignedVec, Growth, grow, try_copy};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::rows::Rows;
use crate::screen::{Center, Extremes, Methods, Params, center_len, float_bound};

/// The panels of every format that is kept.
#[derive(Debug)]
pub(super) struct Panels {
    backend: Backend,
    dim: usize,
    /// The screens whose panels are kept.
    kept: Methods,
    /// The panels of each format, in the place of its number.
    formats: [FormatPanels; 3],
    /// What was removed from the rows, when the bank had `centered_rows` of them; `changed` rows came, went or changed
    /// since.
    center: Vec<f32>,
    squared_norm: f64,
    centered_rows: usize,
    changed: usize,
    /// Whether the center is taken anew when as many rows have changed; otherwise when the caller says so.
    auto_recenter: bool,
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
    pub(super) fn new(backend: Backend, dim: usize, kept: Methods, auto_recenter: bool) -> Panels {
        Panels {
            backend,
            dim,
            kept,
            formats: Default::default(),
            center: Vec::new(),
            squared_norm: 0.0,
            centered_rows: 0,
            changed: 0,
            auto_recenter,
            scratch: PerThread::default(),
        }
    }

    /// A copy of the panels of `rows` rows, with memory for no more.
    pub(super) fn try_clone(&self, rows: usize) -> Result<Panels, Error> {
        let side = Side::Candidates;
        let mut formats: [FormatPanels; 3] = Default::default();
        for format in self.kept.formats() {
            let FormatPanels { words, extremes } = &self.formats[format as usize];
            let words = words.try_clone(side, self.padded(format, rows) * format.words_per_candidate(self.dim))?;
            formats[format as usize] = FormatPanels { words, extremes: *extremes };
        }
        let center = try_copy(&self.center, side)?;
        let mut copy = Panels { formats, center, scratch: PerThread::default(), ..*self };
        copy.reserve(Growth::Exact, rows, self.scratch.threads())?;
        Ok(copy)
    }

    pub(super) fn kept(&self) -> Methods {
        self.kept
    }

    pub(super) fn auto_recenter(&self) -> bool {
        self.auto_recenter
    }

    /// The length of the longest rows that are rounded to integers, or 0.
    pub(super) fn quantised_dim(&self) -> usize {
        if self.kept.round_rows() { self.dim } else { 0 }
    }

    /// What the rows are packed with.
    pub(super) fn params(&self) -> Params<'_> {
        let center =
            if self.quantised_dim() == 0 { Center::NONE } else { Center::kept(&self.center, self.squared_norm) };
        Params { center, float_bound: float_bound(self.dim) }
    }

    /// The panels of `rows` rows in one format, and the extremes of the rows in them; nothing where it is not kept.
    pub(super) fn of(&self, format: Option<Format>, rows: usize) -> (&[u32], Extremes) {
        let Some(format) = format.filter(|&format| self.kept.formats().any(|kept| kept == format)) else {
            return (&[], Extremes::default());
        };
        let panels = &self.formats[format as usize];
        let words = format.words_per_candidate(self.dim);
        (&panels.words.as_aligned()[..self.padded(format, rows) * words], panels.extremes)
    }

    /// How many rows the panels of `rows` rows hold.
    fn padded(&self, format: Format, rows: usize) -> usize {
        Padding::Panels.padded(self.backend, format, rows)
    }

    /// Gets the memory for `rows` rows that `threads` threads prepare, so that nothing else can fail.
    pub(super) fn reserve(&mut self, growth: Growth, rows: usize, threads: usize) -> Result<(), Error> {
        let side = Side::Candidates;
        for format in self.kept.formats() {
            let words = format.words_per_candidate(self.dim);
            let overflow = Error::SizeOverflow { side, rows, columns: words };
            let length = self.padded(format, rows).checked_mul(words).ok_or(overflow)?;
            self.formats[format as usize].words.extend(growth, side, length)?;
        }
        let quantised_dim = self.quantised_dim();
        grow(&mut self.center, side, center_len(quantised_dim), 1)?;
        self.scratch.grow(threads, |scratch| scratch.grow(side, scratch_len(quantised_dim), 1).map(|_| ()))?;
        Ok(())
    }

    /// Packs all rows, with a center of their own, and computes their norms and the blocks of their sum on the way.
    pub(super) fn build(&mut self, join: Join, rows: Rows<'_>, norms: &mut [f64], sums: &mut [f64]) {
        self.center_on(rows);
        let mut measured = false;
        for format in self.kept.formats() {
            self.prepare(format, join, rows, (norms, sums), measured);
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

    /// Packs all rows in one format and, unless `measured`, computes their norms and the blocks of their sum.
    fn prepare(
        &mut self,
        format: Format,
        join: Join,
        rows: Rows<'_>,
        (norms, sums): (&mut [f64], &mut [f64]),
        measured: bool,
    ) {
        let (backend, dim, padded) = (self.backend, self.dim, self.padded(format, rows.count()));
        let mut panels = core::mem::take(&mut self.formats[format as usize]);
        let words = &mut panels.words.aligned()[..padded * format.words_per_candidate(dim)];
        let (params, padding, scratch) = (self.params(), Padding::Panels, &self.scratch);
        Preparation { backend, format, join, rows, params, padding, measured, scratch }.run(norms, sums, words);
        panels.extremes = Extremes::of(format, words, format.panel_width(backend), dim);
        self.formats[format as usize] = panels;
    }

    /// Packs the rows `changed`, which came or changed. A change that takes the center anew packs all rows for the
    /// screens that remove it.
    pub(super) fn update(&mut self, join: Join, bank: BankRows<'_>, changed: Range<usize>) {
        let recenter = self.recenters_after(changed.len());
        self.changed = self.changed.saturating_add(changed.len());
        if recenter {
            self.center_on(bank.rows);
        }
        for format in self.kept.formats() {
            if recenter && format < Format::Float32 {
                self.pack(format, join, bank, 0..bank.norms.len(), true);
            } else if !changed.is_empty() {
                self.pack(format, join, bank, changed.clone(), false);
            }
        }
    }

    /// Takes the center of all rows, and packs them for the screens that remove it.
    pub(super) fn recenter(&mut self, join: Join, bank: BankRows<'_>) {
        self.center_on(bank.rows);
        for format in self.kept.formats().filter(|&format| format < Format::Float32) {
            self.pack(format, join, bank, 0..bank.norms.len(), true);
        }
    }

    /// Whether a change of so many rows takes the center anew. The first rows that come take it in any case: they are
    /// all that is packed.
    pub(super) fn recenters_after(&self, changed: usize) -> bool {
        self.centered_rows == 0 || self.auto_recenter && self.is_due_after(changed)
    }

    /// Whether more rows have changed, when so many more have, than there were when the center was taken.
    pub(super) fn is_due_after(&self, changed: usize) -> bool {
        self.quantised_dim() > 0 && self.changed.saturating_add(changed) > self.centered_rows
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        (self.centered_rows, self.changed) = (0, 0);
    }

    /// Packs the rows `changed` in one format. `anew` says that they are all rows.
    fn pack(&mut self, format: Format, join: Join, bank: BankRows<'_>, changed: Range<usize>, anew: bool) {
        let (backend, dim, width) = (self.backend, self.dim, format.panel_width(self.backend));
        let panel_words = width * format.words_per_candidate(dim);
        let mut panels = core::mem::take(&mut self.formats[format as usize]);
        let (first, end) = (changed.start / width, changed.end.div_ceil(width));
        let words = &mut panels.words.aligned()[first * panel_words..end * panel_words];
        let (params, scratch) = (self.params(), &self.scratch);
        for_each_block(join, Chunks::new(&mut *words, panel_words), &|block, panel| {
            let start = (first + block) * width;
            // As many rows are packed at once.
            let count = changed.end.next_multiple_of(MAX_LANES).min(bank.norms.len()).min(start + width) - start;
            let rows = bank.rows.range(start, count).data();
            let rows = RawRows { rows, norms: &bank.norms[start..][..count], dim };
            let (from, scratch) = (changed.start.saturating_sub(start), &mut scratch.of(join));
            let how = (params, Padding::Panels);
            pack_panel(backend, format, rows, from, how, scratch.aligned(), panel.slice);
        });
        let extremes = Extremes::of(format, words, width, dim);
        panels.extremes = if anew { extremes } else { panels.extremes.max(extremes) };
        self.formats[format as usize] = panels;
    }

    /// The bytes of all that is kept.
    pub(super) fn bytes(&self) -> usize {
        let words = self.formats.iter().map(|panels| panels.words.len() * size_of::<u32>());
        words.sum::<usize>() + self.center.capacity() * size_of::<f32>()
    }
}
