//! Data on which screens rule out little or nothing, in which they change their mind, or whose rows are hard to round:
//! the bits of the reference, and what [`Screening`] says of it.

use hardneg::{Backend, Gradients, Negatives, Screen, Screening, Threads, TripletLoss, Workspace};

use crate::common::{ALL_NEGATIVES, OwnedBatch, Pairing, Random, bits, check_forward, ways};

/// A batch of these rows with positives at random.
fn batch(random: &mut Random, anchors: Vec<f32>, candidates: Vec<f32>, dim: usize) -> OwnedBatch {
    OwnedBatch::new(anchors, candidates, dim, Pairing::Identity).with_random_positives(random)
}

/// Compares every way to run with the reference, under every rule.
fn check(batch: &OwnedBatch, what: &str) {
    let mut workspace = Workspace::new();
    for negatives in ALL_NEGATIVES {
        check_forward(batch.batch(), negatives, &mut workspace, what);
    }
}

fn screening(batch: &OwnedBatch, plan: TripletLoss) -> Screening {
    plan.forward(batch.batch(), &mut Workspace::new()).unwrap().screening()
}

fn counted(screening: Screening) -> usize {
    screening.i8_rows + screening.i16_rows + screening.f32_rows + screening.exact_rows
}

/// `count` rows made of one.
fn rows(count: usize, mut row: impl FnMut(usize) -> Vec<f32>) -> Vec<f32> {
    (0..count).flat_map(&mut row).collect()
}

/// The row with the last bits of some elements changed.
fn almost(random: &mut Random, row: &[f32], elements: usize) -> Vec<f32> {
    let (mut row, dim) = (row.to_vec(), row.len());
    for _ in 0..elements {
        let element = &mut row[random.below(dim)];
        *element = f32::from_bits(element.to_bits() ^ random.below(4) as u32);
    }
    row
}

#[test]
fn rows_that_are_all_alike() {
    let mut random = Random(1);
    let (count, candidates) = (20, 700);
    for dim in [1, 3, 16, 50] {
        let row = random.rows(1, dim);
        let alike = batch(&mut random, row.repeat(count), row.repeat(candidates), dim);
        check(&alike, &format!("dim {dim}"));
        for backend in Backend::available() {
            for screen in Screen::all() {
                for negatives in ALL_NEGATIVES {
                    let plan = TripletLoss::new().negatives(negatives).backend(backend).screen(screen);
                    let screening = screening(&alike, plan.threads(Threads::Rayon));
                    let what = format!("{backend}, {screen:?}, {negatives:?}, dim {dim}");
                    assert_eq!(screening.survivors, count * (candidates - 1), "{what}: no pair can be ruled out");
                    assert_eq!(counted(screening), count, "{what}");
                }
            }
        }
    }
}

/// Ten times as many as a row can keep in mind, in all places relative to the positive.
#[test]
fn positives_in_the_midst_of_near_duplicates() {
    for (turn, dim) in [2, 17, 64].into_iter().enumerate() {
        for elements in [0, 1, dim] {
            let mut random = Random(turn as u64);
            let row = random.rows(1, dim);
            let anchors = rows(40, |_| almost(&mut random, &row, elements));
            let mut candidates = rows(320, |_| almost(&mut random, &row, elements));
            candidates.extend(random.rows(40, dim));
            let near = batch(&mut random, anchors, candidates, dim);
            check(&near, &format!("dim {dim}, {elements} elements differ"));
            for screen in Screen::all() {
                let plan = TripletLoss::new().negatives(Negatives::Any).screen(screen).threads(Threads::Rayon);
                let survivors = screening(&near, plan).survivors;
                assert!(survivors > 20 * 300, "{screen:?}, dim {dim}: {survivors}");
            }
        }
    }
}

/// In turns: anchors whose positives stand above all others, whose positives are any candidate, and whose positives are
/// among two hundred candidates of nearly one similarity. 16-bit integers serve the second kind, and none the third.
///
/// The sample by which `Auto` begins sees the first kind only: every 32nd anchor, and 32 candidates evenly spread.
fn three_kinds(block: usize, blocks: usize, dim: usize) -> OwnedBatch {
    const CANDIDATES: usize = 600;
    let mut random = Random(dim as u64);
    let center = random.rows(1, dim);
    let in_sample = |candidate: usize| (0..32).any(|index| index * CANDIDATES / 32 == candidate);
    // Every third candidate belongs to the cluster, so that a block soon sees what there is.
    let candidates = rows(CANDIDATES, |index| {
        if index % 3 == 2 && !in_sample(index) { almost(&mut random, &center, 2) } else { random.rows(1, dim) }
    });
    let (mut anchors, mut positives) = (Vec::new(), Vec::new());
    for row in 0..block * blocks {
        let (kind, positive) = (row / block % 3, 3 * random.below(200));
        let (anchor, positive) = match kind {
            1 if row % 32 > 0 => (random.rows(1, dim), positive),
            2 if row % 32 > 0 && !in_sample(positive + 2) => (almost(&mut random, &center, 2), positive + 2),
            _ => (almost(&mut random, &candidates[positive * dim..][..dim], 1), positive),
        };
        anchors.extend(anchor);
        positives.push(positive);
    }
    OwnedBatch::new(anchors, candidates, dim, Pairing::Indices(positives))
}

#[test]
fn blocks_of_one_call_end_at_different_screens() {
    // The anchors that stay together on one thread, up to these lengths.
    const BLOCK: usize = 96;
    let count = 4 * BLOCK;
    for dim in [128, 130] {
        let mixed = three_kinds(BLOCK, 4, dim);
        check(&mixed, &format!("dim {dim}"));
        for (way, plan) in ways(TripletLoss::new()) {
            let screening = screening(&mixed, plan);
            let what = format!("{way}, dim {dim}: {screening:?}");
            let Screening { i8_rows, i16_rows, f32_rows, exact_rows, .. } = screening;
            assert_eq!(counted(screening), count, "{what}");
            match plan.screen {
                Screen::I8 => assert_eq!(i8_rows, count, "{what}"),
                Screen::I16 => assert_eq!(i16_rows, count, "{what}"),
                Screen::F32 => assert_eq!(f32_rows, count, "{what}"),
                Screen::Off => assert_eq!(exact_rows, count, "{what}"),
                _ if plan.backend.name() == "avx512" && plan.threads == Threads::Serial => {
                    assert_eq!((i8_rows, f32_rows, i16_rows + exact_rows), (2 * BLOCK, 0, 2 * BLOCK), "{what}");
                    // A row or two of the second kind may have too many pairs left for 16-bit integers, too.
                    assert!((BLOCK - 2..=BLOCK).contains(&i16_rows), "{what}");
                }
                _ => {}
            }
        }
    }
}

/// The sum of all candidates, which gradients need, is made once, however often the candidates are prepared.
#[test]
fn gradients_after_blocks_went_on_to_other_screens() {
    let mixed = three_kinds(96, 4, 128);
    let mut first: Option<Vec<u32>> = None;
    for (way, plan) in ways(TripletLoss::new().margin(1.0)) {
        let (mut by_anchors, mut by_candidates) = (vec![0.0; mixed.anchors.len()], vec![0.0; mixed.candidates.len()]);
        let gradients = Gradients::new(&mut by_anchors, &mut by_candidates);
        let _ = plan.forward_backward(mixed.batch(), gradients, &mut Workspace::new()).unwrap();
        let actual = [bits(&by_anchors), bits(&by_candidates)].concat();
        assert!(*first.get_or_insert_with(|| actual.clone()) == actual, "{way}: other gradients");
    }
}

/// Rows so short that the constants of a candidate take more room than its elements, of two opposite kinds that bytes
/// can separate, but not the rows of one kind.
#[test]
fn short_rows_with_more_constants_than_elements() {
    for dim in 1..=17 {
        let mut random = Random(dim as u64);
        let mean = random.rows(1, dim);
        let mut row = |index: usize| -> Vec<f32> {
            let side = [1.0, -1.0][index % 2];
            mean.iter().map(|mean| side * mean + 0.004 * random.unit()).collect()
        };
        let candidates = rows(500, &mut row);
        let anchors = random.rows(120, dim);
        check(&batch(&mut random, anchors, candidates, dim), &format!("dim {dim}"));
    }
}

/// Up to `2^15` elements, integers hold the sums; longer rows take `f32`.
#[test]
fn the_longest_rows_that_are_rounded() {
    let mut random = Random(3);
    for dim in [32_767, 32_768, 32_769] {
        let center = random.rows(1, dim);
        let mut all = random.rows(20, dim);
        all.extend(rows(10, |_| almost(&mut random, &center, 100)));
        // The largest sums of products there are: all elements of one size.
        all.extend([1.0, -1.0, 3.0].into_iter().flat_map(|value| vec![value; dim]));
        let long = batch(&mut random, all[18 * dim..].to_vec(), all.clone(), dim);
        let negatives = ALL_NEGATIVES[dim % 3];
        check_forward(long.batch(), negatives, &mut Workspace::new(), &format!("dim {dim}"));
        for (screen, level) in [(Screen::I8, 0), (Screen::I16, 1), (Screen::F32, 2)] {
            let plan = TripletLoss::new().screen(screen).threads(Threads::Rayon);
            let Screening { i8_rows, i16_rows, f32_rows, .. } = screening(&long, plan);
            let rows = [i8_rows, i16_rows, f32_rows];
            assert_eq!(rows[if dim > 1 << 15 { 2 } else { level }], 15, "dim {dim}, {screen:?}: {rows:?}");
        }
    }
}

/// Rows that are hard to round, 220 of each kind, of which the first 30 are anchors, too.
fn hard_rows(dim: usize) -> Vec<(&'static str, Vec<f32>)> {
    const COUNT: usize = 220;
    let mut random = Random(dim as u64);
    let any = random.rows(COUNT, dim);
    let with_mean = |size: f32| any.iter().map(|value| value + size).collect::<Vec<f32>>();
    let scaled = |scales: &[f32]| -> Vec<f32> {
        let scale = |(row, values): (usize, &[f32])| values.iter().map(|v| v * scales[row % scales.len()]).collect();
        any.chunks(dim).enumerate().flat_map(|row| -> Vec<f32> { scale(row) }).collect()
    };
    let changed = |change: &dyn Fn(usize, &mut [f32])| {
        let mut rows = any.clone();
        rows.chunks_mut(dim).enumerate().for_each(|(index, row)| change(index, row));
        rows
    };
    vec![
        ("a mean of 10", with_mean(10.0)),
        ("a mean of 1000", with_mean(1e3)),
        ("a mean that leaves the last bits", with_mean(1e6)),
        ("two opposite means", changed(&|index, row| row.iter_mut().for_each(|v| *v += [50.0, -50.0][index % 2]))),
        (
            "a mean, and a few rows without it",
            changed(&|index, row| {
                let mean = if index % 50 == 7 { -9.0 } else { 9.0 };
                row.iter_mut().for_each(|value| *value += mean);
            }),
        ),
        ("from the smallest to the largest", scaled(&[1e-40, 1e30, 3.3e38, 1.0, 1e-45, 1e-30])),
        ("subnormal", scaled(&[1e-40])),
        ("the largest", scaled(&[3.3e38])),
        ("one element dominates", changed(&|index, row| row[index % 3 % dim] = 1e4)),
        ("one element is all that matters", changed(&|_, row| row[0] = 1e7)),
        (
            "a zero row here and there",
            changed(&|index, row| {
                if index % 17 == 3 {
                    row.fill(0.0)
                }
            }),
        ),
        (
            "few rows that are not zero",
            changed(&|index, row| {
                if index % 9 != 1 {
                    row.fill(0.0)
                }
            }),
        ),
        (
            "one element each",
            changed(&|index, row| {
                let value = row[index % dim];
                row.fill(0.0);
                row[index % dim] = value;
            }),
        ),
        ("most rows are the center", {
            // Of 220 rows a center is made of about every third one.
            changed(&|index, row| {
                if index % 10 != 5 {
                    row.copy_from_slice(&any[..dim])
                }
            })
        }),
        (
            "powers of two",
            changed(&|index, row| {
                row.iter_mut()
                    .enumerate()
                    .for_each(|(k, v)| *v = 2.0_f32.powi(((index + 7 * k) % 40) as i32 - 20).copysign(*v));
            }),
        ),
    ]
}

#[test]
fn rows_that_are_hard_to_round() {
    for dim in [1, 2, 13, 33, 96] {
        for (name, rows) in hard_rows(dim) {
            let mut random = Random(dim as u64);
            let hard = batch(&mut random, rows[..30 * dim].to_vec(), rows, dim);
            check(&hard, &format!("{name}, dim {dim}"));
        }
    }
}
