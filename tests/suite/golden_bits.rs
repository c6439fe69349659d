//! Against hashes of results that were computed elsewhere: `tests/data/bits.txt`. A machine that has them has the bits
//! of the one that wrote them, without meeting it.

use std::fs;
use std::path::Path;

use hardneg::{
    Backend, Gradients, KnownPositives, Loss, Miner, MiningBatch, Negatives, Neighbour, Positives, Reduction, RowStats,
    TripletLoss, Workspace, reference,
};

use crate::common::{ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, bits, row_bits};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bits.txt");

const MARGIN: f32 = 0.5;

/// A batch with the options that change its results.
struct Case {
    name: String,
    batch: OwnedBatch,
    negatives: Negatives,
    reduction: Reduction,
}

/// Every kind of data in every shape, and every rule with every kind of data.
fn cases() -> impl Iterator<Item = Case> {
    let shapes = [(2, 3, 1), (5, 9, 17), (33, 40, 64), (130, 200, 100)];
    let case = |data: Data, turn: usize, (rows, candidates, dim): (usize, usize, usize)| {
        let negatives = ALL_NEGATIVES[turn % 3];
        let reduction = if turn.is_multiple_of(2) { Reduction::Sum } else { Reduction::Mean };
        let name = format!("{data:?} {rows}x{candidates}x{dim} {negatives} {reduction}");
        Case { name, batch: data.batch(turn as u64, rows, candidates, dim), negatives, reduction }
    };
    ALL_DATA.into_iter().enumerate().flat_map(move |(kind, data)| {
        let shapes = shapes.into_iter().enumerate();
        shapes.map(move |(shape, size)| case(data, kind + shape, size))
    })
}

impl Case {
    /// The options of mining with the same rule.
    fn miner(&self) -> Miner {
        Miner::new().k(5).negatives(self.negatives).absolute_margin(0.01)
    }

    /// The anchors as queries.
    fn queries(&self) -> MiningBatch<'_> {
        let OwnedBatch { anchors, candidates, dim, .. } = &self.batch;
        let batch = MiningBatch::new(anchors, candidates, *dim).expect("whole rows");
        batch.known_positives(KnownPositives::One(Positives::Identity)).expect("a positive for each query")
    }
}

/// The hash of some numbers: FNV-1a, 64 bits, over their bytes in little-endian order.
struct Hash(u64);

impl Hash {
    fn of(words: impl IntoIterator<Item = u64>) -> String {
        let mut hash = Hash(0xCBF2_9CE4_8422_2325);
        words.into_iter().for_each(|word| hash.add(word));
        format!("{:016x}", hash.0)
    }

    fn add(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// The words of a loss.
fn loss_words(loss: &Loss) -> [u64; 9] {
    let count = |count: usize| count as u64;
    let optional = |count: Option<usize>| count.map_or(u64::MAX, |count| count as u64);
    [
        loss.loss.to_bits(),
        loss.mean_term.to_bits(),
        loss.closest_term.to_bits(),
        count(loss.rows),
        count(loss.active_mean),
        count(loss.active_closest),
        count(loss.without_closest_negative),
        optional(loss.zero_anchors),
        optional(loss.zero_candidates),
    ]
}

/// The words of a row's statistics.
fn row_words(row: &RowStats) -> [u64; 4] {
    let (positive, mean, closest) = row_bits(row);
    let (index, similarity) = closest.map_or((u64::MAX, u64::MAX), |(index, bits)| (index as u64, bits.into()));
    [positive.into(), mean.expect("nothing is excluded").into(), index, similarity]
}

/// The words of a list of neighbours.
fn list_words(list: &[Neighbour]) -> impl Iterator<Item = u64> {
    let words = |neighbour: &Neighbour| [neighbour.index as u64, neighbour.similarity.to_bits().into()];
    [list.len() as u64].into_iter().chain(list.iter().flat_map(words))
}

/// The line of a case that is mined: its name, and the hash of the lists.
fn mined_line<'a>(name: &str, lists: impl IntoIterator<Item = &'a [Neighbour]>) -> String {
    format!("mine {name} {}\n", Hash::of(lists.into_iter().flat_map(list_words)))
}

/// The line of the loss of a case: its name, and the hashes of its loss, of its rows, and of both gradients.
fn loss_line(name: &str, loss: &Loss, rows: &[RowStats], gradients: [&[f32]; 2]) -> String {
    let [anchors, candidates] = gradients.map(|gradient| Hash::of(bits(gradient).into_iter().map(u64::from)));
    let (loss, rows) = (Hash::of(loss_words(loss)), Hash::of(rows.iter().flat_map(row_words)));
    format!("loss {name} {loss} {rows} {anchors} {candidates}\n")
}

#[test]
fn bits_that_another_machine_has_computed() {
    let expected = fs::read_to_string(PATH).expect("the file of hashes");
    let mut workspace = Workspace::new();
    for backend in Backend::available() {
        let mut lines = expected.lines().filter(|line| !line.starts_with('#'));
        for case in cases() {
            let Case { name, batch, negatives, reduction } = &case;
            let (mut by_anchors, mut by_candidates) = (batch.anchors.clone(), batch.candidates.clone());
            let gradients = Gradients::new(&mut by_anchors, &mut by_candidates);
            let plan = TripletLoss::new().margin(MARGIN).negatives(*negatives).reduction(*reduction).backend(backend);
            let forward = plan.forward_backward(batch.batch(), gradients, &mut workspace).expect("finite rows");
            let (loss, rows) = (forward.loss(), forward.row_stats().to_vec());
            let actual = loss_line(name, &loss, &rows, [&by_anchors, &by_candidates]);
            assert_eq!(lines.next(), Some(actual.trim_end()), "{backend}");
            let mined = case.miner().backend(backend).mine(case.queries(), &mut workspace).expect("finite rows");
            assert_eq!(lines.next(), Some(mined_line(name, mined.rows()).trim_end()), "{backend}");
        }
        assert_eq!(lines.next(), None, "a line without a case");
    }
}

/// Writes the file, by the definition: `cargo test --test suite write_golden_bits -- --ignored`. Results are not to
/// change, so that this is for new cases alone.
#[test]
#[ignore = "writes tests/data/bits.txt"]
fn write_golden_bits() {
    let mut text = String::from(
        "# Hashes (FNV-1a) of the loss, the rows, and the gradients by the anchors and the candidates of batches that\n\
         # tests/suite/golden_bits.rs makes, and of the lists that are mined of them.\n\
         # Written on x86-64 by the reference.\n",
    );
    for case in cases() {
        let Case { name, batch, negatives, reduction } = &case;
        let (loss, rows) = reference::forward(batch.batch(), MARGIN, *negatives, *reduction).expect("finite rows");
        let weight = if *reduction == Reduction::Mean { 1.0 / rows.len() as f64 } else { 1.0 };
        let weights = vec![weight; rows.len()];
        let [by_anchors, by_candidates, _] = reference::gradients(batch.batch(), &rows, MARGIN, &weights);
        text += &loss_line(name, &loss, &rows, [&by_anchors, &by_candidates]);
        let lists = reference::mine(&case.miner(), case.queries()).expect("finite rows");
        text += &mined_line(name, lists.iter().map(Vec::as_slice));
    }
    fs::write(Path::new(PATH), text).expect("the file is written");
}
