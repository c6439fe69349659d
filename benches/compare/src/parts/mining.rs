//! Hard negatives of a corpus.

use std::hint::black_box;

use hardneg::{KnownPositives, Miner, MiningBatch, Neighbour, Positives, Workspace};

use super::Part;
use crate::common::OwnedBatch;
use crate::contest::{Contest, OURS};
use crate::inputs::Input;
use crate::memory;
use crate::results::{Measurement, Role};
use crate::rivals::Top;
use crate::setting::Setting;
use crate::shapes::Case;

pub(super) const PART: Part = Part {
    name: "mining",
    title: "Mining",
    notes: "The 10 hardest negatives that qualify of each query, on one thread, from rows of which nothing was prepared \
        but for *against a bank*. *gemm and lists* multiplies tiles by the crate `gemm` and keeps a list a query. \
        `mine_hard_negatives` is that of sentence-transformers with its defaults; FAISS is asked for the 11 most similar \
        rows, filtered afterwards, so that queries run short. Memory is the peak beyond the rows.",
    seconds: 6.0,
    cases: |setting| setting.cases("mining", &[usize::MAX]),
    measure,
};

/// The negatives of each query.
pub(crate) const K: usize = 10;
/// How far a similarity of a rival may be from the right one.
const NEAR: f32 = 1e-5;

/// What a candidate must not exceed, as a case says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Nothing,
    Absolute(f64),
    Relative(f64),
    AtMost(f64),
}

impl Rule {
    pub(crate) fn of(case: &Case) -> Rule {
        let numbers = ["absolute margin", "relative margin", "at most"].map(|words| case.number(words));
        match numbers {
            [Some(margin), ..] => Rule::Absolute(margin),
            [_, Some(margin), _] => Rule::Relative(margin),
            [.., Some(most)] => Rule::AtMost(most),
            _ => Rule::Nothing,
        }
    }

    /// The name that sentence-transformers gives the threshold, and its value.
    pub(crate) fn keyword(self) -> (&'static str, f64) {
        match self {
            Rule::Nothing => ("", 0.0),
            Rule::Absolute(margin) => ("absolute_margin", margin),
            Rule::Relative(margin) => ("relative_margin", margin),
            Rule::AtMost(most) => ("max_score", most),
        }
    }

    fn miner(self, miner: Miner) -> Miner {
        match self {
            Rule::Nothing => miner,
            Rule::Absolute(margin) => miner.absolute_margin(margin),
            Rule::Relative(margin) => miner.relative_margin(margin),
            Rule::AtMost(most) => miner.max_similarity(most),
        }
    }

    /// The largest similarity that qualifies beside a positive's.
    fn limit(self, positive: f32) -> f32 {
        let positive = f64::from(positive);
        match self {
            Rule::Nothing => f32::INFINITY,
            Rule::Absolute(margin) => (positive - margin) as f32,
            Rule::Relative(margin) => (positive - positive.abs() * margin) as f32,
            Rule::AtMost(most) => most as f32,
        }
    }
}

fn measure(setting: &Setting, case: &Case) -> Result<Vec<Measurement>, String> {
    let input = Input::of(setting, case)?;
    let (rows, rule) = (&input.sets[0], Rule::of(case));
    let miner = rule.miner(setting.miner().k(K));
    let bank = setting.bank().build(&rows.candidates[..], rows.dim).map_err(|error| error.to_string())?;
    let raw = paired(MiningBatch::new(&rows.anchors, &rows.candidates, rows.dim))?;
    let against = paired(MiningBatch::against(&rows.anchors, &bank))?;
    let mut workspace = Workspace::new();
    let found = lists(&miner, raw, &mut workspace)?;
    let exact = lists(&miner.screen(hardneg::Screen::Off), raw, &mut workspace)?;
    if found != exact || lists(&miner, against, &mut workspace)? != exact {
        return Err(format!("{}: not the bits of the exact path", case.label));
    }
    let (mut top, memory) = memory::peak_of(1, || Top::new(K, case.candidates, case.dim));
    let differing = compare(rows, rule, &mut top, &found)?;

    let mut contest = Contest::new(PART.name, case);
    let (_, ours) = memory::peak_of(1, || lists(&miner, raw, &mut Workspace::new()).map(|lists| lists.len()));
    let call = |batch| {
        let mut workspace = Workspace::new();
        Box::new(move || _ = black_box(miner.mine(batch, &mut workspace).map(|mined| mined.found())))
    };
    contest.add(OURS, Role::Ours, 1, call(raw)).memory = Some(ours as u64);
    contest.add("hardneg, against a bank", Role::Ours, 1, call(against));
    let rival = || {
        top.mine(&rows.anchors, &rows.candidates, |positive| rule.limit(positive), |_, list| _ = black_box(list.len()));
    };
    let rival = contest.add("gemm and lists", Role::Rival, 1, Box::new(rival));
    rival.memory = Some(memory as u64);
    if differing > 0 {
        rival.differing.insert("queries with another order or near tie".to_owned(), differing);
    }
    let mut measurements = contest.in_turns(setting.effort(PART.seconds));
    measurements.extend(setting.peers.borrow_mut().mining(setting, PART.name, case, rows, (&miner, &found))?);
    Ok(measurements)
}

/// The batch with candidate `i` as the positive of query `i`.
pub(crate) fn paired<'a>(batch: Result<MiningBatch<'a>, hardneg::Error>) -> Result<MiningBatch<'a>, String> {
    let known = KnownPositives::One(Positives::Identity);
    batch.and_then(|batch| batch.known_positives(known)).map_err(|error| error.to_string())
}

fn lists(miner: &Miner, batch: MiningBatch<'_>, workspace: &mut Workspace) -> Result<Vec<Vec<Neighbour>>, String> {
    let mined = miner.mine(batch, workspace).map_err(|error| error.to_string())?;
    Ok((0..mined.queries()).map(|query| mined.row(query).to_vec()).collect())
}

/// In how many queries a rival has other negatives, which must be as similar but for rounding, or at the threshold.
fn compare(rows: &OwnedBatch, rule: Rule, top: &mut Top, ours: &[Vec<Neighbour>]) -> Result<u64, String> {
    let (mut differing, mut wrong) = (0, None);
    let limit = |positive| rule.limit(positive);
    top.mine(&rows.anchors, &rows.candidates, limit, |query, list| {
        if list.iter().map(|&(_, index)| index).eq(ours[query].iter().map(|ours| ours.index)) {
            return;
        }
        differing += 1;
        let far = |(&(theirs, _), ours): (&(f32, usize), &Neighbour)| (theirs - ours.similarity).abs() > NEAR;
        // A list that differs in length lost or gained what lies at the threshold.
        if list.len() == ours[query].len() && rule == Rule::Nothing && list.iter().zip(&ours[query]).any(far) {
            wrong = Some(query);
        }
    });
    wrong.map_or(Ok(differing), |query| Err(format!("gemm and lists: wrong negatives of query {query}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_from_the_label() {
        let rule = |label| Rule::of(&Case::parse(label).expect("a case"));
        assert_eq!(rule("4 x 8 x 2, real, relative margin 0.05"), Rule::Relative(0.05));
        assert_eq!(rule("4 x 8 x 2, absolute margin 0.1"), Rule::Absolute(0.1));
        assert_eq!(rule("4 x 8 x 2, at most 0.6"), Rule::AtMost(0.6));
        assert_eq!(rule("4 x 8 x 2, real"), Rule::Nothing);
        assert_eq!(Rule::Relative(0.5).limit(-0.5), -0.75);
    }
}
