//! The comparison: one table of all batches and contenders.

use hardneg::Backend;

use crate::args::Args;
use crate::common::{Call, Rotation, Turns, in_turns};
use crate::inputs::{Input, inputs};
use crate::oracle::{Mistakes, check, expected};
use crate::plot::{self, Bars};
use crate::rivals::{Entrant, Rival, entrants, thread_counts};
use crate::row::Row;
use crate::units::Unit;
use crate::{ceilings, memory, table};

/// Prints the ceilings and the comparison.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    println!("Backend of this CPU: {}. Times are medians of calls in turns.", Backend::detect());
    ceilings::print(args);
    let entrants = entrants();
    table::header(&[
        "batch",
        "contender",
        "threads",
        "time",
        "of the f32 ceiling",
        "against hardneg",
        "memory",
        "largest error",
        "wrong closest",
    ]);
    let mut bars = Vec::new();
    for input in inputs(args) {
        let input = input()?;
        if args.includes(input.work()) {
            bars.push(compare(args, &input, &entrants));
        }
    }
    print_notes();
    match &args.svg {
        Some(directory) => plot::ratios(directory, &bars),
        None => Ok(()),
    }
}

fn print_notes() {
    println!(
        "
Everybody normalises the rows and computes positives, means, closest negatives below the positive, and the loss at margin
1, where hinges are active. Rivals with a matrix look for the index of the closest negative only when they are checked.
\"Of the f32 ceiling\": rows * rows * dim over the time, against f32 multiply-adds on as many threads, measured in the same
turns. \"Against hardneg\": the time over that of hardneg's default screen on as many threads. Memory: all that is live
during a call beyond the inputs, at its peak. Errors are those of the rows' three similarities against the reference, and
wrong are closest negatives with another index, both over all rows of all sets of a batch. Rows of hardneg are asserted to
have the reference's bits. Batches under a million elements are several sets in rotation. Contenders that would take
many seconds for a call are left out: the naive loops beyond 2^30 multiply-adds, no screen beyond 2^34. So are several
threads below 2^22 multiply-adds, where nobody would wake them."
    );
}

/// A contender of one batch.
struct Standing<'a> {
    entrant: &'a Entrant,
    rival: Box<dyn Rival>,
    memory: usize,
    mistakes: Mistakes,
}

impl<'a> Standing<'a> {
    fn new(entrant: &'a Entrant, input: &Input, expected: &[Vec<Row>]) -> Standing<'a> {
        let (mut rival, memory) = memory::peak_of(entrant.threads, || {
            let mut rival = (entrant.build)(input.shape());
            rival.run(&input.sets[0]);
            rival
        });
        let mistakes = check(entrant, rival.as_mut(), input, expected);
        Standing { entrant, rival, memory, mistakes }
    }

    fn call<'b>(&'b mut self, input: &'b Input) -> Call<'b> {
        let mut sets = Rotation::new(&input.sets);
        Box::new(move || _ = std::hint::black_box(self.rival.run(sets.turn())))
    }
}

/// Prints a batch's lines of the table.
fn compare(args: &Args, input: &Input, entrants: &[Entrant]) -> Bars {
    let expected: Vec<Vec<Row>> = input.sets.iter().map(expected).collect();
    let admitted = entrants.iter().filter(|entrant| entrant.admits(input.work()));
    let mut standings: Vec<_> = admitted.map(|entrant| Standing::new(entrant, input, &expected)).collect();
    let (seconds, rounds) = args.effort();
    let mut calls: Vec<Call<'_>> = Vec::new();
    calls.extend(thread_counts().into_iter().map(|threads| ceilings::call(Unit::F32, threads)));
    calls.extend(standings.iter_mut().map(|standing| standing.call(input)));
    let turns = in_turns(seconds, rounds, calls);
    let mut bars = Bars { label: input.label.clone(), bars: Vec::new() };
    for index in 0..standings.len() {
        let ratio = print_line(input, &standings, index, &turns);
        if standings[index].entrant.threads == 1 && !standings[index].entrant.ours {
            bars.bars.push((standings[index].entrant.name.clone(), ratio));
        }
    }
    bars
}

/// Prints one line; returns the time against this crate's default.
fn print_line(input: &Input, standings: &[Standing<'_>], index: usize, turns: &Turns) -> f64 {
    let Standing { entrant, memory, mistakes, .. } = &standings[index];
    let counts = thread_counts();
    let ceiling = counts.iter().position(|&count| count == entrant.threads).expect("one of the counts");
    let is_base = |other: &Standing<'_>| other.entrant.ours && other.entrant.threads == entrant.threads;
    let base = standings.iter().position(is_base).expect("this crate competes") + counts.len();
    let contender = index + counts.len();
    let share = turns.ratio(ceiling, contender) * input.work() as f64 / ceilings::work(entrant.threads);
    let ratio = turns.ratio(contender, base);
    table::line(&[
        input.label.clone(),
        entrant.name.clone(),
        entrant.threads.to_string(),
        table::seconds(turns.time(contender)),
        table::percent(share),
        format!("{ratio:.2}"),
        table::bytes(*memory),
        table::error(mistakes.largest),
        mistakes.wrong.to_string(),
    ]);
    ratio
}
