//! The memory of mining, and the results that a call leaves in it.

use super::Call;
use super::block::{BlockScratch, BlockState, merge_parts};
use super::direct::DirectBuffers;
use super::division::{Division, ROW_UNIT, block_len};
use super::neighbours::QueryState;
use super::task::{PartResults, Task};
use crate::arch::Backend;
use crate::bank::Bank;
use crate::batch::Batch;
use crate::candidates::{CandidateBuffers, CandidateMemory, CandidateSizes, Candidates};
use crate::error::{Error, Side};
use crate::exact::grow_widened;
use crate::excluded::{GroupSums, MeanMemory, Means, SortedExclusions};
use crate::kernels::{FewMeasures, NearSimilarities, Similarities};
use crate::memory::{bytes_of, grow, grow_with};
use crate::parallel::{Join, PerThread};
use crate::row_stats::{ClosestSearch, Neighbour, RowStats};
use crate::rows::{Rows, Shape};
use crate::screen::{Center, Method, Params, Screening};

/// The memory of mining, and the place where its results stay.
#[derive(Debug, Default)]
pub(crate) struct MineMemory {
    candidates: CandidateMemory,
    anchor_norms: Vec<f64>,
    blocks: Vec<BlockState>,
    scratch: PerThread<BlockScratch>,
    stats: Vec<RowStats>,
    queries: Vec<QueryState>,
    neighbours: Vec<Neighbour>,
    parts: PartMemory,
    searches: Vec<ClosestSearch>,
    positives: Vec<f64>,
    positive_norms: Vec<f64>,
    /// One, of a call that packs nothing.
    similarities: Vec<Similarities>,
    near: Vec<NearSimilarities>,
    few: FewMeasures,
    means: MeanMemory,
}

/// The memory of the rows of one block for each part of the candidates.
#[derive(Debug, Default)]
struct PartMemory {
    norms: Vec<f64>,
    queries: Vec<QueryState>,
    neighbours: Vec<Neighbour>,
}

impl PartMemory {
    /// Grows to `most` rows of all parts together, with `k` places of each, and lends out what is found of `rows` rows in
    /// each of the parts; nothing where there is one alone.
    fn grow(&mut self, rows: usize, parts: usize, most: usize, k: usize) -> Result<PartResults<'_>, Error> {
        let used = if parts == 1 { 0 } else { rows * parts };
        Ok(PartResults {
            rows,
            norms: &mut grow(&mut self.norms, Side::Anchors, most, 1)?[..used],
            queries: &mut grow_with(&mut self.queries, Side::Anchors, most, 1, || QueryState::EMPTY)?[..used],
            neighbours: &mut grow(&mut self.neighbours, Side::Output, most, k)?[..used * k],
        })
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.norms) + bytes_of(&self.queries) + bytes_of(&self.neighbours)
    }
}

/// The results of a call, as a backward pass reads them.
#[derive(Clone, Copy)]
pub(crate) struct MineResults<'a> {
    pub(crate) anchor_norms: &'a [f64],
    pub(crate) candidate_norms: &'a [f64],
    /// Those of positives that are no candidates.
    pub(crate) positive_norms: &'a [f64],
    pub(crate) candidate_sum: &'a [f64],
    pub(crate) stats: &'a [RowStats],
    pub(crate) exclusions: SortedExclusions<'a>,
    /// The sums of the candidates by labels, if exclusions are by labels.
    pub(crate) label_sums: Option<GroupSums<'a>>,
}

impl MineMemory {
    /// Grows the statistics to `rows` rows.
    pub(crate) fn grow_stats(&mut self, rows: usize) -> Result<&mut [RowStats], Error> {
        grow_with(&mut self.stats, Side::Anchors, rows, 1, || RowStats::ZERO)
    }

    /// How many anchors, queries and raw candidates there is memory for.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.stats.len(), self.queries.len(), self.candidates.rows())
    }

    pub(crate) fn bytes(&self) -> usize {
        let MineMemory { candidates, anchor_norms, blocks, scratch, stats, queries, neighbours, .. } = self;
        let call = candidates.bytes() + bytes_of(anchor_norms) + bytes_of(blocks) + scratch.bytes(BlockScratch::bytes);
        let results = bytes_of(stats) + bytes_of(queries) + bytes_of(neighbours);
        let MineMemory { parts, searches, positives, positive_norms, similarities, near, means, .. } = self;
        let direct = bytes_of(searches)
            + bytes_of(positives)
            + bytes_of(positive_norms)
            + bytes_of(similarities)
            + bytes_of(near);
        let widened = similarities.iter().map(|of_call| of_call.widened.bytes()).sum::<usize>();
        call + results + parts.bytes() + direct + widened + means.bytes()
    }

    /// The statistics that the last call has left of its `rows` rows.
    pub(crate) fn stats(&self, rows: usize) -> &[RowStats] {
        &self.stats[..rows]
    }

    /// What the last call, which was over `batch`, has left.
    pub(crate) fn results<'a>(&'a self, batch: Batch<'a>, exclusions: SortedExclusions<'a>) -> MineResults<'a> {
        let (candidate_norms, candidate_sum) = norms_and_sum(&self.candidates, &batch);
        let anchor_norms = &self.anchor_norms[..batch.rows()];
        let positive_norms = &self.positive_norms[..rows_outside(&batch)];
        let stats = self.stats(batch.rows());
        let means = Means { batch, exclusions, anchor_norms, candidate_norms, candidate_sum };
        let label_sums = self.means.sums(means);
        MineResults { anchor_norms, candidate_norms, positive_norms, candidate_sum, stats, exclusions, label_sums }
    }

    /// Adds up the candidates by labels, if exclusions are by labels, of the batch that was just measured.
    pub(super) fn sum_labels(
        &mut self,
        backend: Backend,
        join: Join,
        batch: &Batch<'_>,
        exclusions: &SortedExclusions<'_>,
    ) -> Result<(), Error> {
        let MineMemory { candidates, anchor_norms, means, .. } = self;
        let (candidate_norms, candidate_sum) = norms_and_sum(candidates, batch);
        let (batch, exclusions) = (*batch, *exclusions);
        let of = Means { batch, exclusions, anchor_norms, candidate_norms, candidate_sum };
        of.sum_labels(backend, join, means)
    }

    /// Takes the excluded candidates out of the mean negatives of the batch that was just mined.
    pub(super) fn exclude_from_means(
        &mut self,
        backend: Backend,
        join: Join,
        batch: &Batch<'_>,
        exclusions: &SortedExclusions<'_>,
    ) -> Result<(), Error> {
        let MineMemory { candidates, anchor_norms, stats, means, .. } = self;
        let (candidate_norms, candidate_sum) = norms_and_sum(candidates, batch);
        let (batch, exclusions) = (*batch, *exclusions);
        let of = Means { batch, exclusions, anchor_norms, candidate_norms, candidate_sum };
        of.write(backend, join, means, &mut stats[..batch.rows()])
    }

    /// Grows to what a call that packs nothing needs, and lends it out.
    pub(super) fn grow_direct(&mut self, backend: Backend, batch: &Batch<'_>) -> Result<DirectBuffers<'_>, Error> {
        let (candidate_norms, sums) = self.candidates.grow_measures(batch.candidate_side(), batch.candidate_rows())?;
        Ok(DirectBuffers {
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, batch.rows(), 1)?,
            candidate_norms,
            positive_norms: grow(&mut self.positive_norms, Side::Positives, rows_outside(batch), 1)?,
            sums,
            stats: grow_with(&mut self.stats, Side::Anchors, batch.rows(), 1, || RowStats::ZERO)?,
            searches: grow(&mut self.searches, Side::Anchors, batch.rows(), 1)?,
            positives: grow(&mut self.positives, Side::Anchors, batch.rows(), 1)?,
            similarities: grow_similarities(&mut self.similarities, backend, batch)?,
            near: &mut grow_with(&mut self.near, Side::Anchors, 1, 1, || NearSimilarities::EMPTY)?[0],
        })
    }

    /// Grows to what a call that packs nothing needs, and lends out what one with a few rows writes. Most calls find the memory
    /// grown, and look at its lengths alone.
    pub(super) fn grow_few(&mut self, backend: Backend, batch: &Batch<'_>) -> Result<FewBuffers<'_>, Error> {
        let rows = batch.rows();
        let held = [self.anchor_norms.len(), self.stats.len(), self.searches.len(), self.positives.len()];
        let has_scratch = !self.similarities.is_empty() && !self.near.is_empty();
        if !has_scratch || held.iter().any(|&held| held < rows) || !self.candidates.has_measures(batch.candidate_rows())
        {
            self.grow_direct(backend, batch)?;
        }
        let (candidate_norms, sum) = self.candidates.norms_and_sum_mut(batch.candidate_rows());
        let (anchor_norms, stats) = (&mut self.anchor_norms[..rows], &mut self.stats[..rows]);
        Ok(FewBuffers { anchor_norms, candidate_norms, sum, stats, measures: &mut self.few })
    }

    /// Grows to what a batch is measured in, whose statistics are there, and lends it out.
    pub(super) fn grow_measures(&mut self, batch: &Batch<'_>) -> Result<MeasureBuffers<'_>, Error> {
        let side = batch.candidate_side();
        Ok(MeasureBuffers {
            anchor_norms: grow(&mut self.anchor_norms, Side::Anchors, batch.rows(), 1)?,
            candidates: match batch.bank() {
                Some(_) => None,
                None => Some(self.candidates.grow_measures(side, batch.candidate_rows())?),
            },
            positive_norms: grow(&mut self.positive_norms, Side::Positives, rows_outside(batch), 1)?,
            stats: grow_with(&mut self.stats, Side::Anchors, batch.rows(), 1, || RowStats::ZERO)?,
        })
    }

    /// Grows to what the statistics of a batch need, whatever the data, and lends it out: the memory of the call, the
    /// norms of positives that are no candidates, and the statistics.
    pub(super) fn grow_stats_of<'a>(
        &'a mut self,
        call: &Call<'a>,
        batch: &Batch<'_>,
    ) -> Result<(CallMemory<'a>, &'a mut [f64], &'a mut [RowStats]), Error> {
        let rows = batch.rows();
        if call.bank.is_none() {
            // A smaller shape may take no screen.
            grow(&mut self.searches, Side::Anchors, rows, 1)?;
            grow(&mut self.positives, Side::Anchors, rows, 1)?;
            grow_similarities(&mut self.similarities, call.backend, batch)?;
            grow_with(&mut self.near, Side::Anchors, 1, 1, || NearSimilarities::EMPTY)?;
        }
        let MineMemory { candidates, anchor_norms, positive_norms, blocks, parts, scratch, stats, .. } = self;
        let memory = grow_call(call, 1, candidates, anchor_norms, (blocks, parts), scratch)?;
        let positive_norms = grow(positive_norms, Side::Positives, rows_outside(batch), 1)?;
        Ok((memory, positive_norms, grow_with(stats, Side::Anchors, rows, 1, || RowStats::ZERO)?))
    }

    /// Grows to what the `kept` closest neighbours of each query need, whatever the data, and lends it out.
    pub(super) fn grow_neighbours<'a>(
        &'a mut self,
        call: &Call<'a>,
        kept: usize,
    ) -> Result<(CallMemory<'a>, &'a mut [QueryState], &'a mut [Neighbour]), Error> {
        let rows = call.sides.anchors.count();
        let MineMemory { candidates, anchor_norms, blocks, parts, scratch, queries, neighbours, .. } = self;
        let memory = grow_call(call, kept, candidates, anchor_norms, (blocks, parts), scratch)?;
        let queries = grow_with(queries, Side::Anchors, rows, 1, || QueryState::EMPTY)?;
        Ok((memory, queries, grow(neighbours, Side::Output, rows, kept)?))
    }

    /// The queries of the last call, and `kept` places for neighbours of each.
    pub(crate) fn neighbours(&self, queries: usize, kept: usize) -> (&[QueryState], &[Neighbour]) {
        (&self.queries[..queries], &self.neighbours[..queries * kept])
    }
}

/// The norms and the sum of the candidates of a batch, which were computed last or are a bank's.
fn norms_and_sum<'a>(memory: &'a CandidateMemory, batch: &Batch<'a>) -> (&'a [f64], &'a [f64]) {
    match batch.bank() {
        Some(bank) => bank.norms_and_sum(),
        None => memory.norms_and_sum(batch.candidate_rows()),
    }
}

/// Grows to the similarities of a call that packs nothing.
fn grow_similarities<'a>(
    memory: &'a mut Vec<Similarities>,
    backend: Backend,
    batch: &Batch<'_>,
) -> Result<&'a mut Similarities, Error> {
    let similarities = &mut grow_with(memory, Side::Anchors, 1, 1, || Similarities::EMPTY)?[0];
    grow_widened(similarities, backend, batch.sides().shape())?;
    Ok(similarities)
}

/// How many positives are no candidates.
fn rows_outside(batch: &Batch<'_>) -> usize {
    batch.outside_rows().map_or(0, Rows::count)
}

/// The results of a call with a few rows, to be computed.
pub(super) struct FewBuffers<'a> {
    pub(super) anchor_norms: &'a mut [f64],
    pub(super) candidate_norms: &'a mut [f64],
    /// The sum of the candidates.
    pub(super) sum: &'a mut [f64],
    pub(super) stats: &'a mut [RowStats],
    pub(super) measures: &'a mut FewMeasures,
}

/// What a backward pass reads of a batch, to be computed.
pub(super) struct MeasureBuffers<'a> {
    pub(super) anchor_norms: &'a mut [f64],
    /// The norms of the candidates and the blocks of their sum, unless a bank has them.
    pub(super) candidates: Option<(&'a mut [f64], &'a mut [f64])>,
    pub(super) positive_norms: &'a mut [f64],
    pub(super) stats: &'a mut [RowStats],
}

/// The memory of one call, but for its results.
pub(super) struct CallMemory<'a> {
    candidates: Source<'a>,
    /// What the rows of both sides are packed with.
    pub(super) params: Params<'a>,
    pub(super) anchor_norms: &'a mut [f64],
    /// Of each block, or of each part of the single one.
    blocks: &'a mut [BlockState],
    parts: PartResults<'a>,
    pub(super) division: Division,
    scratch: &'a PerThread<BlockScratch>,
}

/// Where the candidates of a call come from.
enum Source<'a> {
    /// Raw rows, and the memory in which they are prepared.
    Rows(CandidateBuffers<'a>),
    Bank(&'a Bank<'a>),
}

/// Grows to what a call needs whose lists are to find `k` candidates each, whatever the data.
fn grow_call<'a>(
    call: &Call<'a>,
    k: usize,
    candidates: &'a mut CandidateMemory,
    anchor_norms: &'a mut Vec<f64>,
    (blocks, parts): (&'a mut Vec<BlockState>, &'a mut PartMemory),
    scratch: &'a mut PerThread<BlockScratch>,
) -> Result<CallMemory<'a>, Error> {
    let Call { backend, join, sides, bank, screens, division } = *call;
    let (rows, dim, others, quantised_dim) =
        (sides.anchors.count(), sides.anchors.dim(), sides.candidates, screens.quantised_dim);
    let (threads, (lists, words)) = (join.threads(), block_len(rows, dim));
    let scratch = scratch.grow(threads, |scratch| {
        scratch.grow(words, quantised_dim)?;
        scratch.grow_tiles(backend, Shape { anchors: lists, candidates: others.count(), dim })?;
        scratch.grow_lists(lists, k, others.count())
    })?;
    let sizes = CandidateSizes {
        padded_rows: others.count().next_multiple_of(ROW_UNIT),
        words_per_row: screens.most_words_per_candidate(dim),
        quantised_dim,
        threads,
    };
    let (candidates, params) = match bank {
        Some(bank) => (Source::Bank(bank), bank.params()),
        None => {
            let (buffers, center) = candidates.grow(sides.candidate_side, others, sizes)?;
            let center = if screens.methods.round_rows() { Center::of(backend, others, center) } else { Center::NONE };
            (Source::Rows(buffers), Params { center, float_bound: screens.float_bound })
        }
    };
    // Enough for any division, as more threads may share a smaller batch.
    let parts_grown = threads.max(division.parts);
    let blocks = grow(blocks, Side::Anchors, rows.div_ceil(ROW_UNIT).max(parts_grown), 1)?;
    let blocks = &mut blocks[..division.blocks(rows)];
    let parts = parts.grow(rows, division.parts, if parts_grown == 1 { 0 } else { parts_grown * lists }, k)?;
    let anchor_norms = grow(anchor_norms, Side::Anchors, rows, 1)?;
    Ok(CallMemory { candidates, params, anchor_norms, blocks, parts, division, scratch })
}

/// What a pass works with.
pub(super) struct PassMemory<'b> {
    pub(super) candidates: Result<Candidates<'b>, Error>,
    pub(super) anchor_norms: &'b mut [f64],
    /// Of each block, or of each part of the single one.
    pub(super) blocks: &'b mut [BlockState],
    pub(super) parts: PartResults<'b>,
    pub(super) scratch: &'b PerThread<BlockScratch>,
}

impl CallMemory<'_> {
    /// Lets all blocks wait for a method.
    pub(super) fn begin(&mut self, method: Method) {
        self.blocks.fill(BlockState { method, ..BlockState::default() });
    }

    /// The first of the methods that blocks wait for.
    pub(super) fn next_method(&self) -> Option<Method> {
        self.blocks.iter().filter(|block| !block.done).map(|block| block.method).min()
    }

    /// How many rows wait for a method, in each part anew.
    pub(super) fn rows_waiting(&self, method: Method) -> usize {
        let blocks = self.anchor_norms.chunks(self.division.block_rows).cycle().zip(self.blocks.iter());
        let waiting = blocks.filter(|(_, block)| block.waits_for(method));
        waiting.map(|(norms, _)| norms.len()).sum()
    }

    /// The counts of all blocks, and those of the rest of the call.
    pub(super) fn screening(&self, mut screening: Screening) -> Screening {
        self.blocks.iter().for_each(|block| screening += block.screening);
        screening
    }

    /// How many candidates have norm 0.
    pub(super) fn zero_candidates(&self) -> usize {
        match &self.candidates {
            Source::Rows(rows) => rows.zero_rows(),
            Source::Bank(bank) => bank.zero_rows(),
        }
    }

    /// Prepares the candidates for a method, unless they are in a bank.
    pub(super) fn prepare<'b>(&'b mut self, call: &Call<'b>, method: Method, measured: bool) -> PassMemory<'b> {
        let Call { backend, join, sides, .. } = *call;
        let (side, params) = (sides.candidate_side, self.params);
        let candidates = match (&mut self.candidates, method.format()) {
            (Source::Rows(rows), Some(format)) => rows.prepare(backend, format, join, side, params, measured),
            (Source::Rows(rows), None) => rows.measure(backend, join, side, params),
            (Source::Bank(bank), format) => Ok(bank.candidates(format)),
        };
        PassMemory {
            candidates,
            anchor_norms: &mut *self.anchor_norms,
            blocks: &mut *self.blocks,
            parts: self.parts.lend(),
            scratch: self.scratch,
        }
    }

    /// Completes the rows of a call whose candidates were divided.
    pub(super) fn merge_parts(&mut self, join: Join, task: &mut Task<'_>) {
        if self.division.parts > 1 {
            merge_parts(task, &self.parts, &mut self.scratch.of(join));
        }
    }
}
