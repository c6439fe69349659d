//! Large batches: everybody does the whole job.

use super::Part;
use super::training::{Training, WITH_GRADIENTS};
use crate::common::Rotation;
use crate::contest::Contest;
use crate::inputs::Input;
use crate::memory;
use crate::oracle::{Mistakes, check, expected};
use crate::results::{Measurement, Role};
use crate::rivals::{Entrant, Rival, entrants, thread_counts};
use crate::row::Row;
use crate::setting::Setting;
use crate::shapes::Case;
use crate::units::Unit;

pub(super) const PART: Part = Part {
    name: "batches",
    title: "Large batches",
    notes: "Everybody normalises the rows, finds each positive, mean and closest negative below the positive, and adds up \
        the loss. *gemm* multiplies by that crate and reads the product once, of the whole matrix or in strips of it. The fixed screens are \
        multiples of the time of `Screen::Auto`, the default, best and worst. A share of the `f32` ceiling is that of \
        fused multiply-adds on registers: no product in `f32` can exceed 100 %. Memory is what a call holds beyond its \
        inputs.",
    seconds: 8.0,
    cases: |setting| setting.cases("batches", &[usize::MAX]),
    measure,
};

/// A contender that was seen to be right.
struct Standing {
    entrant: Entrant,
    rival: Box<dyn Rival>,
    memory: usize,
    mistakes: Mistakes,
}

impl Standing {
    fn new(entrant: Entrant, case: &Case, input: &Input, expected: &[Vec<Row>]) -> Standing {
        let (mut rival, memory) = memory::peak_of(entrant.threads, || {
            let mut rival = (entrant.build)(case);
            rival.run(&input.sets[0]);
            rival
        });
        let mistakes = check(&entrant, rival.as_mut(), input, expected);
        Standing { entrant, rival, memory, mistakes }
    }
}

fn measure(setting: &Setting, case: &Case) -> Result<Vec<Measurement>, String> {
    let input = Input::of(setting, case)?;
    let expected: Vec<Vec<Row>> = input.sets.iter().map(expected).collect();
    let admitted = entrants(setting.plan()).into_iter().filter(|entrant| entrant.admits(case.work()));
    let mut standings: Vec<Standing> =
        admitted.map(|entrant| Standing::new(entrant, case, &input, &expected)).collect();
    let mut training = Training::new(setting.plan(), case, &input.sets[0]);
    let mut contest = Contest::new(PART.name, case);
    for Standing { entrant, rival, memory, mistakes } in &mut standings {
        let measurement = contest.add_rival(entrant, rival.as_mut(), &input);
        measurement.memory = Some(*memory as u64);
        if mistakes.wrong > 0 {
            measurement.differing.insert("another closest negative".to_owned(), mistakes.wrong as u64);
        }
    }
    let mut sets = Rotation::new(&input.sets);
    contest.add(WITH_GRADIENTS, Role::Ours, 1, Box::new(move || training.run(sets.turn())));
    for threads in thread_counts().into_iter().filter(|&threads| Entrant::wakes(threads, case.work())) {
        contest.add_ceiling(Unit::F32, threads);
    }
    let mut measurements = contest.in_turns(setting.effort(PART.seconds));
    measurements.extend(setting.peers.borrow_mut().loss(setting, PART.name, case, &input)?);
    Ok(measurements)
}
