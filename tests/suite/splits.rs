//! However the anchors are split into calls, threads and pairings: the same bits.

mod common;

use common::{
    ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Data, Random, all_threads, assert_loss, assert_rows, check_forward,
};
use hardneg::{Backend, Batch, Positives, RowStats, Screen, TripletLoss, Workspace};
use proptest::prelude::*;

/// A batch of whose candidates the anchors are the partners of the first few, with some more candidates.
struct Whole {
    anchors: Vec<f32>,
    candidates: Vec<f32>,
    dim: usize,
}

impl Whole {
    fn new(data: Data, seed: u64, rows: usize, candidates: usize, dim: usize) -> Whole {
        let (anchors, candidates) = data.batch(seed, rows, candidates, dim);
        Whole { anchors, candidates, dim }
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.anchors, &self.candidates, self.dim, Positives::Identity).unwrap()
    }

    /// Rows `from..to` in a call of their own.
    fn piece(&self, plan: TripletLoss, from: usize, to: usize, workspace: &mut Workspace) -> Vec<RowStats> {
        let anchors = &self.anchors[from * self.dim..to * self.dim];
        let batch = Batch::new(anchors, &self.candidates, self.dim, Positives::Offset(from)).unwrap();
        let _ = plan.forward(batch, workspace).unwrap();
        workspace.row_stats().to_vec()
    }

    /// Splits the anchors at `points` and checks rows and loss against the one call; every piece takes another way to
    /// run.
    fn check(&self, plan: TripletLoss, mut points: Vec<usize>) {
        let mut workspace = Workspace::new();
        let whole = plan.forward(self.batch(), &mut workspace).unwrap();
        let rows = workspace.row_stats().to_vec();
        points.extend([0, rows.len()]);
        points.sort_unstable();
        points.dedup();
        let ways = Backend::available().flat_map(|backend| all_threads().into_iter().map(move |way| (backend, way)));
        let ways: Vec<_> = ways
            .flat_map(|(backend, way)| {
                Screen::all().map(move |screen| plan.backend(backend).threads(way).screen(screen))
            })
            .collect();
        let pieces = points.windows(2).enumerate().flat_map(|(index, ends)| {
            // Steps of 7, so that a few pieces differ in everything.
            self.piece(ways[7 * index % ways.len()], ends[0], ends[1], &mut workspace)
        });
        let pieces: Vec<RowStats> = pieces.collect();
        let what = format!("split at {points:?}");
        assert_rows(&rows, &pieces, &what);
        let mut again = plan.reduce(&pieces).unwrap();
        // What `reduce` cannot know.
        (again.zero_anchors, again.zero_candidates) = (whole.zero_anchors, whole.zero_candidates);
        assert_loss(&whole, &again, &what);
    }
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
        Whole::new(ALL_DATA[data], seed, rows, rows + more, dim).check(plan, points);
    }
}

#[test]
fn every_row_on_its_own() {
    for data in ALL_DATA {
        for negatives in ALL_NEGATIVES {
            let whole = Whole::new(data, 5, 37, 53, 19);
            whole.check(TripletLoss::new().negatives(negatives), (1..37).collect());
        }
    }
}

/// More rows than the loss adds up one after the other, and more work than stays on one thread.
#[test]
fn many_rows_in_few_pieces() {
    for (reduction, points) in [(0, vec![256]), (1, vec![1, 255, 257]), (0, vec![16, 512, 700]), (1, vec![300, 301])] {
        let plan = TripletLoss::new().reduction(ALL_REDUCTIONS[reduction]).margin(1.0);
        Whole::new(Data::Random, 6, 701, 800, 5).check(plan, points.clone());
        Whole::new(Data::NearTies, 7, 701, 801, 6).check(plan, points);
    }
}

/// Blocks of anchors depend on the number of threads, blocks of candidates do not.
#[cfg(feature = "rayon")]
#[test]
fn any_number_of_threads() {
    use hardneg::{Threads, reference};

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
        let whole = Whole::new(data, 8, rows, candidates, dim);
        for (negatives, backend) in
            ALL_NEGATIVES.into_iter().zip(Backend::available().collect::<Vec<_>>().iter().cycle())
        {
            let plan = TripletLoss::new().negatives(negatives).backend(*backend);
            let mut serial = Workspace::new();
            let loss = plan.threads(Threads::Serial).forward(whole.batch(), &mut serial).unwrap();
            for pool in &pools {
                let what = format!("{data:?}, {negatives:?}, {backend}, {} threads", pool.current_num_threads());
                let mut workspace = Workspace::new();
                let actual =
                    pool.install(|| plan.threads(Threads::Rayon).forward(whole.batch(), &mut workspace)).unwrap();
                assert_rows(serial.row_stats(), workspace.row_stats(), &what);
                assert_loss(&loss, &actual, &what);
            }
        }
    }
    // The serial call is the reference's.
    let whole = Whole::new(Data::NearTies, 8, 330, 450, 24);
    let rows = reference::row_stats(whole.batch(), hardneg::Negatives::Below).unwrap();
    let mut workspace = Workspace::new();
    let _ = pools[3].install(|| TripletLoss::new().forward(whole.batch(), &mut workspace)).unwrap();
    assert_rows(&rows, workspace.row_stats(), "reference against 8 threads");
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
        let (anchors, rest) = data.batch(turn as u64, rows, candidates, dim);
        let repeated: Vec<usize> = (0..rows).map(|_| random.below(candidates)).collect();
        let descending: Vec<usize> = (0..rows).map(|row| candidates - 1 - row % candidates).collect();
        let last = vec![candidates - 1; rows];
        let mut pairings =
            vec![Positives::Indices(&repeated), Positives::Indices(&descending), Positives::Indices(&last)];
        if rows <= candidates {
            let spare = candidates - rows;
            pairings.extend([Positives::Identity, Positives::Offset(spare), Positives::Offset(spare / 2)]);
        }
        for positives in pairings {
            for negatives in ALL_NEGATIVES {
                let batch = Batch::new(&anchors, &rest, dim, positives).unwrap();
                let what = format!("{data:?} {rows} x {candidates} x {dim}, {positives:?}");
                check_forward(batch, negatives, &mut workspace, &what);
            }
        }
    }
}

#[test]
fn pairings_that_say_the_same() {
    let whole = Whole::new(Data::CommonMean, 10, 70, 90, 17);
    let identity: Vec<usize> = (0..70).collect();
    let mut workspace = Workspace::new();
    let loss = TripletLoss::new().forward(whole.batch(), &mut workspace).unwrap();
    let rows = workspace.row_stats().to_vec();
    for positives in [Positives::Offset(0), Positives::Indices(&identity)] {
        let batch = Batch::new(&whole.anchors, &whole.candidates, whole.dim, positives).unwrap();
        let actual = TripletLoss::new().forward(batch, &mut workspace).unwrap();
        assert_rows(&rows, workspace.row_stats(), "the same pairing");
        assert_loss(&loss, &actual, "the same pairing");
    }
}
