//! Calls from programs that have changed the floating-point environment of their threads: the same bits, and the
//! environment is left as it was.

use hardneg::{
    BankOptions, Batch, ClosestNegative, Gradients, KnownPositives, Loss, Miner, MiningBatch, Negatives, Positives,
    Reduction, RowStats, SimilarityMatrix, TripletLoss, Workspace, reference, triplet_loss,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, Pairing, Random, assert_lists, assert_loss, assert_rows, bits, miners,
    row_bits, ways,
};

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    pub(super) type Register = u32;

    /// Names and registers: subnormal results and operands are flushed to 0, results are rounded down, up, and towards
    /// 0; and an exception is reported by a trap.
    pub(super) const ENVIRONMENTS: [(&str, Register); 8] = [
        ("FTZ", 0x9F80),
        ("DAZ", 0x1FC0),
        ("FTZ and DAZ", 0x9FC0),
        ("down", 0x3F80),
        ("up", 0x5F80),
        ("towards 0", 0x7F80),
        ("FTZ, DAZ and up", 0xDFC0),
        ("traps of underflow", 0x1780),
    ];

    pub(super) fn read() -> Register {
        let mut register = 0_u32;
        // SAFETY: every x86-64 CPU has the instruction, which writes these four bytes.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack)) }
        register & !0x3F
    }

    pub(super) fn write(register: Register) {
        // SAFETY: every x86-64 CPU has the instruction, and no reserved bit is set. The caller computes nothing itself
        // until it has restored the default.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack)) }
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    pub(super) type Register = u64;

    /// Names and registers: subnormal numbers are flushed to 0, results are rounded up, down, and towards 0.
    pub(super) const ENVIRONMENTS: [(&str, Register); 5] =
        [("FZ", 1 << 24), ("up", 1 << 22), ("down", 2 << 22), ("towards 0", 3 << 22), ("FZ and up", 1 << 24 | 1 << 22)];

    pub(super) fn read() -> Register {
        let register;
        // SAFETY: the register may be read at any time.
        unsafe { asm!("mrs {}, fpcr", out(reg) register, options(nostack)) }
        register
    }

    pub(super) fn write(register: Register) {
        // SAFETY: no reserved bit is set. The caller computes nothing itself until it has restored the default.
        unsafe { asm!("msr fpcr, {}", in(reg) register, options(nostack)) }
    }
}

/// Runs `call` with the register set on this thread, and panics unless it is still set afterwards.
fn within<R>(register: control::Register, call: impl FnOnce() -> R) -> R {
    let before = control::read();
    control::write(register);
    let result = call();
    let after = control::read();
    control::write(before);
    assert_eq!(after, register, "the environment of the caller");
    result
}

/// A pool whose threads have the register set.
fn pool(register: control::Register) -> ThreadPool {
    let set = move |_| control::write(register);
    ThreadPoolBuilder::new().num_threads(3).start_handler(set).build().expect("threads")
}

/// Rows of each kind of ordinary size; rows so small that products of their elements are subnormal in `f32`, or the
/// elements themselves; and rows so large that gradients are.
fn batches() -> impl Iterator<Item = (String, OwnedBatch)> {
    let shapes = [(9, 11, 5), (40, 40, 32), (130, 150, 96)];
    let kinds = ALL_DATA.into_iter().zip(shapes.into_iter().cycle()).map(|(data, (rows, candidates, dim))| {
        (format!("{data:?} {rows} x {candidates} x {dim}"), data.batch(7, rows, candidates, dim))
    });
    let tiny = [1e-36, 1e-40, 1e38].into_iter().flat_map(move |scale| {
        shapes.map(|(rows, candidates, dim)| {
            let mut batch = Data::Random.batch(8, rows, candidates, dim);
            batch.anchors.iter_mut().chain(&mut batch.candidates).for_each(|value| *value *= scale);
            (format!("{scale:e} {rows} x {candidates} x {dim}"), batch)
        })
    });
    kinds.chain(tiny)
}

/// A loss, the statistics of the rows, and both gradients.
type Results = (Loss, Vec<RowStats>, Vec<f32>, Vec<f32>);

/// All results of a call.
fn results(plan: TripletLoss, batch: Batch<'_>, workspace: &mut Workspace, sizes: [usize; 2]) -> Results {
    let [mut by_anchors, mut by_candidates] = sizes.map(|size| vec![0.0; size]);
    let mut forward = plan.forward(batch, workspace).expect("finite rows");
    forward.backward(Gradients::new(&mut by_anchors, &mut by_candidates)).expect("buffers of the right length");
    (forward.loss(), forward.row_stats().to_vec(), by_anchors, by_candidates)
}

/// The results of the reference, in the environment of the calling thread.
fn expected(batch: Batch<'_>, negatives: Negatives) -> Results {
    let (loss, rows) = reference::forward(batch, 1.0, negatives, Reduction::Sum).expect("finite rows");
    let [by_anchors, by_candidates, _] = reference::gradients(batch, &rows, 1.0, &vec![1.0; rows.len()]);
    (loss, rows, by_anchors, by_candidates)
}

fn assert_same(expected: &Results, actual: &Results, what: &str) {
    assert_rows(&expected.1, &actual.1, what);
    assert_loss(&expected.0, &actual.0, what);
    assert_eq!(bits(&expected.2), bits(&actual.2), "{what}: gradients of the anchors");
    assert_eq!(bits(&expected.3), bits(&actual.3), "{what}: gradients of the candidates");
}

#[test]
fn losses_and_gradients_in_every_environment() {
    let mut workspace = Workspace::new();
    for (name, register) in control::ENVIRONMENTS {
        let pool = pool(register);
        for (turn, (data, batch)) in batches().enumerate() {
            let (batch, negatives) = (&batch, ALL_NEGATIVES[turn % 3]);
            let sizes = [batch.anchors.len(), batch.candidates.len()];
            let right = expected(batch.batch(), negatives);
            for (way, plan) in ways(TripletLoss::new().margin(1.0).negatives(negatives)) {
                let what = format!("{name}, {data}, {negatives}, {way}");
                let serial = within(register, || results(plan, batch.batch(), &mut workspace, sizes));
                assert_same(&right, &serial, &what);
                // The thread that calls is one of the pool's, and so are those that help it.
                let in_pool = pool.install(|| within(register, || results(plan, batch.batch(), &mut workspace, sizes)));
                assert_same(&right, &in_pool, &format!("{what}, in a pool"));
            }
        }
    }
}

/// The weight that a mean gives to each row is a quotient, too: of 41 rows one that is not exact. Of rows that are nearly
/// parallel hardly anything is left of a gradient but the roundings on its way.
#[test]
fn gradients_of_a_mean_in_every_environment() {
    let mut workspace = Workspace::new();
    let mut owned = Data::Random.batch(12, 41, 41, 33);
    owned.anchors.iter_mut().chain(&mut owned.candidates).for_each(|value| *value = 1.0 + 1e-6 * *value);
    let (batch, plan) = (owned.batch(), TripletLoss::new().margin(1.0).reduction(Reduction::Mean));
    let sizes = [owned.anchors.len(), owned.candidates.len()];
    let (right, rows, ..) = results(plan, batch, &mut workspace, sizes);
    let [by_anchors, by_candidates, _] = reference::gradients(batch, &rows, 1.0, &[1.0 / 41.0; 41]);
    for (name, register) in control::ENVIRONMENTS {
        let (loss, _, ours, theirs) = within(register, || results(plan, batch, &mut workspace, sizes));
        assert_loss(&right, &loss, name);
        assert_eq!(bits(&by_anchors), bits(&ours), "{name}: gradients of the anchors");
        assert_eq!(bits(&by_candidates), bits(&theirs), "{name}: gradients of the candidates");
    }
}

/// Pairs that are divided over threads, of few anchors and of many.
#[test]
fn work_that_is_divided_over_threads() {
    let mut workspace = Workspace::new();
    for (rows, candidates, dim) in [(2, 2000, 768), (300, 600, 128)] {
        let batch = Data::Random.batch(9, rows, candidates, dim);
        let sizes = [batch.anchors.len(), batch.candidates.len()];
        let right = expected(batch.batch(), Negatives::Below);
        for (name, register) in control::ENVIRONMENTS {
            let plan = TripletLoss::new().margin(1.0).threads(hardneg::Threads::Rayon);
            let actual = pool(register).install(|| results(plan, batch.batch(), &mut workspace, sizes));
            assert_same(&right, &actual, &format!("{name}, {rows} x {candidates} x {dim}"));
        }
    }
}

#[test]
fn mining_in_every_environment() {
    let mut workspace = Workspace::new();
    for (data, OwnedBatch { anchors, candidates, dim, .. }) in batches() {
        let batch = MiningBatch::new(&anchors, &candidates, dim).expect("whole rows");
        let batch = batch.known_positives(KnownPositives::One(Positives::Identity)).expect("a positive for each query");
        let miner = Miner::new().k(7).absolute_margin(0.01);
        let right = reference::mine(&miner, batch).expect("finite rows");
        for (name, register) in control::ENVIRONMENTS {
            for (way, miner) in miners(miner) {
                let actual = within(register, || miner.mine(batch, &mut workspace).expect("finite rows"));
                assert_lists(&right, &actual, &format!("{name}, {data}, {way}"));
            }
        }
    }
}

#[test]
fn banks_in_every_environment() {
    let mut workspace = Workspace::new();
    let data = Data::Random.batch(10, 20, 500, 64);
    let (rows, dim, row) = (&data.candidates, data.dim, Random(11).rows(1, data.dim));
    let mut final_rows = rows.clone();
    final_rows[3 * dim..4 * dim].copy_from_slice(&row);
    final_rows.copy_within(499 * dim.., 7 * dim);
    final_rows.truncate(499 * dim);
    let batch = Batch::new(&data.anchors, &final_rows, dim, Positives::Identity).expect("a batch");
    let right = expected(batch, Negatives::Below);
    for (name, register) in control::ENVIRONMENTS {
        let bank = within(register, || {
            let mut bank = BankOptions::new().build(&rows[..300 * dim], dim).expect("finite rows");
            bank.push(&rows[300 * dim..]).expect("finite rows");
            bank.replace(3, &row).expect("a finite row");
            bank.swap_remove(7).expect("a row");
            bank
        });
        let batch = Batch::against(&data.anchors, &bank, Positives::Identity).expect("a batch");
        let sizes = [data.anchors.len(), final_rows.len()];
        let plan = TripletLoss::new().margin(1.0);
        let actual = within(register, || results(plan, batch, &mut workspace, sizes));
        assert_same(&right, &actual, name);
    }
}

/// The calls on single vectors and on statistics.
#[test]
fn vectors_and_statistics_in_every_environment() {
    for (name, register) in control::ENVIRONMENTS {
        for (data, OwnedBatch { anchors, candidates, dim, .. }) in batches() {
            let (x, y) = (&anchors[..dim], &candidates[..dim]);
            let what = format!("{name}, {data}");
            let matrix = reference::similarity_matrix(x, &candidates, dim);
            let (dot, norm) = (reference::dot(x, y), reference::norm(x));
            let (cosine, unit) = (reference::cosine_similarity(x, y), reference::normalize(x));
            for backend in hardneg::Backend::available() {
                let (mut own_unit, mut own_matrix) = (vec![7.0; dim], vec![7.0; candidates.len() / dim]);
                let own = within(register, || {
                    backend.normalize_into(x, &mut own_unit).unwrap();
                    backend.similarity_matrix_into(x, &candidates, dim, &mut own_matrix).unwrap();
                    (backend.dot(x, y).unwrap(), backend.norm(x).unwrap(), backend.cosine_similarity(x, y).unwrap())
                });
                let own = (own.0.to_bits(), own.1.to_bits(), own.2.to_bits());
                assert_eq!((dot.to_bits(), norm.to_bits(), cosine.to_bits()), own, "{what}, {backend}");
                assert_eq!(bits(&unit), bits(&own_unit), "{what}, {backend}: normalize_into");
                assert_eq!(bits(&matrix), bits(&own_matrix), "{what}, {backend}: similarity_matrix_into");
            }
        }
        let mut random = Random(12);
        let mut similarity = || random.unit();
        let row = |_| {
            let closest = ClosestNegative::new(3, similarity()).ok();
            RowStats::new(similarity(), Some(similarity()), closest).expect("finite similarities")
        };
        let rows: Vec<RowStats> = (0..700).map(row).collect();
        let mean = Reduction::Mean;
        let plan = TripletLoss::new().margin(0.3).reduction(mean);
        let right = reference::loss(&rows, 0.3, mean);
        assert_loss(&right, &within(register, || plan.reduce(&rows).expect("rows")), name);
        let term = triplet_loss(0.1, 0.7, 0.3);
        assert_eq!(term.to_bits(), within(register, || triplet_loss(0.1, 0.7, 0.3)).to_bits(), "{name}: triplet_loss");
        let terms = |row: &RowStats| (row.mean_term(0.3).to_bits(), row.closest_term(0.3).to_bits());
        for row in &rows {
            assert_eq!(terms(row), within(register, || terms(row)), "{name}: terms of a row");
        }
        let twice = |mut loss: Loss| {
            loss += right;
            loss
        };
        assert_loss(&twice(right), &within(register, || twice(right)), name);
        let similarities: Vec<f32> = (0..40 * 50).map(|_| random.unit()).collect();
        let matrix = SimilarityMatrix::new(&similarities, 40, 50, Positives::Identity).expect("40 rows of 50");
        let right = reference::row_stats_from_similarities(matrix, Negatives::Any);
        let (plan, mut workspace) = (TripletLoss::new().negatives(Negatives::Any), Workspace::new());
        let actual = within(register, || {
            plan.forward_from_similarities(matrix, &mut workspace).expect("finite similarities").row_stats().to_vec()
        });
        assert_rows(&right, &actual, name);
    }
}

/// Without protection results would differ: what no environment changes proves nothing.
#[test]
fn every_environment_changes_unprotected_results() {
    for (name, register) in control::ENVIRONMENTS {
        let changes = |(_, batch): &(String, OwnedBatch)| {
            let batch = batch.clone().with(Pairing::Identity);
            let right = expected(batch.batch(), Negatives::Below);
            let (_, rows, by_anchors, _) = within(register, || expected(batch.batch(), Negatives::Below));
            rows.iter().zip(&right.1).any(|(other, right)| row_bits(other) != row_bits(right))
                || bits(&by_anchors) != bits(&right.2)
        };
        // A trap would end the process.
        assert!(name.starts_with("traps") || batches().any(|batch| changes(&batch)), "{name}");
    }
}
