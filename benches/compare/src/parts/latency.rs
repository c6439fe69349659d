//! How long single calls take: few anchors among many candidates, and small batches, on one thread.

use super::Part;
use super::training::{Training, WITH_GRADIENTS};
use crate::common::Rotation;
use crate::contest::Contest;
use crate::inputs::Input;
use crate::oracle::{assert_loss, check, expected};
use crate::results::{Measurement, Role};
use crate::rivals::{Entrant, Rival, single_calls};
use crate::row::Row;
use crate::setting::Setting;
use crate::shapes::Case;

pub(super) const PART: Part = Part {
    name: "latency",
    title: "Single calls",
    notes: "Whole calls on one thread, from rows that are not normalised to the loss, each timed by itself; inputs \
        rotate. *gemm* normalises both sides, multiplies them by one call of the crate `gemm` into a whole matrix, and \
        reads that once. *Dot products* has a vectorised dot product for each pair. Both allocate nothing.",
    seconds: 2.0,
    cases: |setting| setting.cases("latency", &[1, 8, 32]),
    measure,
};

/// How far the loss of a rival may be from the right one, as a share of it.
const TOLERANCE: f64 = 1e-3;

fn measure(setting: &Setting, case: &Case) -> Result<Vec<Measurement>, String> {
    let input = Input::of(setting, case)?;
    let expected: Vec<Vec<Row>> = input.sets.iter().map(expected).collect();
    let entrants = single_calls(setting.plan());
    let mut rivals: Vec<Box<dyn Rival>> =
        entrants.iter().map(|entrant| checked(entrant, case, &input, &expected)).collect();
    let mut contest = Contest::new(PART.name, case);
    for (entrant, rival) in entrants.iter().zip(&mut rivals) {
        contest.add_rival(entrant, rival.as_mut(), &input);
    }
    let mut training = Training::new(setting.plan(), case, &input.sets[0]);
    let mut sets = Rotation::new(&input.sets);
    contest.add(WITH_GRADIENTS, Role::Ours, 1, Box::new(move || training.run(sets.turn())));
    let mut measurements = contest.one_by_one(setting.effort(PART.seconds));
    measurements.extend(setting.peers.borrow_mut().loss(setting, PART.name, case, &input)?);
    Ok(measurements)
}

/// A contender that was seen to be right.
fn checked(entrant: &Entrant, case: &Case, input: &Input, expected: &[Vec<Row>]) -> Box<dyn Rival> {
    let mut rival = (entrant.build)(case);
    check(entrant, rival.as_mut(), input, expected);
    for (pairs, expected) in input.sets.iter().zip(expected) {
        assert_loss(&entrant.name, rival.run(pairs), expected, TOLERANCE);
    }
    rival
}
