//! Shapes, pairings and options: everything a result depends on but the elements.

use hardneg::{Error, Negatives, Reduction, SimilarityMatrix, TripletLoss};

use crate::bytes::Bytes;
use crate::common::{ALL_KINDS, ALL_NEGATIVES, ALL_REDUCTIONS, Excluding, OwnedBatch, Pairing, Random};
use crate::rows::{Bits, Pool, raw};

/// Numbers of rows around registers, tiles, panels and blocks.
const EDGES: [usize; 18] = [7, 8, 9, 15, 16, 17, 23, 24, 25, 47, 48, 49, 95, 96, 97, 191, 192, 193];

/// The multiply-adds of an input at most. The oracle takes its time, so this decides how many inputs it can judge.
const WORK: usize = 6_000;

/// Shapes that are divided over threads.
const LARGE: [Shape; 5] = [
    Shape { rows: 49, candidates: 49, dim: 1121 },
    Shape { rows: 33, candidates: 193, dim: 420 },
    Shape { rows: 129, candidates: 40, dim: 513 },
    Shape { rows: 17, candidates: 385, dim: 401 },
    // So few anchors that the candidates are divided.
    Shape { rows: 3, candidates: 1153, dim: 800 },
];

/// The shape of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Anchors.
    pub rows: usize,
    /// Candidates.
    pub candidates: usize,
    /// The length of an embedding.
    pub dim: usize,
}

impl Shape {
    /// Any shape of little work, the edges of tiles and blocks among them; rarely one of much work.
    pub fn new(bytes: &mut Bytes<'_>) -> Shape {
        let large = bytes.choose(&LARGE);
        if bytes.rarely(2048) { large } else { Shape::small(bytes) }
    }

    /// Any shape of little work.
    pub fn small(bytes: &mut Bytes<'_>) -> Shape {
        let rows = if bytes.below(4) == 0 { bytes.choose(&EDGES) } else { 1 + bytes.below(24) };
        let candidates = if bytes.below(3) == 0 { bytes.choose(&EDGES) } else { 2 + bytes.below(69) };
        let dim = 1 + bytes.below(70);
        // A pair costs the oracle about as much as some elements more.
        let rows = rows.min(1 + WORK / (candidates * (dim + 10)));
        Shape { rows, candidates, dim }
    }
}

/// Any pairing that a batch of this shape may have.
fn pairing(bytes: &mut Bytes<'_>, rows: usize, candidates: usize) -> Pairing {
    match bytes.below(3) {
        0 if rows <= candidates => Pairing::Identity,
        1 if rows <= candidates => Pairing::Offset(bytes.below(256) % (candidates - rows + 1)),
        _ => Pairing::Indices((0..rows).map(|_| bytes.word() as usize % candidates).collect()),
    }
}

/// The options that a result depends on.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The margin, which is finite.
    pub margin: f32,
    /// The rule.
    pub negatives: Negatives,
    /// The reduction.
    pub reduction: Reduction,
}

impl Options {
    /// Any options.
    pub fn new(bytes: &mut Bytes<'_>) -> Options {
        let margins = [0.25, 0.0, -0.0, 1.0, 2.0, -0.5, 1e-30, 1e-45, f32::MAX, f32::MIN];
        let margin = if bytes.below(2) == 0 { bytes.choose(&margins) } else { bytes.unit() };
        Options { margin, negatives: bytes.choose(&ALL_NEGATIVES), reduction: bytes.choose(&ALL_REDUCTIONS) }
    }

    /// The loss with these options, on the default backend and threads.
    pub fn plan(self) -> TripletLoss {
        TripletLoss::new().margin(self.margin).negatives(self.negatives).reduction(self.reduction)
    }
}

/// A batch with options.
#[derive(Clone, Debug)]
pub struct Input {
    /// The batch.
    pub batch: OwnedBatch,
    /// Everything else.
    pub options: Options,
}

impl Input {
    /// Rows of one family, which resemble each other on both sides.
    pub fn family(bytes: &mut Bytes<'_>, Shape { rows, candidates, dim }: Shape) -> Input {
        let options = Options::new(bytes);
        let pairing = pairing(bytes, rows, candidates);
        let mut pool = Pool::new(bytes, dim);
        // In turns, so that anchors have relatives among the candidates and the other way round.
        let first = pool.rows(bytes, candidates.min(4));
        let anchors = pool.rows(bytes, rows);
        let rest = pool.rows(bytes, candidates - candidates.min(4));
        Input { batch: OwnedBatch::new(anchors, [first, rest].concat(), dim, pairing), options }
    }

    /// Rows of arbitrary bits.
    pub fn raw(bytes: &mut Bytes<'_>, Shape { rows, candidates, dim }: Shape) -> Input {
        let options = Options::new(bytes);
        let pairing = pairing(bytes, rows, candidates);
        // Both sides of any bits are almost never finite.
        let (left, right) =
            bytes.choose(&[(Bits::Finite, Bits::Finite), (Bits::Any, Bits::Finite), (Bits::Finite, Bits::Any)]);
        let anchors = raw(bytes, left, rows * dim);
        let candidates = raw(bytes, right, candidates * dim);
        Input { batch: OwnedBatch::new(anchors, candidates, dim, pairing), options }
    }

    /// The same with positives that are no candidates, and with exclusions, both of them sometimes. They are decided
    /// last, so that a seed keeps its rows.
    #[must_use]
    pub fn with_exclusions(self, bytes: &mut Bytes<'_>) -> Input {
        let Input { mut batch, options } = self;
        let (rows, candidates) = (batch.rows(), batch.candidates.len() / batch.dim);
        if bytes.below(4) == 1 {
            let outside = (0..rows).map(|row| match bytes.below(4) {
                0 => batch.candidates[row % candidates * batch.dim..][..batch.dim].to_vec(),
                1 => raw(bytes, Bits::Finite, batch.dim),
                _ => (0..batch.dim).map(|_| bytes.unit()).collect(),
            });
            batch.pairing = Pairing::Outside(outside.collect::<Vec<_>>().concat());
        }
        let excluding = match bytes.below(6) {
            1 => {
                let different = 1 + bytes.below(candidates.min(256));
                let mut labels = |rows: usize| (0..rows).map(|_| bytes.below(different) as u64).collect();
                Excluding::Labels { anchors: labels(rows), candidates: labels(candidates) }
            }
            2 => {
                let longest = 1 + bytes.below(8);
                let mut list = || (0..bytes.below(longest)).map(|_| bytes.below(256) % candidates).collect();
                Excluding::lists(&(0..rows).map(|_| list()).collect::<Vec<Vec<usize>>>())
            }
            3 => {
                let kind = bytes.choose(&ALL_KINDS);
                kind.of(&mut Random(bytes.word().into()), rows, candidates, &batch.pairing)
            }
            _ => Excluding::Nothing,
        };
        Input { batch: batch.excluding(excluding), options }
    }
}

/// A matrix of similarities that owns its elements, with options.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The elements.
    pub data: Vec<f32>,
    /// Anchors.
    pub rows: usize,
    /// Candidates.
    pub columns: usize,
    /// The positives.
    pub pairing: Pairing,
    /// Everything else.
    pub options: Options,
}

impl Matrix {
    /// A matrix full of ties, or of arbitrary bits.
    pub fn new(bytes: &mut Bytes<'_>) -> Matrix {
        let options = Options::new(bytes);
        let (rows, columns) = (1 + bytes.below(40), 2 + bytes.below(70));
        let pairing = pairing(bytes, rows, columns);
        let data = match bytes.below(4) {
            0 => raw(bytes, Bits::Any, rows * columns),
            1 => raw(bytes, Bits::Finite, rows * columns),
            2 => (0..rows * columns).map(|_| bytes.unit()).collect(),
            _ => {
                let values = raw(bytes, Bits::Finite, 3);
                (0..rows * columns).map(|_| bytes.choose(&values)).collect()
            }
        };
        Matrix { data, rows, columns, pairing, options }
    }

    /// As an argument.
    ///
    /// # Errors
    /// As [`SimilarityMatrix::new`]; none as long as nothing was changed.
    pub fn similarities(&self) -> Result<SimilarityMatrix<'_>, Error> {
        SimilarityMatrix::new(&self.data, self.rows, self.columns, self.pairing.positives())
    }
}
