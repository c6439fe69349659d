//! Sums, statistics and gradients that are made in several places: the bits of one call.

use hardneg::{
    Backend, Bank, Batch, CandidateSum, ClosestNegative, Error, Exclusions, Gradients, Positives, RowStats, Side,
    Threads, TripletLoss, Workspace,
};

use crate::common::{
    ALL_DATA, ALL_KINDS, ALL_NEGATIVES, ALL_REDUCTIONS, Data, Excluding, Random, assert_loss, assert_rows, bits,
};

/// Rows in a block of the candidates' sum.
const BLOCK: usize = 192;

/// Numbers of candidates around those at which the tree of blocks changes its shape.
fn counts() -> impl Iterator<Item = usize> {
    let blocks = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17];
    [2, 3].into_iter().chain(blocks.into_iter().flat_map(|blocks| [0, 1, 2].map(|more| blocks * BLOCK - 1 + more)))
}

/// Lengths of shards that add up to `rows`.
fn cuts(rows: usize, random: &mut Random) -> Vec<Vec<usize>> {
    let mut cuts = vec![vec![rows], vec![1; rows], vec![BLOCK; rows / BLOCK], vec![0, rows / 3, 0, rows / 2]];
    for longest in [5, 100, 700] {
        let mut lengths: Vec<usize> = Vec::new();
        while lengths.iter().sum::<usize>() < rows {
            lengths.push(random.below(longest) + 1);
        }
        cuts.push(lengths);
    }
    for lengths in &mut cuts {
        // The last one gives or takes the difference.
        let others: usize = lengths.iter().rev().skip(1).sum();
        match lengths.last_mut() {
            Some(last) if others + *last > rows => *last = rows - others,
            _ => lengths.push(rows - lengths.iter().sum::<usize>()),
        }
    }
    cuts
}

#[test]
fn means_have_the_bits_of_one_call_wherever_candidates_are_cut() {
    let mut random = Random(1);
    for (number, rows) in counts().enumerate() {
        let dim = [1, 7, 16, 33][number % 4];
        let data = ALL_DATA[number % ALL_DATA.len()];
        let batch = data.batch(number as u64, rows.min(9), rows, dim);
        let mut workspace = Workspace::new();
        let forward = TripletLoss::new().forward(batch.batch(), &mut workspace).unwrap();
        for lengths in cuts(rows, &mut random) {
            let backends: Vec<Backend> = Backend::available().collect();
            let mut sum = CandidateSum::new(dim).unwrap().backend(backends[random.below(backends.len())]);
            let mut first = 0;
            for &length in &lengths {
                sum.push(&batch.candidates[first * dim..(first + length) * dim]).unwrap();
                first += length;
            }
            assert_eq!((sum.len(), Some(sum.zero_rows())), (rows, forward.loss().zero_candidates));
            for (row, stats) in forward.row_stats().iter().enumerate() {
                let anchor = &batch.anchors[row * dim..][..dim];
                let positive = batch.positives()[row];
                let positive = &batch.candidates[positive * dim..][..dim];
                let mean = sum.mean_negative(anchor, Some(positive)).unwrap();
                assert_eq!(
                    Some(mean.to_bits()),
                    stats.mean_negative().map(f32::to_bits),
                    "{rows} x {dim}, cut into {lengths:?}"
                );
            }
        }
    }
}

#[test]
fn means_without_a_positive_among_the_candidates() {
    let (rows, dim) = (500, 20);
    let batch = Data::Random.batch(3, rows, rows, dim);
    let outside = Random(4).rows(rows, dim);
    let whole = Batch::new(&batch.anchors, &batch.candidates, dim, Positives::Outside(&outside)).unwrap();
    let mut workspace = Workspace::new();
    let forward = TripletLoss::new().forward(whole, &mut workspace).unwrap();
    let mut sum = CandidateSum::new(dim).unwrap();
    batch.candidates.chunks(77 * dim).for_each(|shard| sum.push(shard).unwrap());
    for (anchor, stats) in batch.anchors.chunks(dim).zip(forward.row_stats()) {
        let mean = sum.mean_negative(anchor, None).unwrap();
        assert_eq!(Some(mean.to_bits()), stats.mean_negative().map(f32::to_bits));
    }
}

#[test]
fn a_sum_that_is_refused_something_is_as_it_was() {
    assert_eq!(CandidateSum::new(0).unwrap_err(), Error::ZeroDim);
    let mut sum = CandidateSum::new(2).unwrap();
    assert_eq!(sum.mean_negative(&[1.0, 0.0], None), Err(Error::Empty { side: Side::Candidates }));
    sum.push(&[]).unwrap();
    sum.push(&[0.6, 0.8]).unwrap();
    assert_eq!(sum.mean_negative(&[1.0, 0.0], Some(&[0.6, 0.8])), Err(Error::NoNegative));
    let partial = Error::PartialRow { side: Side::Candidates, dim: 2, actual: 3 };
    assert_eq!(sum.push(&[1.0; 3]), Err(partial));
    let not_finite = |side, row| Error::NotFinite { side, row };
    assert_eq!(sum.push(&[1.0, 0.0, f32::NAN, 0.0]), Err(not_finite(Side::Candidates, 1)));
    assert_eq!(sum.len(), 1);
    sum.push(&[0.0, 2.0]).unwrap();
    assert_eq!(sum.mean_negative(&[1.0, 0.0], None), Ok(0.3));
    let length = |side| Err(Error::Length { side, expected: 2, actual: 1 });
    assert_eq!(sum.mean_negative(&[1.0], None), length(Side::Anchors));
    assert_eq!(sum.mean_negative(&[1.0, 0.0], Some(&[1.0])), length(Side::Positives));
    assert_eq!(sum.mean_negative(&[f32::INFINITY, 0.0], None), Err(not_finite(Side::Anchors, 0)));
    for anchor in [[1.0, 0.0], [0.0, 0.0]] {
        assert_eq!(sum.mean_negative(&anchor, Some(&[f32::NAN, 0.0])), Err(not_finite(Side::Positives, 0)));
    }
}

/// The gradients of a call with all rows, of which those of outside positives may be empty.
fn whole(batch: Batch<'_>, plan: TripletLoss, weights: &[f32], outside: usize) -> (Vec<RowStats>, [Vec<f32>; 3]) {
    let (rows, dim) = (batch.rows(), batch.dim());
    let mut buffers = [vec![0.0; rows * dim], vec![0.0; batch.candidates() * dim], vec![0.0; outside]];
    let mut workspace = Workspace::new();
    let mut forward = plan.forward(batch, &mut workspace).unwrap();
    let [by_anchors, by_candidates, by_positives] = &mut buffers;
    let gradients = Gradients::new(by_anchors, by_candidates).weights(weights);
    forward.backward(if outside > 0 { gradients.positives(by_positives) } else { gradients }).unwrap();
    (forward.row_stats().to_vec(), buffers)
}

#[test]
fn gradients_of_some_rows_from_statistics_of_elsewhere() {
    let mut random = Random(5);
    let mut workspace = Workspace::new();
    for (number, (rows, candidates, dim)) in
        [(1, 2, 3), (40, 50, 16), (200, 193, 9), (450, 700, 33)].into_iter().cycle().take(24).enumerate()
    {
        let batch = ALL_DATA[number % ALL_DATA.len()].batch(number as u64, rows, candidates, dim);
        let batch = batch.with_random_positives(&mut random);
        let (outside, weights) = (random.rows(rows, dim), random.rows(rows, 1));
        let plan = TripletLoss::new().negatives(ALL_NEGATIVES[number % 3]).reduction(ALL_REDUCTIONS[number % 2]);
        let plan = if number % 5 == 0 { plan.threads(Threads::Rayon) } else { plan };
        let bank = Bank::new(&batch.candidates, dim).unwrap();
        let indices = batch.positives();
        let excluding =
            [Excluding::Nothing, ALL_KINDS[number % ALL_KINDS.len()].of(&mut random, rows, candidates, &batch.pairing)];
        let excluding = excluding[number % 3 % 2].exclusions();
        for (batch, outside) in [
            (batch.batch(), 0),
            (Batch::against(&batch.anchors, &bank, Positives::Indices(&indices)).unwrap(), 0),
            (Batch::new(&batch.anchors, &batch.candidates, dim, Positives::Outside(&outside)).unwrap(), rows * dim),
        ] {
            let batch = batch.excluding(excluding).unwrap();
            let (stats, expected) = whole(batch, plan, &weights, outside);
            let mut once = Workspace::new();
            let forward = plan.forward(batch, &mut once).unwrap();
            let again = plan.forward_from_row_stats(batch, &stats, &mut workspace).unwrap();
            assert_loss(&forward.loss(), &again.loss(), "from statistics");
            assert_rows(&stats, again.row_stats(), "from statistics");
            for _ in 0..4 {
                let mut range = |rows: usize| {
                    let ends = [random.below(rows + 1), random.below(rows + 1)];
                    ends[0].min(ends[1])..ends[0].max(ends[1])
                };
                let (a, c) = (range(rows), range(candidates));
                let buffers = [a.len(), c.len(), if outside > 0 { a.len() } else { 0 }];
                let [mut by_anchors, mut by_candidates, mut by_positives] = buffers.map(|rows| vec![9.0; rows * dim]);
                let mut forward = plan.forward_from_row_stats(batch, &stats, &mut workspace).unwrap();
                let gradients = Gradients::new(&mut by_anchors, &mut by_candidates).weights(&weights);
                let gradients = gradients.rows(a.clone(), c.clone());
                forward.backward(if outside > 0 { gradients.positives(&mut by_positives) } else { gradients }).unwrap();
                let what = format!("{batch:?}, rows {a:?} and {c:?}");
                assert_eq!(bits(&by_anchors), bits(&expected[0][a.start * dim..a.end * dim]), "anchors, {what}");
                assert_eq!(bits(&by_candidates), bits(&expected[1][c.start * dim..c.end * dim]), "candidates, {what}");
                if outside > 0 {
                    assert_eq!(
                        bits(&by_positives),
                        bits(&expected[2][a.start * dim..a.end * dim]),
                        "positives, {what}"
                    );
                }
            }
        }
    }
}

/// After passes with the same candidates, with others in as many rows, and with a bank that lends out its rows.
#[test]
fn statistics_of_elsewhere_after_another_pass() {
    let (mut random, mut workspace) = (Random(6), Workspace::new());
    for (number, (rows, candidates, dim)) in
        [(2, 2, 3), (40, 50, 16), (200, 193, 9), (450, 700, 33)].into_iter().cycle().take(16).enumerate()
    {
        let data = |seed: usize| ALL_DATA[number % ALL_DATA.len()].batch(seed as u64, rows, candidates, dim);
        let (batch, other) = (data(number).with_random_positives(&mut random), data(number + 100));
        let indices = batch.positives();
        let excluding = ALL_KINDS[number % ALL_KINDS.len()].of(&mut random, rows, candidates, &batch.pairing);
        let plan = TripletLoss::new().negatives(ALL_NEGATIVES[number % 3]).reduction(ALL_REDUCTIONS[number % 2]);
        let bank = Bank::new(&batch.candidates, dim).unwrap();
        let some = random.below(rows) + 1;
        let some_of = |candidates| {
            Batch::new(&batch.anchors[..some * dim], candidates, dim, Positives::Indices(&indices[..some])).unwrap()
        };
        let against =
            Batch::against(&batch.anchors[..some * dim], &bank, Positives::Indices(&indices[..some])).unwrap();
        let weights = vec![1.0; rows];
        for (earlier, candidates) in [
            (some_of(&batch.candidates), &batch.candidates[..]),
            (some_of(&other.candidates), &batch.candidates),
            (some_of(bank.rows()), bank.rows()),
            (against, bank.rows()),
        ] {
            let batch = Batch::new(&batch.anchors, candidates, dim, Positives::Indices(&indices)).unwrap();
            let batch = batch.excluding(excluding.exclusions()).unwrap();
            let (stats, expected) = whole(batch, plan, &weights, 0);
            let loss = plan.forward(batch, &mut Workspace::new()).unwrap().loss();
            // What is in the memory beforehand is of other candidates.
            plan.forward(some_of(&other.candidates), &mut workspace).unwrap();
            let forward = plan.forward(earlier, &mut workspace).unwrap();
            let mut forward = plan.continue_from_row_stats(forward, batch, &stats).unwrap();
            assert_loss(&loss, &forward.loss(), "after another pass");
            assert_rows(&stats, forward.row_stats(), "after another pass");
            let [mut by_anchors, mut by_candidates] = [&expected[0], &expected[1]].map(|rows| vec![9.0; rows.len()]);
            forward.backward(Gradients::new(&mut by_anchors, &mut by_candidates)).unwrap();
            assert_eq!(bits(&by_anchors), bits(&expected[0]), "{batch:?} after {earlier:?}");
            assert_eq!(bits(&by_candidates), bits(&expected[1]), "{batch:?} after {earlier:?}");
        }
    }
}

#[test]
fn statistics_and_ranges_that_do_not_belong_to_the_batch() {
    let rows = [1.0, 0.0, 0.6, 0.8, 0.0, 1.0];
    let batch = Batch::paired(&rows, &rows, 2).unwrap();
    let (plan, mut workspace) = (TripletLoss::new(), Workspace::new());
    let row = |closest: Option<usize>| {
        RowStats::new(1.0, Some(0.5), closest.map(|index| ClosestNegative::new(index, 0.5).unwrap())).unwrap()
    };
    let mut refuse = |stats: &[RowStats]| plan.forward_from_row_stats(batch, stats, &mut workspace).unwrap_err();
    assert_eq!(refuse(&[row(None); 2]), Error::Length { side: Side::RowStats, expected: 3, actual: 2 });
    assert_eq!(refuse(&[row(Some(1)), row(None), row(Some(3))]), Error::NotANegative { row: 2, index: 3 });
    assert_eq!(refuse(&[row(Some(1)), row(Some(1)), row(None)]), Error::NotANegative { row: 1, index: 1 });
    let no_mean = RowStats::new(1.0, None, None).unwrap();
    assert_eq!(refuse(&[row(None), no_mean, row(None)]), Error::MeanNegative { row: 1 });
    let all_alike = batch.excluding(Exclusions::Labels { anchors: &[1, 2, 2], candidates: &[3, 2, 2] }).unwrap();
    let mut refuse = |stats: &[RowStats]| plan.forward_from_row_stats(all_alike, stats, &mut workspace).unwrap_err();
    assert_eq!(refuse(&[row(None), row(Some(2)), row(None)]), Error::NotANegative { row: 1, index: 2 });
    let one_label = batch.excluding(Exclusions::Labels { anchors: &[1; 3], candidates: &[1; 3] }).unwrap();
    let error = plan.forward_from_row_stats(one_label, &[row(None); 3], &mut workspace).unwrap_err();
    assert_eq!(error, Error::MeanNegative { row: 0 });
    let margin = f32::NAN;
    let error = plan.margin(margin).forward_from_row_stats(batch, &[row(None); 3], &mut workspace).unwrap_err();
    assert!(matches!(error, Error::MarginNotFinite { .. }));
    for (side, bad) in [(Side::Anchors, true), (Side::Positives, false)] {
        let mut other = rows;
        other[3] = f32::INFINITY;
        let batch = if bad { Batch::paired(&other, &rows, 2) } else { Batch::paired(&rows, &other, 2) }.unwrap();
        let error = plan.forward_from_row_stats(batch, &[row(None); 3], &mut workspace).unwrap_err();
        assert_eq!(error, Error::NotFinite { side, row: 1 });
    }

    let mut forward = plan.forward_from_row_stats(batch, &[row(None); 3], &mut workspace).unwrap();
    let (mut one, mut two) = ([9.0; 2], [9.0; 4]);
    let error = forward.backward(Gradients::new(&mut one, &mut two).rows(3..4, 0..2)).unwrap_err();
    assert_eq!(error, Error::Range { side: Side::AnchorGradients, start: 3, end: 4, rows: 3 });
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is refused")]
    let error = forward.backward(Gradients::new(&mut one, &mut two).rows(0..1, 2..0)).unwrap_err();
    assert_eq!(error, Error::Range { side: Side::CandidateGradients, start: 2, end: 0, rows: 3 });
    let error = forward.backward(Gradients::new(&mut one, &mut two).rows(0..1, 0..3)).unwrap_err();
    assert_eq!(error, Error::Length { side: Side::CandidateGradients, expected: 6, actual: 4 });
    let error = forward.backward(Gradients::of_anchors(&mut one).rows(0..2, 0..0)).unwrap_err();
    assert_eq!(error, Error::Length { side: Side::AnchorGradients, expected: 4, actual: 2 });
    assert_eq!((one, two), ([9.0; 2], [9.0; 4]));
}
