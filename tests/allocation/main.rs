//! After the first call of a shape, a serial call allocates nothing: a counting allocator proves it.

mod banks;
#[path = "../common/mod.rs"]
mod common;
mod counting;
#[cfg(feature = "rayon")]
mod pools;

use std::hint::black_box;

use common::{ALL_NEGATIVES, Data, Kind, OwnedBatch, Pairing, Random};
use counting::allocations;
use hardneg::{
    Backend, Bank, BankOptions, Batch, CandidateSum, Exclusions, Gradients, KnownPositives, Miner, MiningBatch,
    Positives, Screen, Screening, SimilarityMatrix, Threads, TripletLoss, Workspace,
};

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| 1), 0);
    assert_eq!(allocations(|| vec![1_u8; 100]), 1);
    assert_eq!(allocations(|| vec![0_u8; 100]), 1);
    let mut grown = Vec::<u8>::with_capacity(1);
    assert_eq!(allocations(|| grown.reserve_exact(1000)), 1);
    // The others' allocations are theirs.
    assert_eq!(std::thread::spawn(|| allocations(|| Box::new(1))).join().unwrap(), 1);
}

#[test]
fn the_second_call_and_calls_of_smaller_shapes() {
    for backend in Backend::available() {
        for data in [Data::Random, Data::NearTies, Data::Duplicates, Data::ZeroRows] {
            let mut workspace = Workspace::new();
            let mut largest = true;
            // The last shape has fewer of everything than the first one, but more of one thing than those between.
            for (rows, candidates, dim) in [(300, 420, 40), (17, 100, 40), (299, 419, 3), (1, 2, 1), (250, 400, 39)] {
                let input = data.batch(1, rows, candidates, dim);
                for negatives in ALL_NEGATIVES {
                    let plan = TripletLoss::new().negatives(negatives).backend(backend).threads(Threads::Serial);
                    let mut call = || plan.forward(input.batch(), &mut workspace).unwrap().loss();
                    let first = allocations(&mut call);
                    assert_eq!(first > 0, largest, "{backend}, {data:?}, {rows} x {candidates} x {dim}: {first}");
                    assert_eq!(allocations(&mut call), 0, "{backend}, {data:?}, {rows} x {candidates} x {dim}");
                    largest = false;
                }
            }
        }
    }
}

/// Few anchors, whose candidates are not packed, then fewer and shorter ones.
#[test]
fn calls_of_fewer_anchors_than_a_few() {
    for backend in Backend::available() {
        for screen in [Screen::Auto, Screen::F32] {
            let plan = TripletLoss::new().backend(backend).threads(Threads::Serial).screen(screen);
            let mut workspace = Workspace::new();
            let shapes = [(18, 900, 64), (18, 900, 31), (1, 900, 64), (17, 100, 64), (2, 2, 3)];
            for (turn, (rows, candidates, dim)) in shapes.into_iter().enumerate() {
                let input = Data::Random.batch(1, rows, candidates, dim).with(Pairing::Identity);
                let first = allocations(|| plan.forward(input.batch(), &mut workspace).unwrap().loss());
                assert_eq!(first > 0, turn == 0, "{backend}, {screen}, {rows} x {candidates} x {dim}: {first}");
            }
        }
    }
}

/// The data of a shape decide which screen pays, not how much memory there is.
#[test]
fn data_that_ask_for_another_screen() {
    const ALL: [Data; 4] = [Data::Random, Data::CommonMean, Data::NearTies, Data::Duplicates];
    for backend in Backend::available() {
        for screen in Screen::all() {
            let plan = TripletLoss::new().backend(backend).threads(Threads::Serial).screen(screen);
            let mut chosen = Vec::new();
            for dim in [5, 160] {
                let mut workspace = Workspace::new();
                for (turn, data) in ALL.into_iter().enumerate() {
                    let mut input = data.batch(3, 300, 420, dim);
                    if turn == 0 {
                        // Positives far above all others.
                        input.candidates[..input.anchors.len()].copy_from_slice(&input.anchors);
                    }
                    let mut screening = Screening::default();
                    let counted = allocations(|| {
                        screening = plan.forward(input.batch(), &mut workspace).unwrap().screening();
                    });
                    assert_eq!(counted > 0, turn == 0, "{backend}, {screen:?}, {data:?}, dim {dim}: {counted}");
                    let Screening { i8_rows, i16_rows, f32_rows, .. } = screening;
                    chosen.push([i8_rows, i16_rows, f32_rows].map(|rows| rows > 0));
                }
            }
            if screen == Screen::Auto && backend.name() == "avx512" {
                assert!((0..3).all(|level| chosen.iter().any(|chosen| chosen[level])), "{chosen:?}");
            }
        }
    }
}

/// Mining, with a list of any length, thresholds, lists of positives and a predicate, raw and against a bank.
#[test]
fn mining_again_and_smaller_shapes() {
    for backend in Backend::available() {
        for data in [Data::Random, Data::NearTies, Data::Duplicates, Data::ZeroRows] {
            let input = data.batch(4, 300, 420, 40);
            let bank = BankOptions::new().backend(backend).build(&input.candidates[..], 40).unwrap();
            let (offsets, indices): (Vec<usize>, Vec<usize>) = ((0..=300).collect(), (0..300).rev().collect());
            let every_seventh = |query: usize, candidate: usize| (query + candidate).is_multiple_of(7);
            for k in [1, 10, 150] {
                let mut workspace = Workspace::new();
                for (turn, (rows, candidates, k)) in
                    [(300, 420, k), (300, 420, k), (17, 310, k), (299, 420, k.min(7)), (1, 301, 1)]
                        .into_iter()
                        .enumerate()
                {
                    let miner =
                        Miner::new().k(k).backend(backend).negatives(ALL_NEGATIVES[turn % 3]).min_similarity(-0.9);
                    let queries = &input.anchors[..rows * 40];
                    let known = KnownPositives::Lists { offsets: &offsets[..=rows], indices: &indices[..rows] };
                    let raw = MiningBatch::new(queries, &input.candidates[..candidates * 40], 40).unwrap();
                    let against = MiningBatch::against(queries, &bank).unwrap();
                    for batch in [raw, against] {
                        let batch = batch.known_positives(known).unwrap().exclude_where(&every_seventh);
                        let counted = allocations(|| miner.mine(batch, &mut workspace).unwrap().found());
                        assert!(
                            counted == 0 || turn == 0,
                            "{backend}, {data:?}, k {k}, call {turn}, {batch:?}: {counted}"
                        );
                    }
                }
            }
            // Other kinds of calls with the same workspace change nothing.
            let mut workspace = Workspace::new();
            let batch = MiningBatch::new(&input.anchors, &input.candidates, 40).unwrap();
            let miner = Miner::new().k(3).backend(backend);
            let first = allocations(|| miner.mine(batch, &mut workspace).unwrap().found());
            let plan = TripletLoss::new().backend(backend);
            let _ = plan.forward(input.batch(), &mut workspace).unwrap();
            let again = allocations(|| miner.mine(batch, &mut workspace).unwrap().found());
            assert!(first > 0 && again == 0, "{backend}, {data:?}: {first}, {again}");
        }
    }
}

/// Shapes and thread counts at which a thread's block of anchors changes its size: a smaller batch may have a larger
/// block.
#[test]
fn smaller_shapes_with_larger_blocks() {
    for [rows, dim, later_rows, later_dim] in
        [[300, 4096, 300, 64], [300, 4096, 299, 700], [300, 1500, 300, 700], [40, 5000, 40, 1]]
    {
        let OwnedBatch { anchors: a, candidates: c, .. } = Data::Random.batch(6, rows, rows, dim);
        let plan = TripletLoss::new().threads(Threads::Serial);
        let mut workspace = Workspace::new();
        let _ = plan.forward(Batch::paired(&a, &c, dim).unwrap(), &mut workspace).unwrap();
        let later = later_rows * later_dim;
        let batch = Batch::paired(&a[..later], &c[..later], later_dim).unwrap();
        let counted = allocations(|| plan.forward(batch, &mut workspace).unwrap().loss());
        assert_eq!(counted, 0, "{rows} x {dim}, then {later_rows} x {later_dim}");
    }
}

/// The elements of a batch, larger than those of any call, of which calls take as many as they need.
struct Elements {
    anchors: Vec<f32>,
    candidates: Vec<f32>,
}

impl Elements {
    const ROWS: usize = 300;
    const CANDIDATES: usize = 420;
    const DIM: usize = 40;

    fn new(data: Data) -> Elements {
        let OwnedBatch { anchors, candidates, .. } = data.batch(5, Self::ROWS, Self::CANDIDATES, Self::DIM);
        Elements { anchors, candidates }
    }

    fn batch(&self, rows: usize, candidates: usize, dim: usize) -> Batch<'_> {
        let (anchors, candidates) = (&self.anchors[..rows * dim], &self.candidates[..candidates * dim]);
        Batch::new(anchors, candidates, dim, Positives::Identity).unwrap()
    }

    /// Any call of this shape or a smaller one: rows, rows summed up again, or a matrix.
    fn call(&self, random: &mut Random, plan: TripletLoss, workspace: &mut Workspace) {
        let (rows, dim) = (1 + random.below(Self::ROWS), 1 + random.below(Self::DIM));
        let candidates = rows.max(2) + random.below(1 + Self::CANDIDATES - rows.max(2));
        let plan = plan.negatives(ALL_NEGATIVES[random.below(3)]);
        if random.below(4) == 0 {
            // Elements serve as similarities, too.
            let side = rows.clamp(2, 100);
            let matrix = SimilarityMatrix::square(&self.candidates[..side * side], side).unwrap();
            let forward = plan.forward_from_similarities(matrix, workspace).unwrap();
            let _ = black_box(plan.reduce(forward.row_stats()).unwrap());
        } else {
            let forward = plan.forward(self.batch(rows, candidates, dim), workspace).unwrap();
            let _ = black_box(plan.reduce(forward.row_stats()).unwrap());
        }
    }
}

#[test]
fn a_thousand_calls_of_any_smaller_shape() {
    let elements = Elements::new(Data::CommonMean);
    let largest = elements.batch(Elements::ROWS, Elements::CANDIDATES, Elements::DIM);
    for backend in Backend::available() {
        let plan = TripletLoss::new().backend(backend).threads(Threads::Serial);
        let mut workspace = Workspace::new();
        let _ = plan.forward(largest, &mut workspace).unwrap();
        let mut random = Random(1);
        let thousand = || (0..1000).for_each(|_| elements.call(&mut random, plan, &mut workspace));
        assert_eq!(allocations(thousand), 0, "{backend}");
    }
}

#[test]
fn gradients() {
    for backend in Backend::available() {
        let plan = TripletLoss::new().backend(backend).threads(Threads::Serial);
        let mut workspace = Workspace::new();
        let mut largest = true;
        for (rows, candidates, dim) in [(400, 420, 40), (17, 100, 40), (399, 419, 3), (1, 2, 1)] {
            let input = Data::CommonMean.batch(5, rows, candidates, dim);
            let batch = input.batch();
            let (mut by_a, mut by_c) = (vec![0.0; input.anchors.len()], vec![0.0; input.candidates.len()]);
            let weights = vec![0.5; rows];
            let mut forward = plan.forward(batch, &mut workspace).unwrap();
            let mut backward = || forward.backward(Gradients::new(&mut by_a, &mut by_c)).unwrap();
            assert_eq!(allocations(&mut backward) > 0, largest, "{backend}, {rows} x {candidates} x {dim}");
            assert_eq!(allocations(&mut backward), 0, "{backend}, {rows} x {candidates} x {dim}");
            let refused = || forward.backward(Gradients::new(&mut [], &mut []));
            assert_eq!(allocations(refused), 0);
            let alone = || forward.backward(Gradients::of_anchors(&mut by_a).weights(&weights)).unwrap();
            assert_eq!(allocations(alone), 0, "{backend}, {rows} x {candidates} x {dim}");
            let both = || {
                let gradients = Gradients::new(&mut by_a, &mut by_c).weights(&weights).accumulate();
                plan.forward_backward(batch, gradients, &mut workspace).unwrap().loss()
            };
            assert_eq!(allocations(both), 0, "{backend}, {rows} x {candidates} x {dim}");
            largest = false;
        }
    }
}

/// A workspace that was warmed with zeros allocates nothing at the first call of the shape, whatever its rows hold, nor
/// in its backward pass.
#[test]
fn a_workspace_that_was_warmed_for_a_loss() {
    for (rows, candidates, dim) in [(5, 7, 3), (32, 32, 40), (150, 220, 33), (10, 900, 40)] {
        let zeros = vec![0.0; candidates * dim];
        for data in [Data::Random, Data::NearTies, Data::Duplicates, Data::ZeroRows] {
            let input = data.batch(3, rows, candidates, dim);
            let bank = Bank::new(&input.candidates[..], dim).unwrap();
            for plan in Backend::available().map(|backend| TripletLoss::new().margin(1.0).backend(backend)) {
                let raw = |anchors, candidates| Batch::new(anchors, candidates, dim, Positives::Identity).unwrap();
                let of_bank = |anchors| Batch::against(anchors, &bank, Positives::Outside(anchors)).unwrap();
                let zeros = (&zeros[..rows * dim], &zeros[..]);
                let cases = [
                    (raw(zeros.0, zeros.1), raw(&input.anchors, &input.candidates)),
                    (of_bank(zeros.0), of_bank(&input.anchors)),
                ];
                for ((shape, batch), outside) in cases.into_iter().zip([false, true]) {
                    let mut workspace = Workspace::new();
                    assert!(allocations(|| workspace.warm_loss(&plan, shape).unwrap()) > 0);
                    let mut gradients = [rows, candidates, rows].map(|rows| vec![0.0; rows * dim]);
                    let step = || {
                        let [a, c, p] = &mut gradients;
                        let gradients = Gradients::new(a, c);
                        let gradients = if outside { gradients.positives(p) } else { gradients };
                        plan.forward_backward(batch, gradients, &mut workspace).unwrap().loss()
                    };
                    assert_eq!(allocations(step), 0, "{data:?}, {rows} x {candidates} x {dim}, {plan:?}");
                    assert_eq!(allocations(|| workspace.warm_loss(&plan, shape).unwrap()), 0);
                }
            }
        }
    }
}

/// Labels of any distribution and lists of any indices, of the shape of the first call or of a smaller one.
#[test]
fn exclusions() {
    const LABELS: [Kind; 6] = [
        Kind::UnrelatedLabels,
        Kind::EqualLabels,
        Kind::DifferentLabels,
        Kind::SmallGroups,
        Kind::LargeGroups,
        Kind::ZipfLabels,
    ];
    for backend in Backend::available() {
        for kinds in [&LABELS[..], &[Kind::LongLists, Kind::ShortLists, Kind::SharedList]] {
            let plan = TripletLoss::new().margin(1.0).backend(backend).threads(Threads::Serial);
            let (mut workspace, mut largest) = (Workspace::new(), true);
            for (rows, candidates, dim) in [(400, 420, 40), (17, 100, 40), (399, 419, 3), (2, 3, 1)] {
                for (turn, kind) in kinds.iter().enumerate() {
                    let input = Data::CommonMean.batch(5, rows, candidates, dim);
                    let excluding = kind.of(&mut Random(turn as u64), rows, candidates, &input.pairing);
                    let batch = input.batch().excluding(excluding.exclusions()).unwrap();
                    let (mut by_a, mut by_c) = (vec![0.0; input.anchors.len()], vec![0.0; input.candidates.len()]);
                    let mut call = || {
                        let gradients = Gradients::new(&mut by_a, &mut by_c);
                        plan.forward_backward(batch, gradients, &mut workspace).unwrap().loss()
                    };
                    let what = format!("{backend}, {kind:?}, {rows} x {candidates} x {dim}");
                    assert_eq!(allocations(&mut call) > 0, largest, "{what}");
                    assert_eq!(allocations(&mut call), 0, "{what}");
                    largest = false;
                }
            }
        }
    }
}

#[test]
fn statistics_and_sums_from_several_places() {
    let (rows, candidates, dim) = (300, 420, 40);
    let input = Data::Random.batch(1, rows, candidates, dim);
    let labels: Vec<u64> = (0..candidates as u64).map(|candidate| candidate % 50).collect();
    let by_labels = Exclusions::Labels { anchors: &labels[..rows], candidates: &labels };
    let (plan, mut workspace) = (TripletLoss::new().threads(Threads::Serial), Workspace::new());
    for batch in [input.batch().excluding(by_labels).unwrap(), input.batch()] {
        let stats = plan.forward(batch, &mut Workspace::new()).unwrap().row_stats().to_vec();
        let (mut by_anchors, mut by_candidates) = (vec![0.0; 30 * dim], vec![0.0; 50 * dim]);
        let mut call = || {
            let gradients = Gradients::new(&mut by_anchors, &mut by_candidates).rows(200..230, 370..420);
            plan.forward_from_row_stats(batch, &stats, &mut workspace).unwrap().backward(gradients).unwrap();
            let gradients = Gradients::new(&mut by_anchors, &mut by_candidates).rows(200..230, 370..420);
            let forward = plan.forward(batch, &mut workspace).unwrap();
            plan.continue_from_row_stats(forward, batch, &stats).unwrap().backward(gradients).unwrap();
        };
        call();
        assert_eq!(allocations(&mut call), 0);
    }
    // A vector for each bit of the number of blocks.
    let mut sum = CandidateSum::new(dim).unwrap();
    sum.push(&input.candidates).unwrap();
    assert!(allocations(|| sum.push(&input.candidates[..200 * dim]).unwrap()) <= 1);
    assert_eq!(allocations(|| sum.push(&input.candidates[..10 * dim]).unwrap()), 0);
    assert_eq!(allocations(|| sum.mean_negative(&input.anchors[..dim], None).unwrap()), 0);
}

#[test]
fn failing_calls() {
    let good = Data::Random.batch(2, 50, 60, 20);
    let plan = TripletLoss::new().threads(Threads::Serial);
    let mut workspace = Workspace::new();
    let _ = plan.forward(good.batch(), &mut workspace).unwrap();
    let mut bad = good.clone();
    bad.candidates[777] = f32::NAN;
    assert_eq!(allocations(|| plan.forward(bad.batch(), &mut workspace).unwrap_err()), 0);
    assert_eq!(allocations(|| plan.margin(f32::NAN).forward(bad.batch(), &mut workspace).unwrap_err()), 0);
    assert_eq!(allocations(|| Batch::paired(&bad.anchors, &bad.candidates, 20).unwrap_err()), 0);
    assert_eq!(allocations(|| "neither".parse::<Threads>().unwrap_err()), 0);
}

#[test]
fn from_similarities_and_reduce() {
    let matrix = Random(3).rows(70, 90);
    let square = SimilarityMatrix::square(&matrix[..3600], 60).unwrap();
    let whole = SimilarityMatrix::new(&matrix, 70, 90, Positives::Offset(20)).unwrap();
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new();
    let first = allocations(|| plan.forward_from_similarities(whole, &mut workspace).unwrap().loss());
    assert!(first > 0, "the first call has to grow the workspace");
    for matrix in [whole, square] {
        assert_eq!(allocations(|| plan.forward_from_similarities(matrix, &mut workspace).unwrap().loss()), 0);
        let forward = plan.forward_from_similarities(matrix, &mut workspace).unwrap();
        assert_eq!(allocations(|| plan.reduce(forward.row_stats()).unwrap()), 0);
    }
}

#[test]
fn kernels() {
    let OwnedBatch { anchors: x, candidates: y, .. } = Data::Random.batch(4, 7, 150, 37);
    let mut output = vec![0.0; 7 * 150];
    for backend in Backend::available() {
        assert_eq!(allocations(|| backend.dot(&x[..37], &y[..37]).unwrap()), 0, "{backend}");
        assert_eq!(allocations(|| backend.norm(&x[..37]).unwrap()), 0, "{backend}");
        assert_eq!(allocations(|| backend.cosine_similarity(&x[..37], &y[..37]).unwrap()), 0, "{backend}");
        assert_eq!(allocations(|| backend.normalize_into(&x[..37], &mut output[..37]).unwrap()), 0, "{backend}");
        assert_eq!(allocations(|| backend.similarity_matrix_into(&x, &y, 37, &mut output).unwrap()), 0, "{backend}");
    }
}
