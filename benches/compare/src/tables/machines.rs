//! Tables with a column for each machine, and what is to be said of each.

use super::part::{Line, lines};
use super::text::{multiple, seconds, table};
use crate::parts::PARTS;
use crate::results::{Measurement, Results};
use crate::shapes;

/// What a case is called beside cases of other parts.
const NOUNS: [(&str, &str); 4] = [("latency", "call"), ("batches", "batch"), ("bank", "bank"), ("mining", "mining")];

/// Cases of all parts, each with the part that it is of.
fn highlights() -> Vec<(&'static str, &'static str, String)> {
    let of = |(part, noun): (&'static str, &'static str)| {
        shapes::labels("README", part).into_iter().map(move |label| (part, noun, label))
    };
    NOUNS.into_iter().flat_map(of).collect()
}

/// The lines that the README shows.
pub(super) fn highlights_table(all: &[Results]) -> String {
    let rows = highlights().into_iter().map(|(part, noun, label)| {
        let cells = all.iter().map(|results| cell(results, part, &label));
        [format!("{noun}, {label}")].into_iter().chain(cells).collect()
    });
    with_machines("anchors x candidates x dim", all, rows.collect())
}

/// All cases of a part.
pub(super) fn part_table(all: &[Results], part: &str) -> String {
    let mut labels: Vec<String> = Vec::new();
    for line in all.iter().flat_map(|results| lines(results, part)) {
        if !labels.contains(&line.label) {
            labels.push(line.label);
        }
    }
    let row = |label: String| {
        let cells = all.iter().map(|results| cell(results, part, &label));
        [label.clone()].into_iter().chain(cells).collect()
    };
    with_machines("anchors x candidates x dim", all, labels.into_iter().map(row).collect())
}

fn with_machines(head: &str, all: &[Results], rows: Vec<Vec<String>>) -> String {
    let heads: Vec<String> = [head.to_owned()].into_iter().chain(all.iter().map(Results::title)).collect();
    table(&heads, &rows)
}

/// This crate's time, and the fastest rival.
fn cell(results: &Results, part: &str, label: &str) -> String {
    let lines = lines(results, part);
    let Some(line) = lines.iter().find(|line| line.label == label) else { return "-".to_owned() };
    let rival = line.fastest_rival().map(|rival| format!("; {} {}", rival.contender, multiple(rival.ratio)));
    seconds(line.ours.median) + &rival.unwrap_or_default()
}

/// Bars of the fastest rivals of the README's lines, as text.
pub(super) fn highlights_bars(results: &Results) -> String {
    let mut text = format!("```text\nThe fastest rival's time as a multiple of hardneg's: {}\n", results.title());
    for (part, noun, label) in highlights() {
        let lines = lines(results, part);
        let rival = lines.iter().find(|line| line.label == label).and_then(Line::fastest_rival);
        text += &rival.map(|rival| bar(&format!("{noun}, {label}"), rival)).unwrap_or_default();
    }
    text + "```\n"
}

/// A bar to the right for a rival that takes longer, and to the left for a faster one; four characters double the time.
fn bar(label: &str, rival: &Measurement) -> String {
    const LEFT: usize = 8;
    const RIGHT: usize = 20;
    let length = (4.0 * rival.ratio.log2()).round();
    let (left, right) = ((-length).clamp(0.0, LEFT as f64) as usize, length.clamp(0.0, RIGHT as f64) as usize);
    let (left, right) = ("█".repeat(left), "█".repeat(right));
    let line = format!("{label:<38}{left:>LEFT$}|{right} {} {}", multiple(rival.ratio), rival.contender);
    line + "\n"
}

/// In which cases a rival is faster: a line for each machine.
pub(super) fn verdicts(all: &[Results]) -> String {
    all.iter().map(|results| format!("- **{}**: {}.\n", results.title(), verdict(results))).collect()
}

fn verdict(results: &Results) -> String {
    let mut parts = Vec::new();
    for part in &PARTS {
        let lines = lines(results, part.name);
        let compared: Vec<(&Line<'_>, &Measurement)> =
            lines.iter().filter_map(|line| Some((line, line.fastest_rival()?))).collect();
        let mut lost: Vec<&(&Line<'_>, &Measurement)> =
            compared.iter().filter(|(_, rival)| rival.ratio < 1.0).collect();
        lost.sort_by(|(_, one), (_, other)| one.ratio.total_cmp(&other.ratio));
        if let Some((line, rival)) = lost.first() {
            let worst = format!("{}: {} {}", line.label, rival.contender, multiple(rival.ratio));
            parts.push(format!("{} {} of {} (worst {worst})", part.name, lost.len(), compared.len()));
        }
    }
    let quick = if results.quick { "measured quickly; " } else { "" };
    let lost = if parts.is_empty() { "no rival is faster in any case".to_owned() } else { parts.join("; ") };
    let head = if parts.is_empty() { "" } else { "a rival is faster in these cases: " };
    format!("{quick}{head}{lost}")
}

/// When, on what and of what the files are.
pub(super) fn list(all: &[Results]) -> String {
    let line = |results: &Results| {
        let machine = &results.machine;
        let versions: Vec<String> =
            results.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "- **{}**: {} cores, caches {}, memory {}, {}; commit {}, {}{}; {}\n",
            results.title(),
            machine.cores,
            machine.caches(),
            machine.memory,
            machine.system,
            results.commit,
            results.date,
            if results.quick { ", measured quickly" } else { "" },
            versions.join(", ")
        )
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;

    #[test]
    fn a_machine_is_a_column_with_the_fastest_rival() {
        let text = part_table(&[sample(), sample()], "batches");
        assert!(text.starts_with("| anchors x candidates x dim | Some CPU, avx2 | Some CPU, avx2 |\n"), "{text}");
        assert!(text.contains("| 256 x 256 x 256 | 100 us; gemm 0.50 x | 100 us; gemm 0.50 x |"), "{text}");
    }

    #[test]
    fn the_verdict_names_the_cases_that_are_lost() {
        let text = verdicts(&[sample()]);
        assert!(text.contains("batches 1 of 2 (worst 256 x 256 x 256: gemm 0.50 x)"), "{text}");
        let mut won = sample();
        won.measurements.retain(|measurement| measurement.ratio >= 1.0);
        assert!(verdicts(&[won]).contains("no rival is faster"));
    }

    #[test]
    fn bars_show_who_is_faster() {
        let rival = |ratio| Measurement { ratio, ..sample().measurements[1].clone() };
        assert!(bar("a", &rival(2.0)).ends_with("|████ 2.00 x gemm\n"));
        assert!(bar("a", &rival(0.5)).ends_with("    ████| 0.50 x gemm\n"));
        assert!(bar("a", &rival(1e6)).contains(&"█".repeat(20)));
    }
}
