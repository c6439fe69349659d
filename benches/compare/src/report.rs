//! Measures parts case by case, and says how far it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::args::Options;
use crate::machine::{self, Machine};
use crate::parts::Part;
use crate::results::{FORMAT, Measurement, Results};
use crate::setting::Setting;
use crate::shapes::Case;
use crate::tables;

/// Where the report goes if nothing else is said.
pub(crate) const FOLDER: &str = "target/report";

/// Seconds that a case takes beyond its measurement: inputs, checks; and with contenders in Python.
const AROUND: f64 = 1.5;
const AROUND_PEERS: f64 = 12.0;

/// Measures parts, and prints or writes what comes of it.
pub(crate) fn run(options: &Options, parts: &[&Part], out: Option<&Path>) -> Result<(), String> {
    if cfg!(debug_assertions) && !options.test {
        return Err("built without optimisation: cargo run --release -p hardneg-compare".to_owned());
    }
    let setting = Setting::new(options)?;
    let results = measure(&setting, parts)?;
    match out {
        Some(folder) => write(folder, &results),
        None => {
            for part in parts {
                println!("\n{}\n\n{}", part.title, tables::part_text(&results, part.name));
            }
            Ok(())
        }
    }
}

fn measure(setting: &Setting, parts: &[&Part]) -> Result<Results, String> {
    let mut cases: Vec<(&Part, Case)> = Vec::new();
    for &part in parts {
        cases.extend((part.cases)(setting)?.into_iter().map(|case| (part, case)));
    }
    let expected = |(part, case): &(&Part, Case)| {
        let peers = if setting.peers.borrow().join(part.name, case) { AROUND_PEERS } else { 0.0 };
        setting.effort(part.seconds).0 + AROUND + peers
    };
    let (start, mut done, mut measurements) = (Instant::now(), 0.0, Vec::new());
    let all: f64 = cases.iter().map(expected).sum();
    for (index, (part, case)) in cases.iter().enumerate() {
        // What was expected of the cases so far turned out to be more or less.
        let pace = if done == 0.0 { 1.0 } else { start.elapsed().as_secs_f64() / done };
        let left = (all - done) * pace;
        eprintln!("[{:>3}/{}] {}: {}; {} left", index + 1, cases.len(), part.name, case.label, minutes(left));
        measurements.extend((part.measure)(setting, case)?);
        done += expected(&cases[index]);
    }
    Ok(results(setting, measurements))
}

fn minutes(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

fn results(setting: &Setting, measurements: Vec<Measurement>) -> Results {
    let (mut versions, peers) = (machine::versions(), setting.peers.borrow());
    versions.extend(peers.versions.clone());
    Results {
        format: FORMAT,
        machine: Machine::detect(),
        backend: setting.backend.name().to_owned(),
        date: machine::date(),
        commit: machine::commit(),
        quick: setting.quick || setting.test,
        versions,
        missing: peers.missing.clone(),
        measurements,
    }
}

/// Writes the file, the report and its plots.
fn write(folder: &Path, results: &Results) -> Result<(), String> {
    let report = tables::report(results, "");
    let mut files: Vec<(PathBuf, String)> =
        vec![(folder.join("results.json"), results.to_json()?), (folder.join("report.md"), report.text)];
    files.extend(report.plots.into_iter().map(|(name, svg)| (folder.join(name), svg)));
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (path, text) in files {
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("Written: {}", folder.join("report.md").display());
    Ok(())
}
