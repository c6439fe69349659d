//! How time and memory grow with threads, rows and dim.

use std::hint::black_box;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::Part;
use crate::common::{Call, all_threads};
use crate::contest::{Contest, OURS};
use crate::inputs::Input;
use crate::memory;
use crate::oracle::{check, expected};
use crate::results::{Measurement, Role};
use crate::rivals::{Rival, finalists, threads_for};
use crate::row::Row;
use crate::setting::Setting;
use crate::shapes::Case;
use crate::units::Unit;

pub(super) const PART: Part = Part {
    name: "scaling",
    title: "Threads, rows and dim",
    notes: "One thread beside the same work on more of them; then rows and dim that grow, on one thread: the time of a pair \
        must not grow with the rows, and memory must grow with the rows, not with the pairs.",
    seconds: 3.0,
    cases: |setting| if setting.data.is_some() { Ok(Vec::new()) } else { setting.cases("scaling", &[]) },
    measure,
};

fn measure(setting: &Setting, case: &Case) -> Result<Vec<Measurement>, String> {
    let input = Input::of(setting, case)?;
    if case.is("threads") { by_threads(setting, case, &input) } else { by_size(setting, case, &input) }
}

/// The same batch on 1, 2, 4, .. threads and on all.
fn by_threads(setting: &Setting, case: &Case, input: &Input) -> Result<Vec<Measurement>, String> {
    let all = all_threads();
    let mut counts: Vec<usize> = (0..).map(|exponent| 1 << exponent).take_while(|&count| count < all).collect();
    counts.push(all);
    let pool = |&threads: &usize| ThreadPoolBuilder::new().num_threads(threads).build();
    let pools: Result<Vec<ThreadPool>, _> = counts.iter().map(pool).collect();
    let pools = pools.map_err(|error| error.to_string())?;
    let mut contest = Contest::new(PART.name, case);
    for (pool, &threads) in pools.iter().zip(&counts) {
        let (plan, pairs) = (setting.plan().threads(threads_for(threads)), &input.sets[0]);
        let mut workspace = hardneg::Workspace::new();
        let call: Call<'_> = Box::new(move || {
            _ = pool.install(|| plan.forward(pairs.batch(), &mut workspace).expect("finite rows").loss());
        });
        // Each is compared with one thread.
        let name = if threads == 1 { OURS.to_owned() } else { format!("{threads} threads") };
        contest.add(&name, Role::Ours, 1, call);
    }
    Ok(contest.in_turns(setting.effort(PART.seconds)))
}

/// This crate and the strongest rival on one thread.
fn by_size(setting: &Setting, case: &Case, input: &Input) -> Result<Vec<Measurement>, String> {
    let (entrants, expected) = (finalists(setting.plan()), input.sets.iter().map(expected).collect::<Vec<Vec<Row>>>());
    let mut rivals = Vec::new();
    for entrant in &entrants {
        let build = || {
            let mut rival = (entrant.build)(case);
            _ = black_box(rival.run(&input.sets[0]));
            rival
        };
        let (mut rival, memory): (Box<dyn Rival>, usize) = memory::peak_of(1, build);
        check(entrant, rival.as_mut(), input, &expected);
        rivals.push((rival, memory));
    }
    let mut contest = Contest::new(PART.name, case);
    for (entrant, (rival, memory)) in entrants.iter().zip(&mut rivals) {
        contest.add_rival(entrant, rival.as_mut(), input).memory = Some(*memory as u64);
    }
    for unit in [Unit::F32, Unit::I16, Unit::I8] {
        contest.add_ceiling(unit, 1);
    }
    Ok(contest.in_turns(setting.effort(PART.seconds)))
}
