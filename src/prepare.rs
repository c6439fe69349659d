//! What is computed once for each row before pairs are looked at: norms, the screen's copy of the candidates, and the
//! candidates' sum, from which every row's mean negative follows without a pass over pairs.

use core::marker::PhantomData;

use crate::arch::{Backend, Kernel, Simd};
use crate::error::{Error, Side};
use crate::join::{Divide, Join, for_each_block};
use crate::rows::Rows;
use crate::screen::{F32, Format, I8, I16, Level, MAX_WIDTH, Place, RawRows, Setting};
use crate::similarity::{inverse, norm_rows};
use crate::workspace::Slot;

/// The rows in a block of the candidates' sum. It is part of the definition of the mean negative: blocks are summed in
/// ascending order, and then combined as a fixed tree. It is a multiple of every panel width, so that a block of
/// candidates owns whole panels.
pub(crate) const SUM_BLOCK: usize = 192;

/// A norm is finite if, and only if, its row is.
pub(crate) fn check_norms(side: Side, norms: &[f64]) -> Result<(), Error> {
    match norms.iter().position(|norm| !norm.is_finite()) {
        Some(row) => Err(Error::NotFinite { side, row }),
        None => Ok(()),
    }
}

/// Candidates and everything that is computed of them.
struct CandidateBlocks<'a> {
    rows: &'a [f32],
    dim: usize,
    /// The words of a row.
    stride: usize,
    norms: &'a mut [f64],
    panels: &'a mut [u32],
    sums: &'a mut [f64],
}

impl Divide for CandidateBlocks<'_> {
    fn blocks(&self) -> usize {
        self.norms.len().div_ceil(SUM_BLOCK)
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let at = blocks * SUM_BLOCK;
        let (dim, stride) = (self.dim, self.stride);
        let (rows, norms) = (self.rows.split_at(at * dim), self.norms.split_at_mut(at));
        let (panels, sums) = (self.panels.split_at_mut(at * stride), self.sums.split_at_mut(blocks * dim));
        (
            Self { rows: rows.0, norms: norms.0, panels: panels.0, sums: sums.0, ..self },
            Self { rows: rows.1, norms: norms.1, panels: panels.1, sums: sums.1, ..self },
        )
    }
}

/// Prepares a block in one format.
struct Prepare<'a, 'b, F> {
    block: CandidateBlocks<'a>,
    setting: Setting<'b>,
    scratch: &'b mut [f32],
    /// Whether norms and sums are there already.
    measured: bool,
    format: PhantomData<F>,
}

impl<F: Format> Kernel for Prepare<'_, '_, F> {
    type Output = ();
    /// One block: a panel's rows at a time, so that they are still in the cache when they are read again.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let CandidateBlocks { rows, dim, stride, norms, panels, sums } = self.block;
        const { assert!(SUM_BLOCK.is_multiple_of(S::TILE_REGISTERS * S::F32_LANES)) }
        let width = S::TILE_REGISTERS * S::F32_LANES;
        if !self.measured {
            sums.fill(0.0);
        }
        let panels = panels.chunks_mut(width * stride);
        for ((rows, norms), panel) in rows.chunks(width * dim).zip(norms.chunks_mut(width)).zip(panels) {
            if !self.measured {
                norm_rows(simd, rows, dim, norms);
                add_unit_rows(simd, rows, norms, sums);
            }
            write_panel::<S, F>(simd, RawRows { rows, norms, dim }, self.setting, self.scratch, panel);
        }
    }
}

/// Writes a panel, a register's worth of rows at a time.
#[inline(always)]
fn write_panel<S: Simd, F: Format>(
    simd: S,
    rows: RawRows<'_>,
    setting: Setting<'_>,
    scratch: &mut [f32],
    panel: &mut [u32],
) {
    let (dim, width) = (rows.dim, S::TILE_REGISTERS * S::F32_LANES);
    let padded = rows.norms.len().next_multiple_of(S::F32_LANES);
    for (first, square) in rows.squares(S::F32_LANES) {
        let place = Place::new(panel, first, width, padded, F::stride(dim));
        F::write_candidates(simd, square, setting, scratch, place);
    }
}

/// Adds every row of a panel, scaled to norm 1, to `sums`, in ascending order of rows. The product is rounded before it
/// is added.
#[inline(always)]
fn add_unit_rows<S: Simd>(simd: S, rows: &[f32], norms: &[f64], sums: &mut [f64]) {
    /// Registers of sums that are held while the rows pass by: enough to hide the latency of an addition.
    const HELD: usize = 4;
    let dim = sums.len();
    let step = HELD * S::F64_LANES;
    let whole = dim - dim % step;
    let mut scales = [0.0; MAX_WIDTH];
    for (scale, &norm) in scales.iter_mut().zip(norms) {
        *scale = inverse(norm);
    }
    for from in (0..whole).step_by(step) {
        let held = &mut sums[from..from + step];
        let mut sum = [simd.splat64(0.0); HELD];
        for (sum, held) in sum.iter_mut().zip(held.chunks_exact(S::F64_LANES)) {
            *sum = simd.load64(held);
        }
        for (row, &scale) in rows.chunks_exact(dim).zip(&scales) {
            let scale = simd.splat64(scale);
            for (sum, values) in sum.iter_mut().zip(row[from..from + step].chunks_exact(S::F64_LANES)) {
                *sum = simd.add64(*sum, simd.mul64(simd.widen(values), scale));
            }
        }
        for (sum, held) in sum.into_iter().zip(held.chunks_exact_mut(S::F64_LANES)) {
            simd.store64(sum, held);
        }
    }
    for (row, &scale) in rows.chunks_exact(dim).zip(&scales) {
        for (sum, &value) in sums[whole..].iter_mut().zip(&row[whole..]) {
            *sum += f64::from(value) * scale;
        }
    }
}

/// Adds up the blocks of `sums`, each of `dim` elements, into the first one: neighbours first, then neighbours of
/// neighbours, a tree that depends on the number of blocks alone.
pub(crate) fn combine_blocks(sums: &mut [f64], dim: usize) {
    let mut stride = dim;
    while stride < sums.len() {
        for pair in sums.chunks_mut(2 * stride).filter(|pair| pair.len() > stride) {
            let (left, right) = pair.split_at_mut(stride);
            for (left, right) in left[..dim].iter_mut().zip(right) {
                *left += *right;
            }
        }
        stride *= 2;
    }
}

/// How candidates are prepared.
#[derive(Clone, Copy)]
pub(crate) struct Preparation<'a> {
    pub(crate) backend: Backend,
    pub(crate) join: Join,
    pub(crate) level: Level,
    pub(crate) setting: Setting<'a>,
    /// Whether norms and sums are there already.
    pub(crate) measured: bool,
    pub(crate) slots: &'a [Slot],
}

/// Computes the panels of the candidates and, unless they are measured, the norm of every candidate and, in the first
/// `dim` elements of `sums`, the sum of all unit candidates. Reports the first row that is not finite.
pub(crate) fn candidates(
    preparation: Preparation<'_>,
    rows: Rows<'_>,
    norms: &mut [f64],
    panels: &mut [u32],
    sums: &mut [f64],
) -> Result<(), Error> {
    let Preparation { backend, join, level, setting, measured, slots } = preparation;
    let (dim, stride) = (rows.dim(), level.stride(rows.dim()));
    let work = CandidateBlocks { rows: rows.data(), dim, stride, norms: &mut *norms, panels, sums: &mut *sums };
    for_each_block(join, work, &|block| {
        let mut slot = slots[join.thread()].lock();
        let (_, scratch, _) = slot.parts();
        match level {
            Level::I8 => backend.run(Prepare { block, setting, scratch, measured, format: PhantomData::<I8> }),
            Level::I16 => backend.run(Prepare { block, setting, scratch, measured, format: PhantomData::<I16> }),
            Level::F32 => backend.run(Prepare { block, setting, scratch, measured, format: PhantomData::<F32> }),
        }
    });
    check_norms(Side::Candidates, norms)?;
    if !measured {
        combine_blocks(sums, dim);
    }
    Ok(())
}
