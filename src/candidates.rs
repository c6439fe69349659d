//! Candidates as a value: their rows, and all that is computed of them before anchors are looked at. Nothing in it
//! depends on the anchors.

use core::marker::PhantomData;

use crate::arch::{Backend, Simd, WithSimd};
use crate::error::{Error, Side};
use crate::exact::{
    MOST_ROWS, SUM_BLOCK, add_unit_rows, check_norms, combine_blocks, norm_rows, norm_rows_from_memory,
};
use crate::memory::{AlignedVec, grow};
use crate::parallel::{Chunks, Join, PerThread, for_each_block};
use crate::rows::Rows;
use crate::screen::{Extremes, Format, MAX_WIDTH, PanelWriter, Params, RawRows, center_len, scratch_len};

/// Candidates, prepared for the screens of one precision.
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) norms: &'a [f64],
    /// The sum of all rows, each scaled to norm 1: every row's mean negative follows from it without a pass over pairs.
    pub(crate) sum: &'a [f64],
    /// The rows as tiles read them.
    pub(crate) panels: &'a [u32],
    /// What the panels were packed with; anchors are packed with the same.
    pub(crate) params: Params<'a>,
    pub(crate) extremes: Extremes,
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

    /// How many rows and words of panels there is memory for.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.norms.len(), self.panels.len())
    }

    /// Grows the norms of `rows` and the blocks of their sum, and lends both out.
    pub(crate) fn grow_measures(&mut self, side: Side, rows: Rows<'_>) -> Result<(&mut [f64], &mut [f64]), Error> {
        let norms = grow(&mut self.norms, side, rows.count(), 1)?;
        Ok((norms, grow(&mut self.sums, side, rows.count().div_ceil(SUM_BLOCK), rows.dim())?))
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
    pub(crate) fn prepare<'b, F: Format>(
        &'b mut self,
        backend: Backend,
        join: Join,
        side: Side,
        params: Params<'b>,
        measured: bool,
    ) -> Result<Candidates<'b>, Error> {
        let (rows, dim) = (self.rows, self.rows.dim());
        let padding = Padding::Registers;
        let panels = &mut self.panels[..padding.padded(backend, rows.count()) * F::words_per_candidate(dim)];
        let preparation = Preparation { backend, join, rows, params, padding, measured, scratch: self.scratch };
        preparation.run::<F>(self.norms, self.sums, panels);
        check_norms(side, self.norms)?;
        if !measured {
            combine_blocks(self.sums, dim);
        }
        let panels = &self.panels[..padding.padded(backend, rows.count()) * F::words_per_candidate(dim)];
        let extremes = extremes::<F>(backend, panels, dim);
        Ok(Candidates { rows, norms: self.norms, sum: &self.sums[..dim], panels, params, extremes })
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
        measure_rows(backend, join, rows, self.norms, self.sums);
        check_norms(side, self.norms)?;
        let (sum, extremes) = (&self.sums[..rows.dim()], Extremes::default());
        Ok(Candidates { rows, norms: self.norms, sum, panels: &[], params, extremes })
    }

    /// How many rows have norm 0.
    pub(crate) fn zero_rows(&self) -> usize {
        self.norms.iter().filter(|&&norm| norm == 0.0).count()
    }
}

/// Computes the norm of each row, and the sum of all, each scaled to norm 1, in the first `dim` elements of `sums`,
/// which has as many for each block of [`SUM_BLOCK`] rows.
pub(crate) fn measure_rows(backend: Backend, join: Join, rows: Rows<'_>, norms: &mut [f64], sums: &mut [f64]) {
    let dim = rows.dim();
    let blocks = (Chunks::new(norms, SUM_BLOCK), Chunks::new(&mut *sums, dim));
    for_each_block(join, blocks, &|block, (norms, sums)| {
        let rows = &rows.data()[block * SUM_BLOCK * dim..][..norms.slice.len() * dim];
        sums.slice.fill(0.0);
        backend.run(MeasureBlock { rows, norms: norms.slice, sum: sums.slice });
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
    pub(crate) fn padded(self, backend: Backend, rows: usize) -> usize {
        backend.run(Padded { padding: self, rows })
    }
}

struct Padded {
    padding: Padding,
    rows: usize,
}

impl WithSimd for Padded {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        self.rows.next_multiple_of(match self.padding {
            Padding::Registers => S::F32_LANES,
            Padding::Panels => S::TILE_REGISTERS * S::F32_LANES,
        })
    }
}

/// How rows are prepared.
pub(crate) struct Preparation<'a> {
    pub(crate) backend: Backend,
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
    pub(crate) fn run<F: Format>(self, norms: &mut [f64], sums: &mut [f64], panels: &mut [u32]) {
        let Self { backend, join, rows, params, padding, measured, scratch } = self;
        let dim = rows.dim();
        // More than there are, where there is less than a block.
        let panel_words = SUM_BLOCK.saturating_mul(F::words_per_candidate(dim));
        let (norms, sums) = (Chunks::new(norms, SUM_BLOCK), Chunks::new(sums, dim));
        for_each_block(join, (norms, (Chunks::new(panels, panel_words), sums)), &|block, (norms, (panels, sums))| {
            let rows = &rows.data()[block * SUM_BLOCK * dim..][..norms.slice.len() * dim];
            let (norms, panels, sum) = (norms.slice, panels.slice, sums.slice);
            let scratch = &mut scratch.of(join);
            let (scratch, format) = (scratch.aligned(), PhantomData::<F>);
            backend.run(PrepareBlock { rows, norms, panels, sum, params, padding, scratch, measured, format });
        });
    }
}

/// The extremes of the candidates in some panels.
pub(crate) fn extremes<F: Format>(backend: Backend, panels: &[u32], dim: usize) -> Extremes {
    backend.run(PanelExtremes { panels, dim, format: PhantomData::<F> })
}

struct PanelExtremes<'a, F> {
    panels: &'a [u32],
    dim: usize,
    format: PhantomData<F>,
}

impl<F: Format> WithSimd for PanelExtremes<'_, F> {
    type Output = Extremes;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Extremes {
        F::extremes(self.panels, S::TILE_REGISTERS * S::F32_LANES, self.dim)
    }
}

/// One block of the candidates' sum, with the panels of its rows.
struct PrepareBlock<'a, F> {
    rows: &'a [f32],
    norms: &'a mut [f64],
    panels: &'a mut [u32],
    sum: &'a mut [f64],
    params: Params<'a>,
    padding: Padding,
    scratch: &'a mut [f32],
    measured: bool,
    format: PhantomData<F>,
}

impl<F: Format> WithSimd for PrepareBlock<'_, F> {
    type Output = ();
    /// A panel's rows at a time, so that they are still in the cache when they are read again.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const {
            assert!(SUM_BLOCK.is_multiple_of(S::TILE_REGISTERS * S::F32_LANES) && MAX_WIDTH <= MOST_ROWS);
        }
        let Self { rows, norms, panels, sum, params, padding, scratch, measured, .. } = self;
        let (dim, width) = (sum.len(), S::TILE_REGISTERS * S::F32_LANES);
        if !measured {
            sum.fill(0.0);
        }
        let panels = panels.chunks_mut(width.saturating_mul(F::words_per_candidate(dim)));
        for ((rows, norms), panel) in rows.chunks(width.saturating_mul(dim)).zip(norms.chunks_mut(width)).zip(panels) {
            if !measured {
                norm_rows(simd, rows, dim, norms);
                add_unit_rows(simd, rows, norms, sum);
            }
            pack_panel::<S, F>(simd, RawRows { rows, norms, dim }, 0, params, padding, scratch, panel);
        }
    }
}

/// Some rows of one block of the candidates' sum: computes their norms, and adds them.
pub(crate) struct MeasureBlock<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) norms: &'a mut [f64],
    pub(crate) sum: &'a mut [f64],
}

impl WithSimd for MeasureBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, norms, sum } = self;
        let dim = sum.len();
        for (rows, norms) in rows.chunks(MOST_ROWS.saturating_mul(dim)).zip(norms.chunks_mut(MOST_ROWS)) {
            norm_rows_from_memory(simd, Rows::known(rows, dim), norms);
            add_unit_rows(simd, rows, norms, sum);
        }
    }
}

/// Packs some of a panel's rows, from row `from` on or a few rows before it.
pub(crate) struct PackPanel<'a, F> {
    pub(crate) rows: RawRows<'a>,
    pub(crate) from: usize,
    pub(crate) params: Params<'a>,
    pub(crate) padding: Padding,
    pub(crate) scratch: &'a mut [f32],
    pub(crate) panel: &'a mut [u32],
    pub(crate) format: PhantomData<F>,
}

impl<F: Format> WithSimd for PackPanel<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, from, params, padding, scratch, panel, .. } = self;
        pack_panel::<S, F>(simd, rows, from, params, padding, scratch, panel);
    }
}

/// Packs the rows of a panel from row `from` on, or a few rows before it: a register's worth at a time.
#[inline(always)]
fn pack_panel<S: Simd, F: Format>(
    simd: S,
    rows: RawRows<'_>,
    from: usize,
    params: Params<'_>,
    padding: Padding,
    scratch: &mut [f32],
    panel: &mut [u32],
) {
    let (dim, width) = (rows.dim, S::TILE_REGISTERS * S::F32_LANES);
    let padded = Padded { padding, rows: rows.norms.len() }.run(simd);
    for (first, group) in rows.row_groups(S::F32_LANES).skip(from / S::F32_LANES) {
        let writer = PanelWriter::new(panel, first, width, padded, F::words_per_candidate(dim));
        F::pack_candidates(simd, group, params, scratch, writer);
    }
}
