//! The driver: prepare both sides, then take blocks of anchors in parallel past all candidates, and reduce every row to
//! its statistics. The n x m matrix never exists.

use crate::arch::{Backend, Kernel, Simd};
use crate::batch::Batch;
use crate::error::Error;
use crate::join::{Divide, Join, for_each_block};
use crate::prepare::{self, SUM_BLOCK};
use crate::screen::{self, Exact, MAX_WIDTH, Record, Shortlist, Tile, Window, pack};
use crate::similarity::dot_sum;
use crate::stats::{Negatives, RowStats};
use crate::workspace::{Sizes, Workspace};

/// The most lanes of any register, and a multiple of every tile's anchors: rows are padded and divided by it.
const ROW_UNIT: usize = 16;

/// The most anchors in a block.
const MAX_BLOCK: usize = 96;

/// The elements of a block of unit anchors, which should stay in the second-level cache while the candidates pass by:
/// 256 KiB.
const BLOCK_ELEMENTS: usize = 1 << 16;

/// Below this many multiply-adds a call stays on its thread: waking others takes longer than it saves.
const SERIAL_WORK: usize = 5 << 19;

/// How a batch is mined; none of it but the rule changes a bit of the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) negatives: Negatives,
    pub(crate) backend: Backend,
    pub(crate) join: Join,
}

/// How many rows had norm 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZeroRows {
    pub(crate) anchors: usize,
    pub(crate) candidates: usize,
}

/// Writes the statistics of every anchor into the workspace.
pub(crate) fn mine(plan: Plan, batch: Batch<'_>, workspace: &mut Workspace) -> Result<ZeroRows, Error> {
    let (rows, candidates, dim) = (batch.rows(), batch.candidates(), batch.dim());
    let work = rows.saturating_mul(candidates).saturating_mul(dim);
    let join = if work < SERIAL_WORK { Join::Serial } else { plan.join };
    let buffers = workspace.buffers(Sizes {
        anchors: rows,
        padded_anchors: rows.next_multiple_of(ROW_UNIT),
        candidates,
        padded_candidates: candidates.next_multiple_of(ROW_UNIT),
        sums: candidates.div_ceil(SUM_BLOCK),
        dim,
    })?;
    let (backend, anchor_norms, candidate_norms) = (plan.backend, buffers.anchor_norms, buffers.candidate_norms);
    prepare::anchors(backend, join, batch.anchor_rows(), anchor_norms)?;
    let (panels, sums) = (buffers.unit_candidates, buffers.candidate_sums);
    prepare::candidates(backend, join, batch.candidate_rows(), candidate_norms, panels, sums)?;
    let work = AnchorBlocks {
        shared: Shared {
            batch,
            candidate_norms,
            panels,
            sum: &sums[..dim],
            negatives: plan.negatives,
            bound: screen::bound(dim),
        },
        first: 0,
        block: anchor_block(rows, dim, join.threads()),
        anchors: batch.anchor_rows().data(),
        norms: anchor_norms,
        unit: buffers.unit_anchors,
        shortlists: buffers.shortlists,
        stats: buffers.stats,
    };
    for_each_block(join, work, &|block| backend.run(block));
    let zeros = |norms: &[f64]| norms.iter().filter(|&&norm| norm == 0.0).count();
    let zero_rows = ZeroRows { anchors: zeros(anchor_norms), candidates: zeros(candidate_norms) };
    workspace.keep(rows);
    Ok(zero_rows)
}

/// Anchors in a block: as many as stay in the cache, but few enough that every thread gets several blocks.
fn anchor_block(rows: usize, dim: usize, threads: usize) -> usize {
    let cached = (BLOCK_ELEMENTS / dim).clamp(ROW_UNIT, MAX_BLOCK);
    let shared = if threads > 1 { rows.div_ceil(4 * threads) } else { rows };
    cached.min(shared.max(ROW_UNIT)).next_multiple_of(ROW_UNIT)
}

/// What all anchors share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    batch: Batch<'a>,
    candidate_norms: &'a [f64],
    panels: &'a [f32],
    sum: &'a [f64],
    negatives: Negatives,
    bound: f32,
}

/// Consecutive blocks of anchors, with the parts of the workspace that are theirs alone.
struct AnchorBlocks<'a> {
    shared: Shared<'a>,
    /// The index of the first anchor.
    first: usize,
    /// Anchors in a block, a multiple of `ROW_UNIT`.
    block: usize,
    anchors: &'a [f32],
    norms: &'a [f64],
    unit: &'a mut [f32],
    shortlists: &'a mut [Shortlist],
    stats: &'a mut [RowStats],
}

impl Divide for AnchorBlocks<'_> {
    fn blocks(&self) -> usize {
        self.norms.len().div_ceil(self.block)
    }

    fn divide(self, blocks: usize) -> (Self, Self) {
        let Self { shared, first, block, .. } = self;
        let (at, dim) = (blocks * block, shared.batch.dim());
        let (anchors, norms) = (self.anchors.split_at(at * dim), self.norms.split_at(at));
        let (unit, shortlists) = (self.unit.split_at_mut(at * dim), self.shortlists.split_at_mut(at));
        let stats = self.stats.split_at_mut(at);
        (
            Self {
                shared,
                first,
                block,
                anchors: anchors.0,
                norms: norms.0,
                unit: unit.0,
                shortlists: shortlists.0,
                stats: stats.0,
            },
            Self {
                shared,
                first: first + at,
                block,
                anchors: anchors.1,
                norms: norms.1,
                unit: unit.1,
                shortlists: shortlists.1,
                stats: stats.1,
            },
        )
    }
}

impl Kernel for AnchorBlocks<'_> {
    type Output = ();
    /// One block of anchors, from raw rows to statistics.
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        pack(simd, self.anchors, self.norms, self.shared.batch.dim(), S::TILE_ANCHORS, self.unit);
        let mut windows = [Window::CLOSED; MAX_BLOCK];
        self.open_rows(simd, &mut windows);
        self.screen(simd, &mut windows);
        self.finish_rows(simd, &windows);
    }
}

impl AnchorBlocks<'_> {
    /// The first two numbers of every row, which need no pass over candidates; they set the row's window.
    #[inline(always)]
    fn open_rows<S: Simd>(&mut self, simd: S, windows: &mut [Window; MAX_BLOCK]) {
        let Shared { batch, sum, negatives, bound, .. } = self.shared;
        let others = (batch.candidates() - 1) as f64;
        for row in 0..self.norms.len() {
            let exact = self.shared.exact(self.anchors, self.norms, row);
            let positive = batch.positives().of(self.first + row);
            let similarity = exact.cosine(simd, positive);
            let shortlist = &mut self.shortlists[row];
            windows[row] = shortlist.open(negatives, positive, similarity as f32, bound);
            let stats = &mut self.stats[row];
            stats.positive = similarity as f32;
            if exact.anchor_norm == 0.0 {
                windows[row] = shortlist.settle_zero_row();
                stats.mean_negative = 0.0;
            } else {
                let total = dot_sum(simd, exact.anchor, sum) / exact.anchor_norm;
                stats.mean_negative = ((total - similarity) / others) as f32;
            }
        }
    }

    /// Takes every tile of this block's anchors and all candidates: panel by panel, so that a panel is read from far
    /// away once and from the cache for the other anchors.
    #[inline(always)]
    fn screen<S: Simd>(&mut self, simd: S, windows: &mut [Window; MAX_BLOCK]) {
        let dim = self.shared.batch.dim();
        let padded = self.shared.batch.candidates().next_multiple_of(S::F32_LANES);
        let panels = &self.shared.panels[..padded * dim];
        let width = S::TILE_REGISTERS * S::F32_LANES;
        let tiles = self.norms.len().div_ceil(S::TILE_ANCHORS);
        for (panel, candidates) in panels.chunks(width * dim).enumerate() {
            let next = panels.get((panel + 1) * width * dim..).unwrap_or_default();
            for (tile, anchors) in self.unit.chunks_exact(S::TILE_ANCHORS * dim).take(tiles).enumerate() {
                let row = tile * S::TILE_ANCHORS;
                // Tile 0 fetches the first register's worth of each `k` of the next panel, tile 1 the second ..
                let register = tile % S::TILE_REGISTERS;
                let ahead = next.get(register * S::F32_LANES..).unwrap_or_default();
                let mut record = TileRecord {
                    simd,
                    shared: &self.shared,
                    anchors: &self.anchors[row * dim..],
                    norms: &self.norms[row..],
                    shortlists: &mut self.shortlists[row..],
                    windows: &mut windows[row..row + S::TILE_ANCHORS],
                    first_candidate: panel * width,
                };
                let registers = candidates.len() / dim / S::F32_LANES;
                simd.screen_tile(registers, Tile { anchors, candidates, ahead }, &mut record);
            }
        }
    }

    /// The last number of every row: exact scores of what the screen left.
    #[inline(always)]
    fn finish_rows<S: Simd>(&mut self, simd: S, windows: &[Window; MAX_BLOCK]) {
        for row in 0..self.norms.len() {
            let exact = self.shared.exact(self.anchors, self.norms, row);
            self.stats[row].closest_negative = self.shortlists[row].finish(simd, &exact, windows[row]);
        }
    }
}

impl<'a> Shared<'a> {
    /// What is needed to compute pairs of row `row` of `anchors` exactly.
    #[inline(always)]
    fn exact(&self, anchors: &'a [f32], norms: &[f64], row: usize) -> Exact<'a> {
        let dim = self.batch.dim();
        Exact {
            anchor: &anchors[row * dim..][..dim],
            anchor_norm: norms[row],
            candidates: self.batch.candidate_rows(),
            candidate_norms: self.candidate_norms,
            bound: self.bound,
        }
    }
}

/// Puts the hits of a tile on the shortlists of its rows.
struct TileRecord<'a, 'b, S> {
    simd: S,
    shared: &'b Shared<'a>,
    anchors: &'a [f32],
    norms: &'b [f64],
    shortlists: &'b mut [Shortlist],
    windows: &'b mut [Window],
    first_candidate: usize,
}

impl<S: Simd> Record for TileRecord<'_, '_, S> {
    #[inline(always)]
    fn window(&self, row: usize) -> Window {
        self.windows[row]
    }

    #[inline(always)]
    fn record(&mut self, row: usize, similarities: &mut [f32; MAX_WIDTH]) {
        let exact = self.shared.exact(self.anchors, self.norms, row);
        let window = &mut self.windows[row];
        self.shortlists[row].add(self.simd, &exact, window, self.first_candidate, similarities);
    }
}
