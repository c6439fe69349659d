//! The loss and its gradients.

use hardneg::{Batch, Exclusions, Gradients, Negatives, Positives, Reduction, Screen, TripletLoss, Workspace};
use hardneg_mpi::{Ranks, Shard, ShardGradients};

use crate::data::{CUTS, Cut, Random, bits, pairs, part, part_exclusions, part_offsets};

/// Pairs and elements. From one block of the sums, 192 rows, to several, and fewer rows than ranks.
const SHAPES: [(usize, usize); 6] = [(2, 3), (4, 16), (17, 33), (191, 24), (400, 40), (900, 64)];

/// Every choice of negatives and of reduction, with margins below and above most violations.
fn plans() -> Vec<TripletLoss> {
    let mut plans = Vec::new();
    for negatives in [Negatives::Below, Negatives::AtOrBelow, Negatives::Any] {
        for reduction in [Reduction::Sum, Reduction::Mean] {
            let margin = if reduction == Reduction::Sum { 0.25 } else { 0.05 };
            plans.push(TripletLoss::new().negatives(negatives).reduction(reduction).margin(margin));
        }
    }
    plans
}

pub(crate) fn forward(ranks: &mut Ranks) {
    for (rows, dim) in SHAPES {
        let (anchors, positives) = pairs(7, rows, dim);
        for plan in plans() {
            let mut workspace = Workspace::new();
            let batch = Batch::paired(&anchors, &positives, dim).unwrap();
            let whole = plan.forward(batch, &mut workspace).unwrap();
            for cut in CUTS {
                let own = cut.part(rows, ranks.rank(), ranks.size());
                let shard = Shard::paired(part(&anchors, own.clone(), dim), part(&positives, own.clone(), dim), dim);
                let spread = ranks.forward(&plan, shard).unwrap();
                let what = format!("{rows} x {dim}, {plan:?}, {cut:?}");
                assert_eq!(spread.loss(), whole.loss(), "{what}");
                assert_eq!(spread.all_row_stats(), whole.row_stats(), "{what}");
                assert_eq!(spread.row_stats(), &whole.row_stats()[own], "{what}");
                let counted = spread.screening();
                assert_eq!(
                    counted.i8_rows + counted.i16_rows + counted.f32_rows + counted.exact_rows,
                    rows,
                    "{what}, {counted:?}"
                );
            }
        }
    }
}

pub(crate) fn backward(ranks: &mut Ranks) {
    for (rows, dim) in SHAPES {
        let (anchors, positives) = pairs(8, rows, dim);
        for (number, plan) in plans().into_iter().enumerate() {
            let mut whole = [vec![0.25; rows * dim], vec![-0.5; rows * dim]];
            let accumulate = number % 2 == 1;
            let [by_anchors, by_positives] = &mut whole;
            let gradients = Gradients::new(by_anchors, by_positives);
            let gradients = if accumulate { gradients.accumulate() } else { gradients };
            let batch = Batch::paired(&anchors, &positives, dim).unwrap();
            let loss = plan.forward_backward(batch, gradients, &mut Workspace::new()).unwrap().loss();
            for cut in CUTS {
                let own = cut.part(rows, ranks.rank(), ranks.size());
                let shard = Shard::paired(part(&anchors, own.clone(), dim), part(&positives, own.clone(), dim), dim);
                let mut spread = [vec![0.25; own.len() * dim], vec![-0.5; own.len() * dim]];
                let [by_anchors, by_positives] = &mut spread;
                let gradients = ShardGradients::new(by_anchors, by_positives);
                let gradients = if accumulate { gradients.accumulate() } else { gradients };
                // A rank's screen is its own choice.
                let plan = if ranks.rank() % 2 == 1 { plan.screen(Screen::Off) } else { plan };
                let result = ranks.forward_backward(&plan, shard, gradients).unwrap().loss();
                let what = format!("{rows} x {dim}, {plan:?}, {cut:?}");
                assert_eq!(result, loss, "{what}");
                for (spread, whole) in spread.iter().zip(&whole) {
                    assert_eq!(bits(spread), bits(part(whole, own.clone(), dim)), "{what}");
                }
            }
        }
    }
}

/// Rectangular batches, whose sides are cut at different places.
pub(crate) fn positives_of_all_kinds(ranks: &mut Ranks) {
    for (rows, candidates, dim) in [(1, 2, 5), (3, 40, 17), (250, 700, 32), (500, 90, 48)] {
        let mut random = Random(9);
        let (anchors, _) = pairs(10, rows, dim);
        let (_, others) = pairs(11, candidates, dim);
        let outside = random.rows(rows, dim);
        let indices: Vec<usize> = (0..rows).map(|_| random.below(candidates)).collect();
        let narrow: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
        let signed: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
        let mut kinds = vec![
            Positives::Indices(&indices),
            Positives::IndicesU32(&narrow),
            Positives::IndicesI64(&signed),
            Positives::Outside(&outside),
        ];
        if rows < candidates {
            kinds.extend([Positives::Identity, Positives::Offset(candidates - rows)]);
        }
        for positives in kinds {
            for (negatives, cut) in [Negatives::Below, Negatives::AtOrBelow, Negatives::Any].iter().zip(CUTS) {
                let plan = TripletLoss::new().negatives(*negatives).reduction(Reduction::Mean).margin(0.3);
                check(ranks, &plan, (&anchors, &others, dim), positives, [cut, Cut::Random(3)]);
            }
        }
    }
}

fn check(
    ranks: &mut Ranks,
    plan: &TripletLoss,
    (anchors, candidates, dim): (&[f32], &[f32], usize),
    positives: Positives<'_>,
    cuts: [Cut; 2],
) {
    let batch = Batch::new(anchors, candidates, dim, positives).unwrap();
    let is_outside = matches!(positives, Positives::Outside(_));
    let outside_len = if is_outside { anchors.len() } else { 0 };
    let mut whole = [vec![0.0; anchors.len()], vec![0.0; candidates.len()], vec![0.0; outside_len]];
    let [by_anchors, by_candidates, by_positives] = &mut whole;
    let gradients = Gradients::new(by_anchors, by_candidates);
    let gradients = if is_outside { gradients.positives(by_positives) } else { gradients };
    let mut workspace = Workspace::new();
    let expected = plan.forward_backward(batch, gradients, &mut workspace).unwrap();

    let own = [(cuts[0], batch.rows()), (cuts[1], batch.candidates())];
    let [a, c] = own.map(|(cut, rows)| cut.part(rows, ranks.rank(), ranks.size()));
    let positives = match positives {
        Positives::Indices(indices) => Positives::Indices(&indices[a.clone()]),
        Positives::IndicesU32(indices) => Positives::IndicesU32(&indices[a.clone()]),
        Positives::IndicesI64(indices) => Positives::IndicesI64(&indices[a.clone()]),
        Positives::Outside(rows) => Positives::Outside(part(rows, a.clone(), dim)),
        positives => positives,
    };
    let shard = Shard::new(part(anchors, a.clone(), dim), part(candidates, c.clone(), dim), dim, positives);
    let mut spread =
        [vec![0.0; a.len() * dim], vec![0.0; c.len() * dim], vec![0.0; if is_outside { a.len() * dim } else { 0 }]];
    let [by_anchors, by_candidates, by_positives] = &mut spread;
    let mut forward = ranks.forward(plan, shard).unwrap();
    assert_eq!(forward.loss(), expected.loss());
    assert_eq!(forward.all_row_stats(), expected.row_stats());
    let gradients = ShardGradients::new(by_anchors, by_candidates);
    forward.backward(if is_outside { gradients.positives(by_positives) } else { gradients }).unwrap();
    let what = format!("{batch:?}, {cuts:?}");
    assert_eq!(bits(&spread[0]), bits(part(&whole[0], a.clone(), dim)), "anchors, {what}");
    assert_eq!(bits(&spread[1]), bits(part(&whole[1], c, dim)), "candidates, {what}");
    if is_outside {
        assert_eq!(bits(&spread[2]), bits(part(&whole[2], a.clone(), dim)), "positives, {what}");
    }
    // For a queue of candidates that are not trained.
    let mut again = vec![0.0; a.len() * dim];
    forward.backward(ShardGradients::of_anchors(&mut again)).unwrap();
    assert_eq!(bits(&again), bits(&spread[0]), "anchors alone, {what}");
}

/// Labels of a few rows each, of many, one for all, and none that is shared.
pub(crate) fn labels(ranks: &mut Ranks) {
    for (number, kinds) in [90, 3, 1, u64::MAX].into_iter().enumerate() {
        let mut random = Random(number as u64);
        let mut some = |rows: usize| (0..rows).map(|_| random.next() % kinds).collect::<Vec<u64>>();
        let (of_anchors, of_candidates) = (some(ANCHORS), some(CANDIDATES));
        let labels = Exclusions::Labels { anchors: &of_anchors, candidates: &of_candidates };
        check_excluding(ranks, plans()[number], labels);
    }
}

/// Lists of no candidates for any anchor, of some for most, with repeats and the positive, and of all for some.
pub(crate) fn lists(ranks: &mut Ranks) {
    for (number, longest) in [1, 2, 9, 3].into_iter().enumerate() {
        let (mut random, mut offsets, mut indices) = (Random(number as u64), vec![0], Vec::new());
        for row in 0..ANCHORS {
            indices.extend((0..random.below(longest)).map(|_| random.below(CANDIDATES)));
            if longest == 9 && row % 7 == 0 {
                indices.extend([row + FIRST_POSITIVE, row + FIRST_POSITIVE]);
            }
            if longest == 3 && row % 50 == 3 {
                indices.extend((0..CANDIDATES).rev());
            }
            offsets.push(indices.len());
        }
        check_excluding(ranks, plans()[number], Exclusions::Lists { offsets: &offsets, indices: &indices });
    }
}

const ANCHORS: usize = 260;
const CANDIDATES: usize = 430;
/// The candidate that is the positive of the first anchor.
const FIRST_POSITIVE: usize = 7;

/// A batch whose sides are cut at different places, with weights for every other cut.
fn check_excluding(ranks: &mut Ranks, plan: TripletLoss, exclusions: Exclusions<'_>) {
    let dim = 24;
    let (anchors, _) = pairs(12, ANCHORS, dim);
    let (_, others) = pairs(13, CANDIDATES, dim);
    let positives = Positives::Offset(FIRST_POSITIVE);
    let batch = Batch::new(&anchors, &others, dim, positives).unwrap().excluding(exclusions).unwrap();
    let weights = Random(14).rows(ANCHORS, 1);
    let mut workspace = Workspace::new();
    for (number, (cut, other)) in CUTS.into_iter().zip(CUTS.into_iter().rev()).enumerate() {
        let mut whole = [vec![0.0; anchors.len()], vec![0.0; others.len()]];
        let [by_anchors, by_candidates] = &mut whole;
        let gradients = Gradients::new(by_anchors, by_candidates);
        let gradients = if number % 2 == 0 { gradients } else { gradients.weights(&weights) };
        let expected = plan.forward_backward(batch, gradients, &mut workspace).unwrap();

        let [a, c] =
            [(cut, ANCHORS), (other, CANDIDATES)].map(|(cut, rows)| cut.part(rows, ranks.rank(), ranks.size()));
        let shard = Shard::new(part(&anchors, a.clone(), dim), part(&others, c.clone(), dim), dim, positives);
        let offsets = part_offsets(exclusions, a.clone());
        let shard = shard.excluding(part_exclusions(exclusions, &offsets, a.clone(), c.clone()));
        let mut spread = [vec![0.0; a.len() * dim], vec![0.0; c.len() * dim]];
        let [by_anchors, by_candidates] = &mut spread;
        let gradients = ShardGradients::new(by_anchors, by_candidates);
        let gradients = if number % 2 == 0 { gradients } else { gradients.weights(&weights[a.clone()]) };
        let forward = ranks.forward_backward(&plan, shard, gradients).unwrap();
        let what = format!("{exclusions:?}, {cut:?}, {other:?}");
        assert_eq!(forward.loss(), expected.loss(), "{what}");
        assert_eq!(forward.all_row_stats(), expected.row_stats(), "{what}");
        assert_eq!(bits(&spread[0]), bits(part(&whole[0], a, dim)), "anchors, {what}");
        assert_eq!(bits(&spread[1]), bits(part(&whole[1], c, dim)), "candidates, {what}");
    }
}
