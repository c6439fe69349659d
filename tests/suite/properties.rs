//! Any shape, data, options and pairing: the fast path is the reference, bit for bit.

use hardneg::{Backend, Loss, Negatives, Reduction, RowStats, SimilarityMatrix, TripletLoss, Workspace, reference};
use proptest::prelude::*;

use crate::common::{
    ALL_DATA, ALL_NEGATIVES, ALL_REDUCTIONS, Data, OwnedBatch, Pairing, Random, assert_forward, assert_loss,
    assert_rows, bits, ways,
};

/// Everything that a result depends on.
#[derive(Clone, Debug)]
struct Input {
    batch: OwnedBatch,
    margin: f32,
    negatives: Negatives,
    reduction: Reduction,
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
        pairing(rows, n).prop_map(move |pairing| {
            let ((margin, negatives), reduction) = options;
            let mut batch = data.batch(seed, rows, n, dim).with(pairing);
            if seed % 4 == 0 {
                // Sides that do not resemble each other.
                batch.candidates = other.rows(&mut Random(seed ^ 1), n, dim);
            }
            Input { batch, margin, negatives, reduction }
        })
    })
}

impl Input {
    fn plan(&self) -> TripletLoss {
        TripletLoss::new().margin(self.margin).negatives(self.negatives).reduction(self.reduction)
    }

    fn matrix(&self) -> Vec<f32> {
        reference::similarity_matrix(&self.batch.anchors, &self.batch.candidates, self.batch.dim)
    }

    fn reference(&self) -> (Loss, Vec<RowStats>) {
        reference::forward(self.batch.batch(), self.margin, self.negatives, self.reduction).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forward_is_the_reference(input in input()) {
        let expected = input.reference();
        let mut workspace = Workspace::new();
        for (way, plan) in ways(input.plan()) {
            assert_forward(&expected, &plan.forward(input.batch.batch(), &mut workspace).unwrap(), &way);
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
        let (rows, columns) = (input.batch.rows(), input.batch.batch().candidates());
        let matrix = input.matrix();
        let mut workspace = Workspace::new();
        let given = SimilarityMatrix::new(&matrix, rows, columns, input.batch.pairing.positives()).unwrap();
        let expected = reference::row_stats_from_similarities(given, input.negatives);
        let actual = input.plan().forward_from_similarities(given, &mut workspace).unwrap();
        assert_rows(&expected, actual.row_stats(), "from similarities");
        assert_loss(&reference::loss(&expected, input.margin, input.reduction), &actual.loss(), "from similarities");
        // Everything but the mean is what the rows themselves give.
        let (_, mined) = input.reference();
        for (expected, actual) in mined.iter().zip(actual.row_stats()) {
            prop_assert_eq!(expected.positive().to_bits(), actual.positive().to_bits());
            prop_assert_eq!(expected.closest_negative(), actual.closest_negative());
            let [expected, actual] = [expected, actual].map(|row| row.mean_negative().unwrap());
            prop_assert!((expected - actual).abs() < 1e-6);
        }
    }

    #[test]
    fn the_similarity_matrix_is_the_reference(input in input()) {
        let expected = input.matrix();
        let OwnedBatch { anchors, candidates, dim, .. } = &input.batch;
        for backend in Backend::available() {
            let mut actual = vec![f32::NAN; expected.len()];
            backend.similarity_matrix_into(anchors, candidates, *dim, &mut actual).unwrap();
            prop_assert_eq!(bits(&expected), bits(&actual), "{}", backend);
        }
    }

    /// What the rules say, whatever the reference says.
    #[test]
    fn the_closest_negative_obeys_its_rule(input in input()) {
        let mut workspace = Workspace::new();
        let forward = input.plan().forward(input.batch.batch(), &mut workspace).unwrap();
        let (loss, rows) = (forward.loss(), forward.row_stats());
        let (matrix, columns) = (input.matrix(), input.batch.batch().candidates());
        for ((stats, similarities), positive) in rows.iter().zip(matrix.chunks(columns)).zip(input.batch.positives()) {
            let qualifies = |&(index, similarity): &(usize, f32)| index != positive && match input.negatives {
                Negatives::Below => similarity < stats.positive(),
                Negatives::AtOrBelow => similarity <= stats.positive(),
                _ => true,
            };
            let mut qualified = similarities.iter().copied().enumerate().filter(qualifies);
            match stats.closest_negative() {
                None => prop_assert!(qualified.next().is_none()),
                Some(closest) => {
                    let (best, at) = (closest.similarity(), closest.index());
                    prop_assert!(qualified.clone().any(|(index, _)| index == at));
                    let is_beaten =
                        |(index, similarity)| similarity < best || similarity == best && index >= at;
                    prop_assert!(qualified.all(is_beaten));
                }
            }
        }
        let absent = rows.iter().filter(|row| row.closest_negative().is_none()).count();
        prop_assert_eq!(rows.len(), loss.rows);
        prop_assert_eq!(absent, loss.without_closest_negative);
        prop_assert_eq!(loss.loss.to_bits(), (loss.mean_term + loss.closest_term).to_bits());
    }
}
