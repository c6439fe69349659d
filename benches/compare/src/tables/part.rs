//! The tables of a part on one machine: this crate's own times, others as multiples of them, and answers that differ.

use super::text::{bytes, multiple, percent, seconds, table};
use crate::contest::OURS;
use crate::results::{Measurement, Results, Role};
use crate::rivals::FIXED_SCREEN;

/// A case on a number of threads: the line of a table.
pub(super) struct Line<'a> {
    pub label: String,
    pub ours: &'a Measurement,
    pub all: Vec<&'a Measurement>,
}

impl Line<'_> {
    fn find(&self, contender: &str) -> Option<&Measurement> {
        self.all.iter().copied().find(|measurement| measurement.contender == contender)
    }

    /// The rival with the least time for the same job.
    pub(super) fn fastest_rival(&self) -> Option<&Measurement> {
        let rivals = self.all.iter().copied().filter(|other| other.role == Role::Rival);
        let same = rivals.filter(|other| !other.contender.ends_with(", with gradients"));
        same.min_by(|one, other| one.ratio.total_cmp(&other.ratio))
    }

    /// The fixed screens as multiples of the default's time, best and worst.
    fn fixed_screens(&self) -> Option<String> {
        let fixed = self.all.iter().filter(|other| other.contender.starts_with(FIXED_SCREEN));
        let mut fixed: Vec<&&Measurement> = fixed.collect();
        fixed.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
        let cell = |measurement: &Measurement| {
            format!("{} {}", measurement.contender.trim_start_matches(FIXED_SCREEN), multiple(measurement.ratio))
        };
        Some(format!("{} to {}", cell(fixed.first()?), cell(fixed.last()?)))
    }
}

/// The lines of a part, in the order in which they were measured.
pub(super) fn lines<'a>(results: &'a Results, part: &'a str) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for ours in results.of(part).filter(|measurement| measurement.contender == OURS) {
        let is_same = |other: &&Measurement| other.case == ours.case && other.threads == ours.threads;
        let threads = if ours.threads == 1 { String::new() } else { format!(", {} threads", ours.threads) };
        let all = results.of(part).filter(is_same).collect();
        lines.push(Line { label: format!("{}{threads}", ours.case), ours, all });
    }
    lines
}

/// The tables of a part in Markdown.
pub(super) fn tables(results: &Results, part: &str) -> String {
    let lines = lines(results, part);
    if lines.is_empty() {
        return "Not measured.\n".to_owned();
    }
    let rivals = columns(&lines, |other| other.role == Role::Rival);
    let mut text = own(&lines);
    if !rivals.is_empty() {
        text += &format!(
            "\nOthers, as multiples of hardneg's time; below 1 x they are faster:\n\n{}",
            others(&lines, &rivals)
        );
    }
    text + &differing(results, part)
}

/// The names of contenders, each once.
fn columns(lines: &[Line<'_>], is_wanted: impl Fn(&Measurement) -> bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for measurement in lines.iter().flat_map(|line| &line.all).filter(|other| is_wanted(other)) {
        if !names.contains(&measurement.contender) {
            names.push(measurement.contender.clone());
        }
    }
    names
}

/// This crate with its options, beside what the machine does at most.
fn own(lines: &[Line<'_>]) -> String {
    let is_fixed = |other: &Measurement| other.contender.starts_with(FIXED_SCREEN);
    let options = columns(lines, |other| other.role == Role::Ours && other.contender != OURS && !is_fixed(other));
    let ceilings = columns(lines, |other| other.role == Role::Ceiling);
    let has_p99 = lines.iter().any(|line| line.ours.p99.is_some());
    let has_memory = lines.iter().any(|line| line.ours.memory.is_some());
    let has_fixed = lines.iter().any(|line| line.fixed_screens().is_some());
    let mut heads = vec!["anchors x candidates x dim".to_owned(), OURS.to_owned()];
    heads.extend(has_p99.then(|| "99th percentile".to_owned()));
    heads.extend(options.iter().map(|name| name.trim_start_matches("hardneg, ").to_owned()));
    heads.extend(has_fixed.then(|| "fixed screens, best to worst".to_owned()));
    heads.extend(ceilings.iter().cloned());
    heads.extend(has_memory.then(|| "memory".to_owned()));
    heads.push("spread".to_owned());
    let cells = |line: &Line<'_>| {
        let mut cells = vec![line.label.clone(), seconds(line.ours.median)];
        cells.extend(has_p99.then(|| or_dash(line.ours.p99.map(seconds))));
        cells.extend(options.iter().map(|name| or_dash(line.find(name).map(|other| multiple(other.ratio)))));
        cells.extend(has_fixed.then(|| or_dash(line.fixed_screens())));
        cells.extend(ceilings.iter().map(|name| or_dash(line.find(name).map(|other| percent(other.ratio)))));
        cells.extend(has_memory.then(|| or_dash(line.ours.memory.map(bytes))));
        cells.push(percent(line.all.iter().fold(0.0, |most, other| other.spread.max(most))));
        cells
    };
    table(&heads, &lines.iter().map(cells).collect::<Vec<_>>())
}

/// The rivals, with their memory where it is known of this crate, too.
fn others(lines: &[Line<'_>], rivals: &[String]) -> String {
    let mut heads = vec!["anchors x candidates x dim".to_owned()];
    heads.extend(rivals.iter().cloned());
    let cell = |line: &Line<'_>, name: &str| {
        let rival = line.find(name)?;
        let memory = rival.memory.zip(line.ours.memory);
        let memory = memory.map(|(theirs, _)| format!(", {}", bytes(theirs))).unwrap_or_default();
        Some(format!("{}{memory}", multiple(rival.ratio)))
    };
    let has_any = |line: &&Line<'_>| rivals.iter().any(|name| line.find(name).is_some());
    let cells = |line: &Line<'_>| {
        let mut cells = vec![line.label.clone()];
        cells.extend(rivals.iter().map(|name| or_dash(cell(line, name))));
        cells
    };
    table(&heads, &lines.iter().filter(has_any).map(cells).collect::<Vec<_>>())
}

/// A list of the answers that differ.
fn differing(results: &Results, part: &str) -> String {
    let mut text = String::new();
    for measurement in results.of(part).filter(|measurement| !measurement.differing.is_empty()) {
        let counts: Vec<String> =
            measurement.differing.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        let Measurement { contender, case, threads, .. } = measurement;
        let threads = if *threads == 1 { String::new() } else { format!(", {threads} threads") };
        text += &format!("- {contender}, {case}{threads}: {}\n", counts.join(", "));
    }
    if text.is_empty() { text } else { format!("\nAnswers that differ from hardneg's:\n\n{text}") }
}

fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;

    #[test]
    fn a_part_shows_own_times_and_those_of_others() {
        let text = tables(&sample(), "batches");
        for cell in
            ["| 4096 x 4096 x 768 | 30.0 ms |", "i8 0.99 x to i16 2.00 x", "| 300 % |", "3.30 x, 1.50 KiB", "| 0.50 x"]
        {
            assert!(text.contains(cell), "{cell} is not in\n{text}");
        }
        assert_eq!(tables(&sample(), "mining"), "Not measured.\n");
    }

    #[test]
    fn the_fastest_rival_has_the_least_ratio() {
        let results = sample();
        let lines = lines(&results, "batches");
        let fastest: Vec<&str> =
            lines.iter().filter_map(|line| Some(line.fastest_rival()?.contender.as_str())).collect();
        assert_eq!(fastest, ["gemm", "gemm"]);
    }

    #[test]
    fn answers_that_differ_are_named() {
        let mut results = sample();
        results.measurements[1].differing.insert("near ties".to_owned(), 3);
        assert!(tables(&results, "batches").contains("- gemm, 256 x 256 x 256: near ties: 3\n"));
    }
}
