//! What the benchmarks share: inputs, and measuring in turns.
#![allow(dead_code)] // Every benchmark uses a part of it.

#[path = "../../tests/common/mod.rs"]
mod shared;

use std::time::Instant;

use hardneg::{Batch, Negatives, Positives, RowStats, Screen, Threads, TripletLoss, reference};

pub(crate) use shared::{OwnedBatch, Random};
use shared::{Pairing, ways};

/// The threads of a call with [`hardneg::Threads::Rayon`]; one where the crate was built without rayon.
pub(crate) fn all_threads() -> usize {
    if cfg!(feature = "rayon") { rayon::current_num_threads() } else { 1 }
}

/// Reproducible rows with elements uniform in -1..1.
pub(crate) fn random_rows(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
    Random(seed).rows(rows, dim)
}

/// Every backend with every screen that a batch of so many multiply-adds can wait for, on the calling thread.
pub(crate) fn serial_ways(plan: TripletLoss, work: u64) -> impl Iterator<Item = TripletLoss> {
    let ways = ways(plan).map(|(_, plan)| plan).filter(|plan| plan.threads == Threads::Serial);
    ways.filter(move |plan| plan.screen != Screen::Off || work <= 1 << 27)
}

/// The inputs of the benchmarks: pairs, so that the candidates are the positives.
impl OwnedBatch {
    /// Anchors and their positives, as many.
    pub(crate) fn pairs(anchors: Vec<f32>, positives: Vec<f32>, dim: usize) -> OwnedBatch {
        OwnedBatch::new(anchors, positives, dim, Pairing::Paired)
    }

    /// Random anchors whose positives stand above the bulk of the similarities, at about 0.8, as after training.
    pub(crate) fn trained(seed: u64, rows: usize, dim: usize) -> OwnedBatch {
        OwnedBatch::trained_among(seed, rows, rows, dim).with(Pairing::Paired)
    }

    /// The same among more candidates: the positive of anchor `i` is candidate `i`, and the candidates after those are
    /// random.
    pub(crate) fn trained_among(seed: u64, rows: usize, candidates: usize, dim: usize) -> OwnedBatch {
        let anchors = random_rows(2 * seed, rows, dim);
        let mut candidates = random_rows(2 * seed + 1, candidates, dim);
        candidates.iter_mut().zip(&anchors).for_each(|(noise, anchor)| *noise = anchor + 0.75 * *noise);
        OwnedBatch::new(anchors, candidates, dim, Pairing::Identity)
    }

    /// Anchors and candidates; the positive of anchor `i` is candidate `i`.
    pub(crate) fn among(anchors: Vec<f32>, candidates: Vec<f32>, dim: usize) -> OwnedBatch {
        OwnedBatch::new(anchors, candidates, dim, Pairing::Identity)
    }

    /// Random anchors and positives that have nothing to do with each other: any negative may be as similar as the
    /// positive, as before training.
    pub(crate) fn independent(seed: u64, rows: usize, dim: usize) -> OwnedBatch {
        OwnedBatch::independent_among(seed, rows, rows, dim).with(Pairing::Paired)
    }

    /// The same among more candidates.
    pub(crate) fn independent_among(seed: u64, rows: usize, candidates: usize, dim: usize) -> OwnedBatch {
        let [anchors, candidates] =
            [(2 * seed, rows), (2 * seed + 1, candidates)].map(|(seed, n)| random_rows(seed, n, dim));
        OwnedBatch::new(anchors, candidates, dim, Pairing::Identity)
    }

    /// Some rows with their indices as the reference has them under the default rule, spread over the batch: as many as
    /// some work allows, which are all of a small one.
    pub(crate) fn by_reference(&self) -> Vec<(usize, RowStats)> {
        /// Multiply-adds; the reference does some dozen million of them a second.
        const WORK: usize = 1 << 25;
        let allowed = (WORK / self.candidates.len()).max(1);
        let indices: Vec<usize> = (0..self.rows()).step_by(self.rows().div_ceil(allowed)).collect();
        let anchor = |&index: &usize| &self.anchors[index * self.dim..][..self.dim];
        let anchors: Vec<f32> = indices.iter().flat_map(anchor).copied().collect();
        let batch = Batch::new(&anchors, &self.candidates, self.dim, Positives::Indices(&indices)).expect("a batch");
        let rows = reference::row_stats(batch, Negatives::Below).expect("finite rows");
        indices.into_iter().zip(rows).collect()
    }

    /// Asserts that statistics of this batch have the reference's bits, in as many rows as it is asked for.
    pub(crate) fn check(&self, stats: &[RowStats], what: &str) {
        assert_eq!(stats.len(), self.rows());
        for (index, expected) in self.by_reference() {
            assert_eq!(stats[index], expected, "{what}, row {index}: not the reference's bits");
        }
    }
}

/// How many batches of so many elements a benchmark rotates through, so that neither cache nor branch predictor learns
/// one: 16 small ones, fewer of a size that no cache keeps anyway.
pub(crate) fn sets(elements: usize) -> u64 {
    ((1 << 20) / elements).clamp(1, 16) as u64
}

/// Hands out its members in turn, for ever.
pub(crate) struct Rotation<'a, T> {
    members: &'a [T],
    next: usize,
}

impl<'a, T> Rotation<'a, T> {
    pub(crate) fn new(members: &'a [T]) -> Rotation<'a, T> {
        Rotation { members, next: 0 }
    }

    pub(crate) fn turn(&mut self) -> &'a T {
        let member = &self.members[self.next];
        self.next = (self.next + 1) % self.members.len();
        member
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A contender: the call that is measured.
pub(crate) type Call<'a> = Box<dyn FnMut() + 'a>;

/// Times of contenders that were measured in turns, at most one of each in every round.
pub(crate) struct Turns(Vec<Vec<Option<f64>>>);

impl Turns {
    /// Times of as many rounds for each contender.
    pub(crate) fn of(times: Vec<Vec<f64>>) -> Turns {
        Turns(times.into_iter().map(|times| times.into_iter().map(Some).collect()).collect())
    }

    /// The same with nothing for a round in which a contender took no part; all took part in the first.
    pub(crate) fn of_some(times: Vec<Vec<Option<f64>>>) -> Turns {
        Turns(times)
    }

    /// The median time of a call, in seconds.
    pub(crate) fn time(&self, contender: usize) -> f64 {
        median(self.0[contender].iter().flatten().copied().collect())
    }

    /// The range of the middle half of the times, as a share of the median: how far the machine can be trusted.
    pub(crate) fn spread(&self, contender: usize) -> f64 {
        let mut times: Vec<f64> = self.0[contender].iter().flatten().copied().collect();
        times.sort_by(f64::total_cmp);
        let [low, high] = [1, 3].map(|quarter| times[(times.len() - 1) * quarter / 4]);
        (high - low) / self.time(contender)
    }

    /// How many times as long one takes as the other: the median over the rounds, which survives a machine that is
    /// faster in some of them than in others.
    pub(crate) fn ratio(&self, contender: usize, other: usize) -> f64 {
        let rounds = self.0[contender].iter().zip(&self.0[other]);
        median(rounds.filter_map(|(time, other)| Some((*time)? / (*other)?)).collect())
    }
}

/// A contender with how often a measurement calls it and in how many rounds it takes part.
struct Measured<'a> {
    call: Call<'a>,
    repeat: usize,
    period: usize,
}

impl Measured<'_> {
    /// The seconds that a call takes.
    fn time(&mut self) -> f64 {
        let start = Instant::now();
        (0..self.repeat).for_each(|_| (self.call)());
        start.elapsed().as_secs_f64() / self.repeat as f64
    }
}

/// Measures the contenders in turns, for about `seconds` and at least `least` rounds. A measurement takes at least a
/// thousandth of that, and a millisecond. A call that takes a twentieth takes part in three rounds only, and does not
/// count.
pub(crate) fn in_turns(seconds: f64, least: usize, calls: Vec<Call<'_>>) -> Turns {
    let mut measured: Vec<_> = calls.into_iter().map(|call| Measured { call, repeat: 1, period: 1 }).collect();
    let (mut round, shortest) = (0.0, (seconds / 1000.0).max(1e-3));
    let mut slow = vec![false; measured.len()];
    for (measured, slow) in measured.iter_mut().zip(&mut slow) {
        let warm_up = measured.time();
        let once = if warm_up > seconds / 20.0 { warm_up } else { measured.time() };
        measured.repeat = (shortest / once).ceil().clamp(1.0, 1e6) as usize;
        *slow = once > seconds / 20.0;
        round += if *slow { 0.0 } else { once * measured.repeat as f64 };
    }
    let rounds = ((seconds / round) as usize).clamp(least, least.max(201));
    for (measured, slow) in measured.iter_mut().zip(slow) {
        measured.period = if slow { rounds.div_ceil(3) } else { 1 };
    }
    take_turns(rounds, &mut measured)
}

fn take_turns(rounds: usize, contenders: &mut [Measured<'_>]) -> Turns {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        for (times, contender) in times.iter_mut().zip(contenders.iter_mut()) {
            times.push((round % contender.period == 0).then(|| contender.time()));
        }
    }
    Turns(times)
}
