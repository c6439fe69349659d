//! The rows of a bank, and the anchors that are asked against it.

use hardneg::{Backend, Bank, Batch, Negatives, Positives, RowStats, Screen, TripletLoss, Workspace, reference};

use crate::common::{OwnedBatch, random_rows};
use crate::inputs::Input;

/// The most anchors of each kind, which calls of fewer anchors take in turn.
pub(super) const ANCHORS: usize = 128;
/// The elements of a row of the sample.
const SAMPLE_DIM: usize = 384;
/// The anchors whose answers are checked.
const CHECKED: usize = 8;
/// The multiply-adds of an anchor that is compared with the reference.
const SMALL: usize = 1 << 21;

/// Where the rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Random,
    Real,
}

impl Source {
    pub(super) const ALL: [Source; 2] = [Source::Random, Source::Real];

    pub(super) fn name(self) -> &'static str {
        match self {
            Source::Random => "random",
            Source::Real => "real",
        }
    }
}

/// Rows of a bank with anchors.
pub(super) struct Rows {
    pub candidates: Vec<f32>,
    pub dim: usize,
    /// Above the bulk of the similarities, and inside it.
    pub questions: [Questions; 2],
}

impl Rows {
    pub(super) fn new(source: Source, candidates: usize, dim: usize) -> Result<Rows, String> {
        match source {
            Source::Random => Ok(Rows::random(candidates, dim)),
            Source::Real => Rows::real(candidates, dim),
        }
    }

    fn random(candidates: usize, dim: usize) -> Rows {
        let anchors = anchors_of(candidates);
        let above = OwnedBatch::trained_among(0, anchors, candidates, dim);
        Rows::with(above.anchors, random_rows(2, anchors, dim), above.candidates, dim)
    }

    /// Mixtures of the sample's pairs. Of the sample's elements, rows shorter than its own have the first; longer rows
    /// are several of its rows joined, and the last of them cut.
    fn real(candidates: usize, dim: usize) -> Result<Rows, String> {
        let (joined, count) = (dim.div_ceil(SAMPLE_DIM), anchors_of(candidates));
        let mixtures = Input::mixtures((candidates + count) * joined)?;
        let OwnedBatch { anchors, candidates: positives, .. } = &mixtures.sets[0];
        let rows = |side: &[f32], first: usize, count: usize| {
            let rows = side.chunks_exact(joined * SAMPLE_DIM).skip(first).take(count);
            rows.flat_map(|row| &row[..dim]).copied().collect::<Vec<f32>>()
        };
        // The positives of the last anchors are not in the bank.
        let [above, inside] = [0, candidates].map(|first| rows(anchors, first, count));
        Ok(Rows::with(above, inside, rows(positives, 0, candidates), dim))
    }

    fn with(above: Vec<f32>, inside: Vec<f32>, candidates: Vec<f32>, dim: usize) -> Rows {
        // Any rows will do as positives that have nothing to do with their anchors.
        let first = candidates.len() / dim / 2;
        let above = Questions { positives: "above the bulk", anchors: above, first_positive: 0, dim };
        let inside = Questions { positives: "inside the bulk", anchors: inside, first_positive: first, dim };
        Rows { candidates, dim, questions: [above, inside] }
    }
}

/// How many anchors of each kind there are for a bank of so many rows.
fn anchors_of(candidates: usize) -> usize {
    ANCHORS.min(candidates / 2)
}

/// Anchors; the positive of anchor `i` is row `first_positive + i` of the bank.
pub(super) struct Questions {
    /// Where the positives are, in words.
    pub positives: &'static str,
    anchors: Vec<f32>,
    first_positive: usize,
    dim: usize,
}

impl Questions {
    /// A batch of some of the anchors against a bank.
    pub(super) fn against<'a>(&'a self, bank: &'a Bank<'_>, Group { first, count }: Group) -> Batch<'a> {
        let positives = Positives::Offset(self.first_positive + first);
        Batch::against(self.anchors(Group { first, count }), bank, positives).expect("a batch")
    }

    /// The same with the candidates as rows that nothing was prepared of.
    pub(super) fn raw<'a>(&'a self, candidates: &'a [f32], Group { first, count }: Group) -> Batch<'a> {
        let positives = Positives::Offset(self.first_positive + first);
        Batch::new(self.anchors(Group { first, count }), candidates, self.dim, positives).expect("a batch")
    }

    /// All runs of so many anchors.
    pub(super) fn groups(&self, count: usize) -> Vec<Group> {
        let all = self.anchors.len() / self.dim;
        (0..all / count).map(|index| Group { first: index * count, count }).collect()
    }

    fn anchors(&self, Group { first, count }: Group) -> &[f32] {
        &self.anchors[first * self.dim..][..count * self.dim]
    }

    /// The right answers for the first anchors: those of the exact path, which in a small bank were seen to be the
    /// reference's.
    pub(super) fn expected(&self, candidates: &[f32], negatives: Negatives) -> Vec<RowStats> {
        let batch = self.raw(candidates, Group { first: 0, count: CHECKED });
        let plan = TripletLoss::new().screen(Screen::Off).negatives(negatives);
        let stats = plan.forward(batch, &mut Workspace::new()).expect("finite rows").row_stats().to_vec();
        if candidates.len() <= SMALL {
            let one = self.raw(candidates, Group { first: 0, count: 1 });
            assert_eq!(reference::row_stats(one, negatives).expect("finite rows"), stats[..1], "the exact path");
        }
        stats
    }
}

/// A run of anchors.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub first: usize,
    pub count: usize,
}

/// Asserts that a bank gives the right bits for the first anchors of a call.
pub(super) fn check(questions: &Questions, bank: &Bank<'_>, count: usize, plan: TripletLoss, expected: &[RowStats]) {
    let mut workspace = Workspace::new();
    let batch = questions.against(bank, Group { first: 0, count });
    let forward = plan.forward(batch, &mut workspace).expect("finite rows");
    let checked = count.min(expected.len());
    let what = format!("{count} anchors, {}, {}", questions.positives, Backend::detect());
    assert_eq!(forward.row_stats()[..checked], expected[..checked], "{what}: not the bits of the exact path");
}
