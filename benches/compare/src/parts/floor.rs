//! Where the time of small batches goes, as far as the public functions show it: parts of a call are measured by
//! themselves, in turns with the whole.

use std::hint::black_box;

use hardneg::{RowStats, Screen, TripletLoss, Workspace};

use super::Part;
use crate::common::{Call, OwnedBatch, Rotation};
use crate::contest::{Contest, OURS};
use crate::inputs::Input;
use crate::results::{Measurement, Role};
use crate::setting::Setting;
use crate::shapes::Case;
use crate::units::Unit;

pub(super) const PART: Part = Part {
    name: "floor",
    title: "Where the time of small batches goes",
    notes: "The whole call, and as shares of its time: `Backend::norm` of every row, `Backend::dot` of every anchor and \
        its positive, `TripletLoss::reduce` of the rows, a call of two rows, which is mostly overhead, and the call \
        without a screen. Each is measured by itself, on rows that rotate.",
    seconds: 1.0,
    cases: |setting| if setting.data.is_some() { Ok(Vec::new()) } else { setting.cases("floor", &[]) },
    measure,
};

fn measure(setting: &Setting, case: &Case) -> Result<Vec<Measurement>, String> {
    let (backend, dim, plan, input) = (setting.backend, case.dim, setting.plan(), Input::of(setting, case)?);
    let sets = &input.sets;
    let smallest: Vec<OwnedBatch> = (0..16).map(|seed| OwnedBatch::trained(seed, 2, dim)).collect();
    let stats: Vec<Vec<RowStats>> = sets.iter().map(|pairs| row_stats(plan, pairs)).collect();
    let (mut norms, mut dots, mut rows) = (Rotation::new(sets), Rotation::new(sets), Rotation::new(&stats));
    let mut contest = Contest::new(PART.name, case);
    contest.add(OURS, Role::Ours, 1, forward(plan, sets));
    let norms_of_both: Call<'_> = Box::new(move || {
        let pairs = norms.turn();
        let rows = pairs.anchors.chunks_exact(dim).chain(pairs.candidates.chunks_exact(dim));
        rows.for_each(|row| _ = black_box(backend.norm(row)));
    });
    let dots_of_pairs: Call<'_> = Box::new(move || {
        let pairs = dots.turn();
        let rows = pairs.anchors.chunks_exact(dim).zip(pairs.candidates.chunks_exact(dim));
        rows.for_each(|(anchor, positive)| _ = black_box(backend.dot(anchor, positive)));
    });
    let hinges: Call<'_> = Box::new(move || _ = black_box(plan.reduce(rows.turn())));
    let calls = [
        ("norms of both sides", norms_of_both),
        ("dots of the pairs", dots_of_pairs),
        ("hinges and sums", hinges),
        ("a call of 2 rows", forward(plan, &smallest)),
        ("without a screen", forward(plan.screen(Screen::Off), sets)),
    ];
    for (name, call) in calls {
        contest.add(name, Role::Ours, 1, call);
    }
    contest.add_ceiling(Unit::F32, 1);
    Ok(contest.in_turns(setting.effort(PART.seconds)))
}

/// The rows of a batch, which are seen to be right.
fn row_stats(plan: TripletLoss, pairs: &OwnedBatch) -> Vec<RowStats> {
    let mut workspace = Workspace::new();
    let forward = plan.forward(pairs.batch(), &mut workspace).expect("finite rows");
    pairs.check(forward.row_stats(), "the default screen");
    forward.row_stats().to_vec()
}

fn forward(plan: TripletLoss, sets: &[OwnedBatch]) -> Call<'_> {
    let (mut sets, mut workspace) = (Rotation::new(sets), Workspace::new());
    Box::new(move || _ = black_box(plan.forward(sets.turn().batch(), &mut workspace).expect("finite rows").loss()))
}
