//! However the anchors are split into calls, threads and pairings: the same bits.

use hardneg::{Batch, Positives, RowStats, Threads, TripletLoss, Workspace};
use proptest::prelude::*;

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Data, OwnedBatch, Pairing, Random, assert_forward, assert_loss,
    assert_rows, check_forward, ways,
};

/// Rows `from..to` of a batch that is paired by [`Pairing::Identity`], in a call of their own.
fn piece(whole: &OwnedBatch, plan: TripletLoss, from: usize, to: usize, workspace: &mut Workspace) -> Vec<RowStats> {
    let anchors = &whole.anchors[from * whole.dim..to * whole.dim];
    let batch = Batch::new(anchors, &whole.candidates, whole.dim, Positives::Offset(from)).unwrap();
    plan.forward(batch, workspace).unwrap().row_stats().to_vec()
}

/// Splits the anchors of a batch that is paired by [`Pairing::Identity`] at `points`, and checks rows and loss against
/// the one call; every piece takes another way to run.
fn check(whole: &OwnedBatch, plan: TripletLoss, mut points: Vec<usize>) {
    let mut workspace = Workspace::new();
    let forward = plan.threads(Threads::Rayon).forward(whole.batch(), &mut workspace).unwrap();
    let (loss, rows) = (forward.loss(), forward.row_stats().to_vec());
    points.extend([0, rows.len()]);
    points.sort_unstable();
    points.dedup();
    let ways: Vec<TripletLoss> = ways(plan).map(|(_, plan)| plan).collect();
    let pieces = points.windows(2).enumerate().flat_map(|(index, ends)| {
        // Steps of 7, so that a few pieces differ in everything.
        piece(whole, ways[7 * index % ways.len()], ends[0], ends[1], &mut workspace)
    });
    let pieces: Vec<RowStats> = pieces.collect();
    let what = format!("split at {points:?}");
    assert_rows(&rows, &pieces, &what);
    let mut again = plan.reduce(&pieces).unwrap();
    // What `reduce` cannot know.
    assert_eq!((again.zero_anchors, again.zero_candidates, again.zero_positives), (None, None, None));
    (again.zero_anchors, again.zero_candidates) = (loss.zero_anchors, loss.zero_candidates);
    again.zero_positives = loss.zero_positives;
    assert_loss(&loss, &again, &what);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_anchors(
        data in 0..ALL_DATA.len(),
        rule in 0..3_usize,
        reduction in 0..2_usize,
        seed: u64,
        rows in 1..90_usize,
        more in 1..120_usize,
        dim in 1..70_usize,
        points in proptest::collection::vec(0..90_usize, 0..8),
    ) {
        let plan = TripletLoss::new().negatives(ALL_NEGATIVES[rule]).reduction(ALL_REDUCTIONS[reduction]);
        let points = points.into_iter().filter(|&point| point < rows).collect();
        check(&ALL_DATA[data].batch(seed, rows, rows + more, dim), plan, points);
    }
}

#[test]
fn every_row_on_its_own() {
    for data in ALL_DATA {
        for negatives in ALL_NEGATIVES {
            check(&data.batch(5, 37, 53, 19), TripletLoss::new().negatives(negatives), (1..37).collect());
        }
    }
}

/// More rows than the loss adds up one after the other, and more work than stays on one thread.
#[test]
fn many_rows_in_few_pieces() {
    for (reduction, points) in [(0, vec![256]), (1, vec![1, 255, 257]), (0, vec![16, 512, 700]), (1, vec![300, 301])] {
        let plan = TripletLoss::new().reduction(ALL_REDUCTIONS[reduction]).margin(1.0);
        check(&Data::Random.batch(6, 701, 800, 5), plan, points.clone());
        check(&Data::NearTies.batch(7, 701, 801, 6), plan, points);
    }
}

/// Blocks of anchors depend on the number of threads, blocks of candidates do not.
#[cfg(feature = "rayon")]
#[test]
fn any_number_of_threads() {
    use hardneg::{Backend, Threads, reference};

    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let pools = [1, 2, 3, 8].map(pool);
    for (data, rows, candidates, dim) in [
        (Data::Random, 401, 401, 40),
        (Data::NearTies, 330, 450, 24),
        (Data::Duplicates, 193, 600, 33),
        (Data::CommonMean, 17, 1000, 160),
        (Data::Scaled, 1000, 1001, 3),
    ] {
        assert!(rows * candidates * dim > 2_700_000, "too small to be divided");
        let whole = data.batch(8, rows, candidates, dim);
        for (negatives, backend) in
            ALL_NEGATIVES.into_iter().zip(Backend::available().collect::<Vec<_>>().iter().cycle())
        {
            let plan = TripletLoss::new().negatives(negatives).backend(*backend);
            let mut workspace = Workspace::new();
            let serial = plan.threads(Threads::Serial).forward(whole.batch(), &mut workspace).unwrap();
            let expected = (serial.loss(), serial.row_stats().to_vec());
            for pool in &pools {
                let what = format!("{data:?}, {negatives:?}, {backend}, {} threads", pool.current_num_threads());
                let mut workspace = Workspace::new();
                let actual =
                    pool.install(|| plan.threads(Threads::Rayon).forward(whole.batch(), &mut workspace)).unwrap();
                assert_forward(&expected, &actual, &what);
            }
        }
    }
    // The serial call is the reference's.
    let whole = Data::NearTies.batch(8, 330, 450, 24);
    let rows = reference::row_stats(whole.batch(), hardneg::Negatives::Below).unwrap();
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new().threads(Threads::Rayon);
    let forward = pools[3].install(|| plan.forward(whole.batch(), &mut workspace)).unwrap();
    assert_rows(&rows, forward.row_stats(), "reference against 8 threads");
}

#[test]
fn rectangular_batches_with_every_pairing() {
    let mut workspace = Workspace::new();
    let mut random = Random(9);
    for (turn, (rows, candidates, dim)) in
        [(1, 2, 1), (2, 3, 5), (7, 50, 16), (15, 97, 33), (49, 200, 20), (60, 61, 64), (97, 193, 8), (120, 5, 9)]
            .into_iter()
            .enumerate()
    {
        let data = ALL_DATA[turn];
        let batch = data.batch(turn as u64, rows, candidates, dim);
        let repeated = Pairing::random(&mut random, rows, candidates);
        let descending = (0..rows).map(|row| candidates - 1 - row % candidates).collect();
        let last = vec![candidates - 1; rows];
        let mut pairings = vec![repeated, Pairing::Indices(descending), Pairing::Indices(last)];
        if rows <= candidates {
            let spare = candidates - rows;
            pairings.extend([Pairing::Identity, Pairing::Offset(spare), Pairing::Offset(spare / 2)]);
        }
        for pairing in pairings {
            let batch = batch.clone().with(pairing);
            for negatives in ALL_NEGATIVES {
                let what = format!("{data:?} {rows} x {candidates} x {dim}, {:?}", batch.pairing);
                check_forward(batch.batch(), negatives, &mut workspace, &what);
            }
        }
    }
}

#[test]
fn pairings_that_say_the_same() {
    let whole = Data::CommonMean.batch(10, 70, 90, 17);
    let identity: Vec<usize> = (0..70).collect();
    let mut workspace = Workspace::new();
    let forward = TripletLoss::new().forward(whole.batch(), &mut workspace).unwrap();
    let expected = (forward.loss(), forward.row_stats().to_vec());
    for pairing in [Pairing::Offset(0), Pairing::Indices(identity)] {
        let whole = whole.clone().with(pairing);
        let actual = TripletLoss::new().forward(whole.batch(), &mut workspace).unwrap();
        assert_forward(&expected, &actual, "the same pairing");
    }
}
