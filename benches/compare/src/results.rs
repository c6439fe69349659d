//! What was measured, as it stands in results.json: the machine, and a line for each contender of each case.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// The version of the file's format.
pub(crate) const FORMAT: u32 = 1;

/// What a contender is to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// This crate; the first one of a case is what the others are compared with.
    Ours,
    /// Another program with the same job, or a part of it.
    Rival,
    /// What the machine does at most, scaled to the work of the case.
    Ceiling,
}

/// The time of a contender in a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub part: String,
    pub case: String,
    pub contender: String,
    pub role: Role,
    pub threads: usize,
    /// Seconds of a call.
    pub median: f64,
    /// Seconds; where calls were timed one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// The range of the middle half of the times, as a share of the median.
    pub spread: f64,
    /// The time as a multiple of this crate's on as many threads, from measurements in turns.
    pub ratio: f64,
    /// Bytes beyond the inputs at the peak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// How the answers differ from the right ones: so many rows of each kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differing: BTreeMap<String, u64>,
}

/// A machine's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub format: u32,
    pub machine: Machine,
    /// The instruction set that was measured.
    pub backend: String,
    /// In UTC.
    pub date: String,
    /// Of this repository; with "-dirty" where files were changed.
    pub commit: String,
    /// Whether only some cases were measured, each for a short time.
    pub quick: bool,
    /// Of this crate, the compiler and the rivals.
    pub versions: BTreeMap<String, String>,
    /// Contenders that did not take part, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
    pub measurements: Vec<Measurement>,
}

impl Results {
    pub(crate) fn read(path: &Path) -> Result<Results, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let results = Results::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(results)
    }

    fn from_json(text: &str) -> Result<Results, String> {
        let results: Results = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if results.format != FORMAT {
            return Err(format!("format {}, not {FORMAT}: measure anew", results.format));
        }
        Ok(results)
    }

    /// The text of the file: a line for each measurement, so that a difference of two files is one of lines.
    pub(crate) fn to_json(&self) -> Result<String, String> {
        let text = |value: &Results| serde_json::to_string_pretty(value).map_err(|error| error.to_string());
        let head = text(&Results { measurements: Vec::new(), ..self.clone() })?;
        let lines: Result<Vec<String>, _> = self.measurements.iter().map(serde_json::to_string).collect();
        let lines = lines.map_err(|error| error.to_string())?.join(",\n    ");
        Ok(head.replace("\"measurements\": []", &format!("\"measurements\": [\n    {lines}\n  ]")) + "\n")
    }

    /// The measurements of a part.
    pub(crate) fn of<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a Measurement> {
        self.measurements.iter().filter(move |measurement| measurement.part == part)
    }

    /// What machine and instruction set this is, as the head of a column.
    pub(crate) fn title(&self) -> String {
        format!("{}, {}", self.machine.cpu, self.backend)
    }
}

/// A number with five digits that count: more are noise.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small file.
    pub(crate) fn sample() -> Results {
        let line = |case: &str, contender: &str, role, median, ratio| Measurement {
            part: "batches".to_owned(),
            case: case.to_owned(),
            contender: contender.to_owned(),
            role,
            threads: 1,
            median,
            p99: None,
            spread: 0.02,
            ratio,
            memory: Some(1536),
            differing: BTreeMap::new(),
        };
        let [large, small] = ["4096 x 4096 x 768", "256 x 256 x 256"];
        let measurements = vec![
            line(small, "hardneg", Role::Ours, 1e-4, 1.0),
            line(small, "gemm", Role::Rival, 5e-5, 0.5),
            line(large, "hardneg", Role::Ours, 3e-2, 1.0),
            line(large, "hardneg, screen i16", Role::Ours, 6e-2, 2.0),
            line(large, "hardneg, screen i8", Role::Ours, 2.97e-2, 0.99),
            line(large, "gemm", Role::Rival, 9.9e-2, 3.3),
            line(large, "ndarray", Role::Rival, 1.2e-1, 4.0),
            line(large, "f32 multiply-adds", Role::Ceiling, 9e-2, 3.0),
        ];
        Results {
            format: FORMAT,
            machine: Machine { cpu: "Some CPU".to_owned(), ..Machine::default() },
            backend: "avx2".to_owned(),
            date: "2026-01-02T03:04:05Z".to_owned(),
            commit: "0123abc".to_owned(),
            quick: false,
            versions: BTreeMap::from([("hardneg".to_owned(), "0.1.0".to_owned())]),
            missing: BTreeMap::new(),
            measurements,
        }
    }

    #[test]
    fn a_file_that_was_written_is_read_as_it_was() {
        let results = sample();
        let text = results.to_json().expect("numbers and text");
        assert_eq!(text.lines().filter(|line| line.contains("contender")).count(), results.measurements.len());
        assert_eq!(Results::from_json(&text), Ok(results));
    }

    #[test]
    fn a_file_of_another_format_is_refused() {
        let text = Results { format: FORMAT + 1, ..sample() }.to_json().expect("numbers and text");
        assert!(Results::from_json(&text).is_err_and(|error| error.contains("format")));
        assert!(Results::from_json("{}").is_err());
    }

    #[test]
    fn five_digits_are_kept() {
        assert_eq!([rounded(1.234567e-7), rounded(98765.4321), rounded(0.0)], [1.2346e-7, 98765.0, 0.0]);
    }
}
