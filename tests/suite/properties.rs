//! Any shape, data, options and pairing: the fast path is the reference, bit for bit.

mod common;

use common::{ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Data, Random, all_threads, assert_loss, assert_rows, bits};
use hardneg::{
    Backend, Batch, Loss, Negatives, Positives, Reduction, RowStats, Screen, SimilarityMatrix, TripletLoss, Workspace,
    reference,
};
use proptest::prelude::*;

/// Everything that a result depends on.
#[derive(Clone, Debug)]
struct Input {
    anchors: Vec<f32>,
    candidates: Vec<f32>,
    dim: usize,
    positives: Pairing,
    margin: f32,
    negatives: Negatives,
    reduction: Reduction,
}

/// [`Positives`] that owns its indices.
#[derive(Clone, Debug)]
enum Pairing {
    Identity,
    Offset(usize),
    Indices(Vec<usize>),
}

impl Pairing {
    fn positives(&self) -> Positives<'_> {
        match self {
            Pairing::Identity => Positives::Identity,
            Pairing::Offset(offset) => Positives::Offset(*offset),
            Pairing::Indices(indices) => Positives::Indices(indices),
        }
    }

    /// The positive of each of `rows` anchors.
    fn indices(&self, rows: usize) -> Vec<usize> {
        match self {
            Pairing::Identity => (0..rows).collect(),
            Pairing::Offset(offset) => (*offset..offset + rows).collect(),
            Pairing::Indices(indices) => indices.clone(),
        }
    }
}

fn data() -> impl Strategy<Value = Data> {
    proptest::sample::select(ALL_DATA.to_vec())
}

fn margin() -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.25), Just(0.0), Just(1.0), -2.5..2.5_f32, Just(1e-30)]
}

/// The pairings of `rows` anchors with `candidates` candidates.
fn pairing(rows: usize, candidates: usize) -> BoxedStrategy<Pairing> {
    let indices = proptest::collection::vec(0..candidates, rows).prop_map(Pairing::Indices);
    if rows > candidates {
        return indices.boxed();
    }
    let offset = (0..=candidates - rows).prop_map(Pairing::Offset);
    prop_oneof![Just(Pairing::Identity), offset, indices].boxed()
}

fn input() -> impl Strategy<Value = Input> {
    let shape = (1..=40_usize, 2..=60_usize, 1..=80_usize);
    let options = (margin(), proptest::sample::select(ALL_NEGATIVES.to_vec()));
    let options = (options, proptest::sample::select(ALL_REDUCTIONS.to_vec()));
    (shape, data(), data(), any::<u64>(), options).prop_flat_map(|((rows, n, dim), data, other, seed, options)| {
        pairing(rows, n).prop_map(move |positives| {
            let ((margin, negatives), reduction) = options;
            let (anchors, mut candidates) = data.batch(seed, rows, n, dim);
            if seed % 4 == 0 {
                // Sides that do not resemble each other.
                candidates = other.rows(&mut Random(seed ^ 1), n, dim);
            }
            Input { anchors, candidates, dim, positives, margin, negatives, reduction }
        })
    })
}

impl Input {
    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.anchors, &self.candidates, self.dim, self.positives.positives()).unwrap()
    }

    fn plan(&self) -> TripletLoss {
        TripletLoss::new().margin(self.margin).negatives(self.negatives).reduction(self.reduction)
    }

    fn reference(&self) -> (Loss, Vec<RowStats>) {
        reference::forward(self.batch(), self.margin, self.negatives, self.reduction).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forward_is_the_reference(input in input()) {
        let (loss, rows) = input.reference();
        let mut workspace = Workspace::new();
        for backend in Backend::available() {
            for (threads, screen) in all_threads().into_iter().flat_map(|way| Screen::all().map(move |screen| (way, screen))) {
                let plan = input.plan().backend(backend).threads(threads).screen(screen);
                let actual = plan.forward(input.batch(), &mut workspace).unwrap();
                let what = format!("{backend}, {threads:?}, {screen:?}");
                assert_rows(&rows, workspace.row_stats(), &what);
                assert_loss(&loss, &actual, &what);
            }
        }
    }

    #[test]
    fn reduce_is_the_reference(input in input(), margin in margin()) {
        let (_, rows) = input.reference();
        for reduction in ALL_REDUCTIONS {
            let expected = reference::loss(&rows, margin, reduction);
            let actual = input.plan().margin(margin).reduction(reduction).reduce(&rows).unwrap();
            assert_loss(&expected, &actual, "reduce");
        }
    }

    /// The mean negative of a matrix is summed in another order, so that it has a definition of its own.
    #[test]
    fn from_similarities_is_the_reference(input in input()) {
        let (rows, columns) = (input.batch().rows(), input.batch().candidates());
        let matrix = reference::similarity_matrix(&input.anchors, &input.candidates, input.dim);
        let positives = input.positives.indices(rows);
        let expected = reference::row_stats_from_similarities(&matrix, &positives, input.negatives);
        let mut workspace = Workspace::new();
        let given = SimilarityMatrix::new(&matrix, rows, columns, input.positives.positives()).unwrap();
        let loss = input.plan().forward_from_similarities(given, &mut workspace).unwrap();
        assert_rows(&expected, workspace.row_stats(), "from similarities");
        assert_loss(&reference::loss(&expected, input.margin, input.reduction), &loss, "from similarities");
        // Everything but the mean is what the rows themselves give.
        let (_, mined) = input.reference();
        for (expected, actual) in mined.iter().zip(workspace.row_stats()) {
            prop_assert_eq!(expected.positive.to_bits(), actual.positive.to_bits());
            prop_assert_eq!(expected.closest_negative, actual.closest_negative);
            prop_assert!((expected.mean_negative - actual.mean_negative).abs() < 1e-6);
        }
    }

    #[test]
    fn the_similarity_matrix_is_the_reference(input in input()) {
        let expected = reference::similarity_matrix(&input.anchors, &input.candidates, input.dim);
        for backend in Backend::available() {
            let mut actual = vec![f32::NAN; expected.len()];
            backend.similarity_matrix_into(&input.anchors, &input.candidates, input.dim, &mut actual).unwrap();
            prop_assert_eq!(bits(&expected), bits(&actual), "{}", backend);
        }
    }

    /// What the rules say, whatever the reference says.
    #[test]
    fn the_closest_negative_obeys_its_rule(input in input()) {
        let mut workspace = Workspace::new();
        let loss = input.plan().forward(input.batch(), &mut workspace).unwrap();
        let matrix = reference::similarity_matrix(&input.anchors, &input.candidates, input.dim);
        let columns = input.batch().candidates();
        let positives = input.positives.indices(input.batch().rows());
        for ((stats, similarities), positive) in workspace.row_stats().iter().zip(matrix.chunks(columns)).zip(positives) {
            let qualifies = |&(index, similarity): &(usize, f32)| index != positive && match input.negatives {
                Negatives::Below => similarity < stats.positive,
                Negatives::AtOrBelow => similarity <= stats.positive,
                _ => true,
            };
            let mut qualified = similarities.iter().copied().enumerate().filter(qualifies);
            match stats.closest_negative {
                None => prop_assert!(qualified.next().is_none()),
                Some(closest) => {
                    prop_assert!(qualified.clone().any(|(index, _)| index == closest.index));
                    let is_beaten = |(index, similarity)| {
                        similarity < closest.similarity || similarity == closest.similarity && index >= closest.index
                    };
                    prop_assert!(qualified.all(is_beaten));
                }
            }
        }
        let absent = workspace.row_stats().iter().filter(|row| row.closest_negative.is_none()).count();
        prop_assert_eq!(absent, loss.without_closest_negative);
        prop_assert_eq!(loss.loss.to_bits(), (loss.mean_term + loss.closest_term).to_bits());
    }
}
