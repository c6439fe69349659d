//! What is right: the rows that everybody should find, and how far somebody is from them.

use hardneg::{Screen, Threads, TripletLoss, Workspace};

use crate::common::OwnedBatch;
use crate::inputs::Input;
use crate::rivals::{Entrant, Rival};
use crate::row::Row;

/// How far the loss of a contender may be from that of its own rows, as a share of it: they are rounded differently.
const ROUNDING: f64 = 1e-5;

/// The rows of a batch as they are by definition: those of the exact path without a screen, after it was seen to have
/// the reference's bits in as many rows as there is time for.
pub(crate) fn expected(pairs: &OwnedBatch) -> Vec<Row> {
    let mut workspace = Workspace::new();
    let plan = TripletLoss::new().screen(Screen::Off).threads(Threads::Rayon);
    let forward = plan.forward(pairs.batch(), &mut workspace).expect("finite rows");
    pairs.check(forward.row_stats(), "the exact path");
    forward.row_stats().iter().map(Row::from).collect()
}

/// How wrong somebody is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mistakes {
    /// The largest error of a similarity in any row.
    pub largest: f64,
    /// Rows with another closest negative than the right one, or with one where there is none.
    pub wrong: usize,
}

impl Mistakes {
    /// Those of another batch as well.
    pub(crate) fn and(self, other: Mistakes) -> Mistakes {
        Mistakes { largest: self.largest.max(other.largest), wrong: self.wrong + other.wrong }
    }
}

/// The mistakes of a contender in all sets of an input. Asserts that this crate makes none, and that everybody's loss,
/// which is what is timed, is that of the same rows.
pub(crate) fn check(entrant: &Entrant, rival: &mut dyn Rival, input: &Input, expected: &[Vec<Row>]) -> Mistakes {
    let mut rows = vec![Row::default(); input.sets[0].rows()];
    let mut all = Mistakes::default();
    for (pairs, expected) in input.sets.iter().zip(expected) {
        rival.run_into(pairs, &mut rows);
        all = all.and(mistakes(expected, &rows));
        assert_loss(&entrant.name, rival.run(pairs), &rows, ROUNDING);
    }
    assert!(!entrant.ours || all == Mistakes::default(), "{}: {all:?}", entrant.name);
    all
}

/// Asserts that a loss is that of the rows, but for a share of it.
pub(crate) fn assert_loss(name: &str, loss: f64, rows: &[Row], tolerance: f64) {
    let expected: f64 = rows.iter().map(Row::loss).sum();
    assert!((loss - expected).abs() <= tolerance * expected, "{name}: the loss is {loss}, not {expected}");
}

fn mistakes(expected: &[Row], actual: &[Row]) -> Mistakes {
    assert_eq!(expected.len(), actual.len());
    let rows = expected.iter().zip(actual).map(|(expected, actual)| mistakes_in_row(expected, actual));
    rows.fold(Mistakes::default(), Mistakes::and)
}

fn mistakes_in_row(expected: &Row, actual: &Row) -> Mistakes {
    let error = |expected: f32, actual: f32| (f64::from(expected) - f64::from(actual)).abs();
    let closest = match (expected.closest, actual.closest) {
        (Some((_, expected)), Some((_, actual))) => error(expected, actual),
        _ => 0.0,
    };
    let sure = error(expected.positive, actual.positive).max(error(expected.mean_negative, actual.mean_negative));
    let wrong = expected.closest.map(|(index, _)| index) != actual.closest.map(|(index, _)| index);
    Mistakes { largest: sure.max(closest), wrong: usize::from(wrong) }
}
