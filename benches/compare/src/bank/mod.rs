//! How long calls against a bank take, beside the speed of memory, the integer ceiling, and the same rows passed raw.

mod charts;
mod inputs;
mod reading;

use std::hint::black_box;

use hardneg::{Backend, Bank, BankOptions, Negatives, Screen, Threads, TripletLoss, Workspace};

use crate::args::Args;
use crate::ceilings;
use crate::common::{Call, Turns, all_threads, in_turns};
use crate::table;
use crate::units::Unit;
use charts::Point;
use inputs::{ANCHORS, Group, Questions, Rows, Source};

const MANY_ANCHORS: [usize; 6] = [1, 2, 4, 8, 32, ANCHORS];
const SIZES: [usize; 3] = [1024, 16384, 98304];
const DIMS: [usize; 3] = [128, 384, 768];
/// The smallest call that is measured: anchors, rows of the bank, dim. Its time is what a call costs by itself.
const SMALLEST: (usize, usize, usize) = (1, 100, 128);

/// The screens of the banks: the default, and one for positives inside the bulk as well.
const KEPT: [&[Screen]; 2] = [&[Screen::Auto], &[Screen::I8, Screen::I16]];
const RULES: [Negatives; 2] = [Negatives::Below, Negatives::Any];
/// Calls of so many multiply-adds are measured on all threads, too.
const MANY_THREADS: u64 = 1 << 31;

/// Prints the tables, and draws them.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    print_notes();
    let mut report = Report::default();
    table::header(&[
        "rows of the bank",
        "anchors",
        "positives",
        "negatives",
        "default screen",
        "of the reading speed",
        "of the integer ceiling",
        "i8 and i16",
        "rows passed raw",
    ]);
    for (candidates, dim, anchors) in shapes(args) {
        for source in Source::ALL {
            measure_bank(args, source, (candidates, dim), &anchors, &mut report)?;
        }
    }
    report.print();
    args.svg.as_ref().map_or(Ok(()), |directory| charts::draw(directory, &report.points))
}

fn print_notes() {
    println!(
        "Whole calls against a bank, one thread, backend {}; medians of calls in turns, of which each begins with the caches
as another left them; anchors rotate. The first answers of every line were seen to have the bits of the exact path
without a screen. \"Above the bulk\": the positive of an anchor is more similar to it than nearly all rows;
\"inside\": it has nothing to do with it, and no row has. Real rows are the sample's and mixtures of them; with more
or fewer elements than the sample's 384, several of them joined, or the first elements.
- default screen: the time of a call against a bank that keeps the default screen
- of the reading speed: the time in which a buffer as large as that bank's panels is read once, over that of the call
- of the integer ceiling: multiply-adds of all pairs over the time, against those of {} on registers
- i8 and i16: the time with a bank that keeps both, as a multiple of the default's
- rows passed raw: the time of a call that prepares the same rows anew, as a multiple of the default's",
        Backend::detect(),
        Unit::I8.name()
    );
}

/// The rows and dims of the banks, each with the numbers of anchors.
fn shapes(args: &Args) -> Vec<(usize, usize, Vec<usize>)> {
    let chosen = &args.shapes;
    let or = |chosen: &Option<Vec<usize>>, default: &[usize]| chosen.clone().unwrap_or(default.to_vec());
    let (all_anchors, sizes) = (or(&chosen.anchors, &MANY_ANCHORS), or(&chosen.candidates, &SIZES));
    let mut shapes = Vec::new();
    if chosen.anchors.is_none() && chosen.candidates.is_none() && chosen.dims.is_none() {
        shapes.push((SMALLEST.1, SMALLEST.2, vec![SMALLEST.0]));
    }
    for dim in or(&chosen.dims, &DIMS) {
        for &size in &sizes {
            let fits = |&anchors: &usize| anchors <= ANCHORS.min(size / 2) && args.includes(work(anchors, size, dim));
            shapes.push((size, dim, all_anchors.iter().copied().filter(fits).collect()));
        }
    }
    shapes.retain(|(_, _, anchors)| !anchors.is_empty());
    shapes
}

/// The multiply-adds of all pairs.
fn work(anchors: usize, candidates: usize, dim: usize) -> u64 {
    (anchors * candidates * dim) as u64
}

/// What is printed after the calls.
#[derive(Default)]
struct Report {
    banks: Vec<Vec<String>>,
    threads: Vec<Vec<String>>,
    points: Vec<Point>,
}

impl Report {
    fn print(&self) {
        table::header(&[
            "rows of the bank",
            "screens",
            "built at, of rows read",
            "rows read at",
            "bytes an element",
            "of the rows' bytes",
        ]);
        self.banks.iter().for_each(|line| table::line(line));
        if !self.threads.is_empty() {
            let threads = format!("speed-up of {} threads", all_threads());
            table::header(&["rows of the bank", "anchors", "one thread", &threads, "that of integers on registers"]);
            self.threads.iter().for_each(|line| table::line(line));
        }
    }
}

/// Builds a bank in each way, and measures building it and calls against it.
fn measure_bank(
    args: &Args,
    source: Source,
    (candidates, dim): (usize, usize),
    all_anchors: &[usize],
    report: &mut Report,
) -> Result<(), String> {
    let rows = Rows::new(source, candidates, dim)?;
    let label = format!("{candidates} x {dim} {}", source.name());
    let banks = KEPT.map(|screens| build(screens, &rows));
    if source == Source::Random {
        measure_building(args, &label, &rows, &banks, report);
    }
    for &anchors in all_anchors {
        let subject = Subject { label: &label, rows: &rows, banks: &banks, anchors };
        let point = measure_calls(args, &subject);
        if source == Source::Random {
            report.points.push(point);
            if work(anchors, candidates, dim) >= MANY_THREADS {
                report.threads.push(measure_threads(args, &subject));
            }
        }
    }
    Ok(())
}

fn build<'a>(screens: &[Screen], rows: &'a Rows) -> Bank<'a> {
    BankOptions::new().screens(screens).build(&rows.candidates[..], rows.dim).expect("finite rows")
}

fn measure_building(args: &Args, label: &str, rows: &Rows, banks: &[Bank<'_>], report: &mut Report) {
    let bytes = size_of_val(&rows.candidates[..]);
    let mut calls = vec![reading::call(bytes)];
    for screens in KEPT {
        calls.push(Box::new(|| _ = black_box(build(screens, rows))));
    }
    let (seconds, rounds) = args.effort();
    let turns = in_turns(seconds / 10.0, rounds, calls);
    let speed = |call| format!("{:.1} GB/s", bytes as f64 / turns.time(call) / 1e9);
    for (index, (screens, bank)) in KEPT.iter().zip(banks).enumerate() {
        let names: Vec<String> = screens.iter().map(Screen::to_string).collect();
        report.banks.push(vec![
            label.to_owned(),
            names.join(", "),
            speed(index + 1),
            speed(0),
            format!("{:.2}", bank.bytes() as f64 / rows.candidates.len() as f64),
            format!("{:.2}", bank.bytes() as f64 / bytes as f64),
        ]);
    }
}

/// Calls of so many anchors against the banks of some rows.
struct Subject<'a> {
    label: &'a str,
    rows: &'a Rows,
    banks: &'a [Bank<'a>; 2],
    anchors: usize,
}

impl<'a> Subject<'a> {
    /// The bytes of the panels of the default bank.
    fn panel_bytes(&self) -> usize {
        self.banks[0].bytes() - build(&[Screen::Off], self.rows).bytes()
    }

    /// A call for each turn of the anchors: against a bank, or with the rows passed raw.
    fn call(&self, plan: TripletLoss, questions: &'a Questions, bank: Option<&'a Bank<'a>>) -> Call<'a> {
        let (rows, groups) = (self.rows, questions.groups(self.anchors));
        let (mut workspace, mut next) = (Workspace::new(), 0);
        Box::new(move || {
            let group: Group = groups[next % groups.len()];
            next += 1;
            let batch = match bank {
                Some(bank) => questions.against(bank, group),
                None => questions.raw(&rows.candidates, group),
            };
            black_box(plan.forward(batch, &mut workspace).expect("finite rows").loss());
        })
    }
}

/// The contenders before the calls: reading memory, and the integer units.
const READING: usize = 0;
const CEILING: usize = 1;
const FIRST_CALL: usize = 2;

/// Prints the lines of all rules and kinds of positives. Returns what is drawn, of positives above the bulk and any
/// negative.
fn measure_calls(args: &Args, subject: &Subject<'_>) -> Point {
    let mut calls = vec![reading::call(subject.panel_bytes()), ceilings::call(Unit::I8, 1)];
    let mut lines = Vec::new();
    for questions in &subject.rows.questions {
        for negatives in RULES {
            let plan = TripletLoss::new().negatives(negatives);
            let expected = questions.expected(&subject.rows.candidates, negatives);
            for bank in subject.banks {
                inputs::check(questions, bank, subject.anchors, plan, &expected);
                calls.push(subject.call(plan, questions, Some(bank)));
            }
            calls.push(subject.call(plan, questions, None));
            lines.push((questions.positives, negatives));
        }
    }
    let (seconds, rounds) = args.effort();
    let turns = in_turns(seconds / 10.0, rounds, calls);
    for (index, (positives, negatives)) in lines.iter().enumerate() {
        print_line(subject, positives, *negatives, &turns, FIRST_CALL + 3 * index);
    }
    let drawn = FIRST_CALL + 3;
    Point {
        anchors: subject.anchors,
        candidates: subject.banks[0].len(),
        dim: subject.rows.dim,
        bank: turns.time(drawn),
        raw: turns.time(drawn + 2),
        reading: turns.time(READING),
    }
}

/// Prints a line of the table. The contender `call` is that with the default bank; the other bank and the raw rows
/// follow.
fn print_line(subject: &Subject<'_>, positives: &str, negatives: Negatives, turns: &Turns, call: usize) {
    let work = work(subject.anchors, subject.banks[0].len(), subject.rows.dim) as f64;
    let has_ceiling = Unit::available().any(|unit| unit == Unit::I8);
    let of_ceiling = turns.ratio(CEILING, call) * work / ceilings::work(1);
    table::line(&[
        subject.label.to_owned(),
        subject.anchors.to_string(),
        positives.to_owned(),
        negatives.to_string(),
        table::seconds(turns.time(call)),
        table::percent(turns.ratio(READING, call)),
        table::percent(if has_ceiling { of_ceiling } else { f64::NAN }),
        format!("{:.2}", turns.ratio(call + 1, call)),
        format!("{:.2}", turns.ratio(call + 2, call)),
    ]);
}

/// A line of the table of threads: positives above the bulk, any negative. The units on registers, in the same turns,
/// tell whether the machine had all its cores for this.
fn measure_threads(args: &Args, subject: &Subject<'_>) -> Vec<String> {
    let [questions, _] = &subject.rows.questions;
    let all = all_threads();
    let mut calls = vec![ceilings::call(Unit::I8, 1), ceilings::call(Unit::I8, all)];
    for threads in [Threads::Serial, Threads::Rayon] {
        let plan = TripletLoss::new().negatives(Negatives::Any).threads(threads);
        calls.push(subject.call(plan, questions, Some(&subject.banks[0])));
    }
    let (seconds, rounds) = args.effort();
    let turns = in_turns(seconds, rounds, calls);
    vec![
        subject.label.to_owned(),
        subject.anchors.to_string(),
        table::seconds(turns.time(2)),
        format!("{:.2}", turns.ratio(2, 3)),
        format!("{:.2}", turns.ratio(0, 1) * all as f64),
    ]
}
