//! Candidates as a value: their rows, and all that is computed of them before anchors are looked at. Nothing in it
//! depends on the anchors.

use crate::arch::Backend;
use crate::error::{Error, Side};
use crate::exact::{SUM_BLOCK, check_norms, combine_blocks, zero_norms};
use crate::kernels::{
    Format, MAX_LANES, MAX_WIDTH, MOST_ROWS, PanelTarget, RawRows, measure_cached_rows, measure_rows, scratch_len,
};
use crate::memory::{AlignedVec, bytes_of, grow};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::rows::Rows;
use crate::screen::{Extremes, Params, center_len, pack_candidates};

/// Candidates, prepared for the screens in one format.
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) norms: &'a [f64],
    /// The first row that anchors are to meet: the rows before it are those of other [parts](Candidates::part).
    pub(crate) first: usize,
    /// The sum of all rows, each scaled to norm 1: every row's mean negative follows from it without a pass over pairs.
    pub(crate) sum: &'a [f64],
    /// The rows from `first` on as tiles read them.
    pub(crate) panels: &'a [u32],
    /// What the panels were packed with; anchors are packed with the same.
    pub(crate) params: Params<'a>,
    pub(crate) extremes: Extremes,
}

impl<'a> Candidates<'a> {
    /// How many rows anchors are to meet.
    pub(crate) fn count(&self) -> usize {
        self.rows.count() - self.first
    }

    /// Part `part` of all rows, if each part has `rows` of them, a multiple of [`SUM_BLOCK`]. A row keeps its index.
    pub(crate) fn part(&self, format: Option<Format>, part: usize, rows: usize) -> Candidates<'a> {
        let (count, words) =
            (self.rows.count(), format.map_or(0, |format| format.words_per_candidate(self.rows.dim())));
        let (first, end) = (part * rows, count.min((part + 1).saturating_mul(rows)));
        // The last panel may be padded.
        let panels_end = if end == count { self.panels.len() } else { end * words };
        let (panels, norms) = (&self.panels[first * words..panels_end], &self.norms[..end]);
        Candidates { rows: self.rows.range(0, end), norms, first, panels, ..*self }
    }
}

/// How much memory candidates need, in rows and elements a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CandidateSizes {
    /// The rows, rounded up to whole registers.
    pub(crate) padded_rows: usize,
    /// Words of a row in the format that has the most.
    pub(crate) words_per_row: usize,
    /// The length of the longest rows that may be rounded to integers, or 0.
    pub(crate) quantised_dim: usize,
    pub(crate) threads: usize,
}

/// The memory of candidates.
#[derive(Debug, Default)]
pub(crate) struct CandidateMemory {
    norms: Vec<f64>,
    sums: Vec<f64>,
    panels: AlignedVec<u32>,
    center: Vec<f32>,
    /// A register's worth of rows without their center, before they are rounded to integers.
    scratch: PerThread<AlignedVec<f32>>,
}

impl CandidateMemory {
    /// Grows to `sizes`, and lends the memory out, for the center apart. The contents are whatever was there.
    pub(crate) fn grow<'a>(
        &'a mut self,
        side: Side,
        rows: Rows<'a>,
        sizes: CandidateSizes,
    ) -> Result<(CandidateBuffers<'a>, &'a mut [f32]), Error> {
        let scratch = scratch_len(sizes.quantised_dim);
        let buffers = CandidateBuffers {
            rows,
            norms: grow(&mut self.norms, side, rows.count(), 1)?,
            sums: grow(&mut self.sums, side, rows.count().div_ceil(SUM_BLOCK), rows.dim())?,
            panels: self.panels.grow(side, sizes.padded_rows, sizes.words_per_row)?,
            scratch: self.scratch.grow(sizes.threads, |buffer| buffer.grow(side, scratch, 1).map(|_| ()))?,
        };
        Ok((buffers, grow(&mut self.center, side, center_len(sizes.quantised_dim), 1)?))
    }

    /// How many rows there is memory for.
    pub(crate) fn rows(&self) -> usize {
        self.norms.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let rows = bytes_of(&self.norms) + bytes_of(&self.sums) + self.panels.bytes();
        rows + bytes_of(&self.center) + self.scratch.bytes(AlignedVec::bytes)
    }

    /// Grows the norms of `rows` and the blocks of their sum, and lends both out.
    pub(crate) fn grow_measures(&mut self, side: Side, rows: Rows<'_>) -> Result<(&mut [f64], &mut [f64]), Error> {
        let norms = grow(&mut self.norms, side, rows.count(), 1)?;
        Ok((norms, grow(&mut self.sums, side, rows.count().div_ceil(SUM_BLOCK), rows.dim())?))
    }

    /// Whether there is memory for the norms of `rows` and for their sum, in one block.
    pub(crate) fn has_measures(&self, rows: Rows<'_>) -> bool {
        self.norms.len() >= rows.count() && self.sums.len() >= rows.dim()
    }

    /// The memory of the norms of `rows` and of their sum.
    pub(crate) fn norms_and_sum_mut(&mut self, rows: Rows<'_>) -> (&mut [f64], &mut [f64]) {
        (&mut self.norms[..rows.count()], &mut self.sums[..rows.dim()])
    }

    /// The norms and the sum of the candidates that were prepared last, `rows` of them.
    pub(crate) fn norms_and_sum(&self, rows: Rows<'_>) -> (&[f64], &[f64]) {
        (&self.norms[..rows.count()], &self.sums[..rows.dim()])
    }
}

/// The raw rows of a call's candidates, and the memory in which they are prepared.
pub(crate) struct CandidateBuffers<'a> {
    rows: Rows<'a>,
    norms: &'a mut [f64],
    sums: &'a mut [f64],
    panels: &'a mut [u32],
    scratch: &'a PerThread<AlignedVec<f32>>,
}

impl CandidateBuffers<'_> {
    /// Packs the rows in one format and, unless `measured` says that it was done before, computes the norm of each row
    /// and the sum of all. Fails with the first row that is not finite.
    pub(crate) fn prepare<'b>(
        &'b mut self,
        backend: Backend,
        format: Format,
        join: Join,
        side: Side,
        params: Params<'b>,
        measured: bool,
    ) -> Result<Candidates<'b>, Error> {
        let (rows, dim) = (self.rows, self.rows.dim());
        let padding = Padding::Registers;
        let panels =
            &mut self.panels[..padding.padded(backend, format, rows.count()) * format.words_per_candidate(dim)];
        let preparation = Preparation { backend, format, join, rows, params, padding, measured, scratch: self.scratch };
        preparation.run(self.norms, self.sums, panels);
        check_norms(side, self.norms)?;
        if !measured {
            combine_blocks(self.sums, dim);
        }
        let panels = &self.panels[..padding.padded(backend, format, rows.count()) * format.words_per_candidate(dim)];
        let extremes = Extremes::of(format, panels, format.panel_width(backend), dim);
        Ok(Candidates { rows, norms: self.norms, first: 0, sum: &self.sums[..dim], panels, params, extremes })
    }

    /// Computes the norm of each row and the sum of all, for pairs that are computed exactly. Fails with the first row
    /// that is not finite.
    pub(crate) fn measure<'b>(
        &'b mut self,
        backend: Backend,
        join: Join,
        side: Side,
        params: Params<'b>,
    ) -> Result<Candidates<'b>, Error> {
        let rows = self.rows;
        measure_all(backend, join, rows, self.norms, self.sums);
        check_norms(side, self.norms)?;
        let (sum, extremes) = (&self.sums[..rows.dim()], Extremes::default());
        Ok(Candidates { rows, norms: self.norms, first: 0, sum, panels: &[], params, extremes })
    }

    /// How many rows have norm 0.
    pub(crate) fn zero_rows(&self) -> usize {
        zero_norms(self.norms)
    }
}

/// Computes the norm of each row, and the sum of all, each scaled to norm 1, in the first `dim` elements of `sums`,
/// which has as many for each block of [`SUM_BLOCK`] rows.
pub(crate) fn measure_all(backend: Backend, join: Join, rows: Rows<'_>, norms: &mut [f64], sums: &mut [f64]) {
    let dim = rows.dim();
    let blocks = (Chunks::new(norms, SUM_BLOCK), Chunks::new(&mut *sums, dim));
    for_each_block(join, blocks, &|block, (norms, sums)| {
        sums.slice.fill(0.0);
        measure_rows(backend, rows.range(block * SUM_BLOCK, norms.slice.len()), norms.slice, sums.slice);
    });
    combine_blocks(sums, dim);
}

/// What the last panel is filled up to with rows of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Whole registers, where few rows should cost little.
    Registers,
    /// A whole panel, to which rows can be added where they belong.
    Panels,
}

impl Padding {
    /// How many rows the panels of `rows` rows hold.
    pub(crate) fn padded(self, backend: Backend, format: Format, rows: usize) -> usize {
        rows.next_multiple_of(match self {
            Padding::Registers => backend.traits().f32_lanes,
            Padding::Panels => format.panel_width(backend),
        })
    }
}

/// How rows are prepared.
#[derive(Clone, Copy)]
pub(crate) struct Preparation<'a> {
    pub(crate) backend: Backend,
    pub(crate) format: Format,
    pub(crate) join: Join,
    pub(crate) rows: Rows<'a>,
    pub(crate) params: Params<'a>,
    pub(crate) padding: Padding,
    /// Whether the norms and sums are there already.
    pub(crate) measured: bool,
    /// Rows before they are rounded to integers.
    pub(crate) scratch: &'a PerThread<AlignedVec<f32>>,
}

impl Preparation<'_> {
    /// Computes the norm of each row and the sum of each block of [`SUM_BLOCK`] rows scaled to norm 1, unless they are
    /// there, and packs the rows.
    pub(crate) fn run(self, norms: &mut [f64], sums: &mut [f64], panels: &mut [u32]) {
        let (join, dim) = (self.join, self.rows.dim());
        // More than there are, where there is less than a block.
        let panel_words = SUM_BLOCK.saturating_mul(self.format.words_per_candidate(dim));
        let (norms, sums) = (Chunks::new(norms, SUM_BLOCK), Chunks::new(sums, dim));
        for_each_block(join, (norms, (Chunks::new(panels, panel_words), sums)), &|block, (norms, (panels, sums))| {
            let rows = self.rows.range(block * SUM_BLOCK, norms.slice.len());
            let scratch = &mut self.scratch.of(join);
            self.prepare_block(rows, norms.slice, sums.slice, panels.slice, scratch.aligned());
        });
    }

    /// One block of the candidates' sum, with the panels of its rows: a panel's rows at a time, so that they are still in
    /// the cache when they are read again.
    fn prepare_block(
        self,
        rows: Rows<'_>,
        norms: &mut [f64],
        sum: &mut [f64],
        panels: &mut [u32],
        scratch: &mut [f32],
    ) {
        const { assert!(MAX_WIDTH <= MOST_ROWS) }
        let (backend, format, dim, width) =
            (self.backend, self.format, rows.dim(), self.format.panel_width(self.backend));
        debug_assert!(SUM_BLOCK.is_multiple_of(width), "a block of candidates owns whole panels");
        if !self.measured {
            sum.fill(0.0);
        }
        let panels = panels.chunks_mut(width.saturating_mul(format.words_per_candidate(dim)));
        for ((rows, norms), panel) in rows.blocks(width).zip(norms.chunks_mut(width)).zip(panels) {
            if !self.measured {
                measure_cached_rows(backend, rows.data(), norms, sum);
            }
            let rows = RawRows { rows: rows.data(), norms, dim };
            pack_panel(backend, format, rows, 0, (self.params, self.padding), scratch, panel);
        }
    }
}

/// Packs the rows of a panel from row `from` on, or some rows before it: those that are packed at once.
pub(crate) fn pack_panel(
    backend: Backend,
    format: Format,
    rows: RawRows<'_>,
    from: usize,
    (params, padding): (Params<'_>, Padding),
    scratch: &mut [f32],
    panel: &mut [u32],
) {
    let (dim, width) = (rows.dim, format.panel_width(backend));
    let padded = padding.padded(backend, format, rows.norms.len());
    for (first, group) in rows.groups(MAX_LANES).skip(from / MAX_LANES) {
        let words_per_row = format.words_per_candidate(dim);
        let target = PanelTarget { panels: &mut *panel, width, padded, words_per_row, first };
        pack_candidates(backend, format, group, params, scratch, target);
    }
}
