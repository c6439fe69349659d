//! A call that one rank must refuse ends on all ranks with the same error, and the next call works.

use hardneg::{Exclusions, Negatives, Positives, Side, TripletLoss};
use hardneg_mpi::{Error, Ranks, Setting, Shard, ShardGradients};

use crate::data::{Cut, pairs, part};

const ROWS: usize = 40;
const DIM: usize = 8;

/// A call that succeeds, on the same communicator.
fn check_usable(ranks: &mut Ranks) {
    let (anchors, positives) = pairs(1, ROWS, DIM);
    let own = Cut::Even.part(ROWS, ranks.rank(), ranks.size());
    let shard = Shard::paired(part(&anchors, own.clone(), DIM), part(&positives, own, DIM), DIM);
    assert_eq!(ranks.forward(&TripletLoss::new(), shard).unwrap().loss().rows, ROWS);
}

pub(crate) fn errors(ranks: &mut Ranks) {
    use hardneg::Error as E;
    let (plan, last) = (TripletLoss::new(), ranks.size() - 1);
    let (rank, is_last) = (ranks.rank(), ranks.rank() == last);
    let (mut anchors, mut positives) = pairs(2, ROWS, DIM);
    let own = Cut::Even.part(ROWS, rank, ranks.size());

    // A row of the candidates, then an anchor as well, which is found first although its rank is the last.
    positives[DIM * 2 + 1] = f32::NAN;
    let shard = Shard::paired(part(&anchors, own.clone(), DIM), part(&positives, own.clone(), DIM), DIM);
    let error = ranks.forward(&plan, shard).unwrap_err();
    assert_eq!(error, Error::Call(E::NotFinite { side: Side::Positives, row: 2 }));
    anchors[ROWS * DIM - 1] = f32::INFINITY;
    let shard = Shard::paired(part(&anchors, own.clone(), DIM), part(&positives, own.clone(), DIM), DIM);
    let error = ranks.forward(&plan, shard).unwrap_err();
    assert_eq!(error, Error::Call(E::NotFinite { side: Side::Anchors, row: ROWS - 1 }));
    check_usable(ranks);

    let (anchors, positives) = pairs(2, ROWS, DIM);
    let (a, p) = (part(&anchors, own.clone(), DIM), part(&positives, own.clone(), DIM));
    // Slices of one rank.
    let short = if is_last { &p[1..] } else { p };
    let error = ranks.forward(&plan, Shard::new(a, short, DIM, Positives::Identity)).unwrap_err();
    let expected = E::PartialRow { side: Side::Candidates, dim: DIM, actual: short.len() };
    assert_eq!(
        (ranks.size() > 1 || is_last, error),
        (true, Error::OnRank { rank: last, error: expected_on(last, expected, ranks) })
    );
    let outside = if is_last { &p[..p.len() - DIM] } else { p };
    let error = ranks.forward(&plan, Shard::new(a, p, DIM, Positives::Outside(outside))).unwrap_err();
    assert!(matches!(error, Error::OnRank { rank, error: E::Length { side: Side::Positives, .. } } if rank == last));

    let labels = vec![1; own.len()];
    let short = if is_last { &labels[1..] } else { &labels };
    let error = ranks
        .forward(&plan, Shard::paired(a, p, DIM).excluding(Exclusions::Labels { anchors: &labels, candidates: short }))
        .unwrap_err();
    assert!(
        matches!(error, Error::OnRank { rank, error: E::Length { side: Side::CandidateLabels, .. } } if rank == last)
    );

    // A list that all anchors share is no list of theirs.
    let shared = Shard::paired(a, p, DIM).excluding(Exclusions::Shared(&[3]));
    let error = ranks.forward(&plan, shared).unwrap_err();
    assert!(matches!(error, Error::Call(E::Offsets { side: Side::Exclusions, row: 0 })), "{error:?}");

    // A positive that no rank has.
    let mut indices: Vec<i64> = own.clone().map(|row| (row as i64 + 1) % ROWS as i64).collect();
    if is_last {
        *indices.last_mut().unwrap() = -1;
    }
    let error = ranks.forward(&plan, Shard::new(a, p, DIM, Positives::IndicesI64(&indices))).unwrap_err();
    assert_eq!(error, Error::Call(E::PositiveOutOfRange { row: ROWS - 1, index: -1, candidates: ROWS }));
    let error = ranks.forward(&plan, Shard::new(a, p, DIM, Positives::Offset(1))).unwrap_err();
    assert_eq!(error, Error::Call(E::PositiveOutOfRange { row: ROWS - 1, index: ROWS as i128, candidates: ROWS }));

    // Lists of excluded candidates: one that no rank has, and offsets that do not ascend.
    let last_row = (0..own.len()).map(|_| 0).chain([1]).collect::<Vec<_>>();
    let none = vec![0; own.len() + 1];
    let lists = |last: usize| match is_last {
        true => {
            Exclusions::Lists { offsets: &last_row, indices: std::slice::from_ref(if last == 0 { &0 } else { &ROWS }) }
        }
        false => Exclusions::Lists { offsets: &none, indices: &[] },
    };
    assert_eq!(ranks.forward(&plan, Shard::paired(a, p, DIM).excluding(lists(0))).unwrap().loss().rows, ROWS);
    let error = ranks.forward(&plan, Shard::paired(a, p, DIM).excluding(lists(1))).unwrap_err();
    let expected = E::ExcludedOutOfRange { row: ROWS - 1, index: ROWS as i128, candidates: ROWS };
    assert_eq!(error, Error::Call(expected));
    let bad = vec![1; own.len() + 1];
    let offsets = Exclusions::Lists { offsets: if is_last { &bad } else { &none }, indices: &[] };
    let error = ranks.forward(&plan, Shard::paired(a, p, DIM).excluding(offsets)).unwrap_err();
    let first = Cut::Even.part(ROWS, last, ranks.size()).start;
    assert_eq!(error, Error::Call(E::Offsets { side: Side::Exclusions, row: first }));
    let short = Exclusions::Lists { offsets: if is_last { &none[1..] } else { &none }, indices: &[] };
    let error = ranks.forward(&plan, Shard::paired(a, p, DIM).excluding(short)).unwrap_err();
    assert!(matches!(error, Error::OnRank { rank, error: E::Length { side: Side::Exclusions, .. } } if rank == last));

    // The shape of the whole.
    let empty = Shard::paired(&[], &[], DIM);
    assert_eq!(ranks.forward(&plan, empty).unwrap_err(), Error::Call(E::Empty { side: Side::Anchors }));
    let no_candidates = Shard::new(a, &[], DIM, Positives::Outside(p));
    assert_eq!(ranks.forward(&plan, no_candidates).unwrap_err(), Error::Call(E::Empty { side: Side::Candidates }));
    let one = if is_last { part(&anchors, 0..1, DIM) } else { &[] };
    assert_eq!(ranks.forward(&plan, Shard::paired(one, one, DIM)).unwrap_err(), Error::Call(E::NoNegative));
    let margin = f32::INFINITY;
    let error = ranks.forward(&plan.margin(margin), Shard::paired(a, p, DIM)).unwrap_err();
    assert_eq!(error, Error::Call(E::MarginNotFinite { margin }));
    check_usable(ranks);
    gradient_errors(ranks, a, p);
}

/// The error that a rank found in its own slice has lengths that the others do not know beforehand.
fn expected_on(last: usize, error: hardneg::Error, ranks: &Ranks) -> hardneg::Error {
    let rows = Cut::Even.part(ROWS, last, ranks.size()).len();
    match error {
        hardneg::Error::PartialRow { side, dim, .. } => {
            hardneg::Error::PartialRow { side, dim, actual: rows * DIM - 1 }
        }
        error => error,
    }
}

/// Buffers of one rank; none is written on any.
fn gradient_errors(ranks: &mut Ranks, anchors: &[f32], positives: &[f32]) {
    use hardneg::Error as E;
    let (plan, last) = (TripletLoss::new(), ranks.size() - 1);
    let is_last = ranks.rank() == last;
    let shard = Shard::paired(anchors, positives, DIM);
    let (mut by_anchors, mut by_positives) = (vec![7.0; anchors.len()], vec![7.0; positives.len()]);
    let length = by_anchors.len() - usize::from(is_last);
    let gradients = ShardGradients::new(&mut by_anchors[..length], &mut by_positives);
    let error = ranks.forward_backward(&plan, shard, gradients).unwrap_err();
    let is_expected = |error| matches!(error, Error::OnRank { rank, error: E::Length { side: Side::AnchorGradients, .. } } if rank == last);
    assert!(is_expected(error), "{error:?}");
    let mut forward = ranks.forward(&plan, shard).unwrap();
    let gradients = ShardGradients::new(&mut by_anchors[..length], &mut by_positives);
    let error = forward.backward(gradients).unwrap_err();
    assert!(is_expected(error), "{error:?}");
    let mut weights = vec![1.0; anchors.len() / DIM];
    if is_last {
        *weights.last_mut().unwrap() = f32::NAN;
    }
    let gradients = ShardGradients::new(&mut by_anchors, &mut by_positives).weights(&weights);
    let not_finite = Error::Call(E::NotFinite { side: Side::Weights, row: ROWS - 1 });
    assert_eq!(forward.backward(gradients).unwrap_err(), not_finite);
    let gradients = ShardGradients::new(&mut by_anchors, &mut by_positives).weights(&weights);
    assert_eq!(ranks.forward_backward(&plan, shard, gradients).unwrap_err(), not_finite);
    assert!(by_anchors.iter().chain(&by_positives).all(|&value| value == 7.0));
    let mut forward = ranks.forward(&plan, shard).unwrap();
    // The forward pass stands.
    forward.backward(ShardGradients::new(&mut by_anchors, &mut by_positives)).unwrap();
    assert!(by_anchors.iter().all(|&value| value != 7.0));
    check_usable(ranks);
}

/// Ranks that disagree.
pub(crate) fn settings(ranks: &mut Ranks) {
    if ranks.size() == 1 {
        return;
    }
    let last = ranks.size() - 1;
    let is_last = ranks.rank() == last;
    let rows = vec![0.5; 2 * DIM];
    let plan = TripletLoss::new();
    let other = |setting: Setting| match setting {
        Setting::Margin => plan.margin(0.5),
        Setting::Negatives => plan.negatives(Negatives::Any),
        Setting::Reduction => plan.reduction(hardneg::Reduction::Mean),
        _ => plan,
    };
    for setting in
        [Setting::Margin, Setting::Negatives, Setting::Reduction, Setting::Dim, Setting::Positives, Setting::Exclusions]
    {
        let plan = if is_last { other(setting) } else { plan };
        let dim = if is_last && setting == Setting::Dim { DIM / 2 } else { DIM };
        let positives =
            if is_last && setting == Setting::Positives { Positives::Outside(&rows) } else { Positives::Identity };
        let mut shard = Shard::new(&rows, &rows, dim, positives);
        if is_last && setting == Setting::Exclusions {
            shard = shard.excluding(Exclusions::Labels { anchors: &[1, 2], candidates: &[2, 3] });
        }
        let error = ranks.forward(&plan, shard).unwrap_err();
        assert_eq!(error, Error::Settings { rank: last, setting });
        check_usable(ranks);
    }
    // Another call, and other gradients.
    let shard = Shard::paired(&rows, &rows, DIM);
    let (mut by_anchors, mut by_positives) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
    let error = if is_last {
        ranks.forward(&plan, shard).unwrap_err()
    } else {
        ranks.forward_backward(&plan, shard, ShardGradients::new(&mut by_anchors, &mut by_positives)).unwrap_err()
    };
    assert_eq!(error, Error::Settings { rank: last, setting: Setting::Call });
    let mut forward = ranks.forward(&plan, shard).unwrap();
    let gradients = if is_last {
        ShardGradients::of_anchors(&mut by_anchors)
    } else {
        ShardGradients::new(&mut by_anchors, &mut by_positives)
    };
    assert_eq!(forward.backward(gradients).unwrap_err(), Error::Settings { rank: last, setting: Setting::Gradients });
    check_usable(ranks);
}
