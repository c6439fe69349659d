//! Contenders in Python: each library in a process of its own, which is given the rows and the right answers as files,
//! checks what it computes, and then takes turns with this crate.

mod worker;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hardneg::{Bank, Batch, Miner, MiningBatch, Negatives, Neighbour, Positives, Workspace};
use serde_json::json;

use crate::common::{Call, OwnedBatch, Turns};
use crate::contest::{OURS, measurement};
use crate::inputs::Input;
use crate::npy;
use crate::parts::{K, Rule, Training, WITH_GRADIENTS, paired};
use crate::results::{Measurement, Role, rounded};
use crate::row::Row;
use crate::setting::Setting;
use crate::shapes::{self, Case};
use worker::Worker;

/// The modules in benches/peers.
const MODULES: [&str; 5] = ["with_numpy", "with_torch", "with_faiss", "with_usearch", "with_sentence_transformers"];

/// The one that has no switch for the instruction set.
const WITHOUT_SWITCH: &str = "with_usearch";

/// How long the runs of a turn take together, in seconds.
const TURN: f64 = 0.15;
/// The most runs of a turn.
const MOST: usize = 2000;
/// A run that takes longer, in seconds, takes part in three rounds only.
const SLOW: f64 = 0.5;
/// The seconds below which calls are timed several together: reading the clock takes some 20 ns.
const CLOCKED: f64 = 2e-5;

/// What kind of job the rows are for, with what a library has to know of it.
struct Job<'a> {
    kind: &'a str,
    /// The anchors of a call that is timed, where there are more.
    count: usize,
    rule: Rule,
}

/// The processes that were started.
pub(crate) struct Peers {
    python: Option<PathBuf>,
    /// Whether they are to leave out AVX-512.
    narrowed: bool,
    workers: Option<Vec<Worker>>,
    folder: PathBuf,
    pub versions: BTreeMap<String, String>,
    pub missing: BTreeMap<String, String>,
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.workers = None;
        _ = fs::remove_dir_all(&self.folder);
    }
}

impl Peers {
    pub(crate) fn new(python: Option<&Path>, narrowed: bool) -> Peers {
        let folder = std::env::temp_dir().join(format!("hardneg-compare-{}", std::process::id()));
        let (versions, missing) = (BTreeMap::new(), BTreeMap::new());
        Peers { python: python.map(Path::to_owned), narrowed, workers: None, folder, versions, missing }
    }

    /// Whether they take part in a case.
    pub(crate) fn join(&self, part: &str, case: &Case) -> bool {
        let shared = || shapes::labels(part, "peers").contains(&case.label);
        self.python.is_some() && (case.is("your data") || shared())
    }

    /// The loss of a batch, with gradients too where others have them.
    pub(crate) fn loss(
        &mut self,
        setting: &Setting,
        part: &'static str,
        case: &Case,
        input: &Input,
    ) -> Result<Vec<Measurement>, String> {
        if !self.join(part, case) {
            return Ok(Vec::new());
        }
        // The rule of the lab's code, which the others follow.
        let (pairs, plan) = (&input.sets[0], setting.plan().negatives(Negatives::AtOrBelow));
        self.write_rows(pairs)?;
        let mut workspace = Workspace::new();
        let forward = plan.forward(pairs.batch(), &mut workspace).map_err(|error| error.to_string())?;
        let losses: Vec<f32> = forward.row_stats().iter().map(|row| Row::from(row).loss() as f32).collect();
        let closest: Vec<i64> = forward.row_stats().iter().map(index_of).collect();
        self.write_floats("losses", &losses, 0)?;
        self.write_indices("closest", &closest, 0)?;
        self.write_nearest(setting, pairs.batch())?;
        let mut training = Training::new(plan, case, pairs);
        training.run(pairs);
        self.write_floats("gradient_anchors", &training.by_anchors, pairs.dim)?;
        self.write_floats("gradient_candidates", &training.by_candidates, pairs.dim)?;
        let ours: [(&str, Call<'_>); 2] = [
            (OURS, Box::new(|| _ = plan.forward(pairs.batch(), &mut workspace).map(|forward| forward.loss()))),
            (WITH_GRADIENTS, Box::new(|| training.run(pairs))),
        ];
        self.compete(setting, part, case, Job { kind: "loss", count: case.rows, rule: Rule::Nothing }, ours.into())
    }

    /// Searches among candidates that were prepared before.
    pub(crate) fn bank(
        &mut self,
        setting: &Setting,
        part: &'static str,
        case: &Case,
        rows: &OwnedBatch,
        bank: &Bank<'_>,
    ) -> Result<Vec<Measurement>, String> {
        if !self.join(part, case) {
            return Ok(Vec::new());
        }
        let all = Batch::against(&rows.anchors, bank, Positives::Identity).map_err(|error| error.to_string())?;
        let some = &rows.anchors[..case.rows * rows.dim];
        let some = Batch::against(some, bank, Positives::Identity).map_err(|error| error.to_string())?;
        self.write_rows(rows)?;
        self.write_nearest(setting, all)?;
        let (plan, mut workspace) = (setting.plan().negatives(Negatives::Any), Workspace::new());
        let call: Call<'_> = Box::new(|| _ = plan.forward(some, &mut workspace).map(|forward| forward.loss()));
        let job = Job { kind: "bank", count: case.rows, rule: Rule::Nothing };
        self.compete(setting, part, case, job, vec![(OURS, call)])
    }

    /// Mining of a corpus.
    pub(crate) fn mining(
        &mut self,
        setting: &Setting,
        part: &'static str,
        case: &Case,
        rows: &OwnedBatch,
        (miner, found): (&Miner, &[Vec<Neighbour>]),
    ) -> Result<Vec<Measurement>, String> {
        if !self.join(part, case) {
            return Ok(Vec::new());
        }
        self.write_rows(rows)?;
        let places = found.iter().flat_map(|list| (0..K).map(|place| list.get(place)));
        let indices: Vec<i64> = places.map(|found| found.map_or(-1, |found| found.index as i64)).collect();
        self.write_indices("found", &indices, K)?;
        let batch = paired(MiningBatch::new(&rows.anchors, &rows.candidates, rows.dim))?;
        let mut workspace = Workspace::new();
        let call: Call<'_> = Box::new(|| _ = miner.mine(batch, &mut workspace).map(|mined| mined.found()));
        let job = Job { kind: "mining", count: case.rows, rule: Rule::of(case) };
        self.compete(setting, part, case, job, vec![(OURS, call)])
    }

    fn write_rows(&mut self, rows: &OwnedBatch) -> Result<(), String> {
        fs::create_dir_all(&self.folder).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.write_floats("anchors", &rows.anchors, rows.dim)?;
        self.write_floats("candidates", &rows.candidates, rows.dim)
    }

    /// The most similar candidate of each anchor other than its positive.
    fn write_nearest(&mut self, setting: &Setting, batch: Batch<'_>) -> Result<(), String> {
        let (plan, mut workspace) = (setting.plan().negatives(Negatives::Any), Workspace::new());
        let forward = plan.forward(batch, &mut workspace).map_err(|error| error.to_string())?;
        self.write_indices("nearest", &forward.row_stats().iter().map(index_of).collect::<Vec<i64>>(), 0)
    }

    fn write_floats(&self, name: &str, values: &[f32], columns: usize) -> Result<(), String> {
        npy::write(&self.path(name), "<f4", values.iter().map(|value| value.to_le_bytes()), columns)
    }

    fn write_indices(&self, name: &str, values: &[i64], columns: usize) -> Result<(), String> {
        npy::write(&self.path(name), "<i8", values.iter().map(|value| value.to_le_bytes()), columns)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("npy")
    }

    /// Opens the case everywhere, and measures in turns.
    fn compete(
        &mut self,
        setting: &Setting,
        part: &'static str,
        case: &Case,
        job: Job<'_>,
        ours: Vec<(&'static str, Call<'_>)>,
    ) -> Result<Vec<Measurement>, String> {
        let (rule, value) = job.rule.keyword();
        let folder = self.folder.display().to_string();
        let request = json!({
            "open": job.kind, "folder": folder, "count": job.count, "k": K, "rule": rule, "value": value,
        });
        let mut runners: Vec<Runner<'_>> =
            ours.into_iter().map(|(name, call)| Runner::new(name, Way::Ours(call))).collect();
        let python = self.python.as_deref().unwrap_or(Path::new("python3"));
        let workers = self
            .workers
            .get_or_insert_with(|| MODULES.iter().map(|module| Worker::new(python, module, self.narrowed)).collect());
        for (index, worker) in workers.iter_mut().enumerate() {
            if self.narrowed && MODULES[index] == WITHOUT_SWITCH {
                self.missing.insert("usearch".to_owned(), "it cannot be told to leave out AVX-512".to_owned());
                continue;
            }
            let opened = match worker.open(&request) {
                Ok(opened) => opened,
                Err(error) => {
                    self.missing.insert(MODULES[index].replace("with_", ""), error);
                    continue;
                }
            };
            let (name, version) = opened.version.split_once(' ').unwrap_or((&opened.version, ""));
            self.versions.insert(name.to_owned(), version.to_owned());
            self.missing.extend(opened.missing.into_iter().map(|(name, why)| (format!("{name}, {}", case.label), why)));
            for (name, differing) in opened.jobs {
                let way = Way::Theirs { worker: index, memory: job.kind == "mining" };
                runners.push(Runner { differing, ..Runner::new(&name, way) });
            }
        }
        let turns = take_turns(&mut runners, workers, setting)?;
        Ok(finish(part, case, runners, &turns))
    }
}

/// A contender's index of the closest negative, -1 where there is none.
fn index_of(row: &hardneg::RowStats) -> i64 {
    row.closest_negative().map_or(-1, |closest| closest.index() as i64)
}

enum Way<'a> {
    Ours(Call<'a>),
    Theirs { worker: usize, memory: bool },
}

/// A contender with how often it runs in a turn.
struct Runner<'a> {
    name: String,
    way: Way<'a>,
    differing: BTreeMap<String, u64>,
    memory: Option<u64>,
    times: usize,
    is_slow: bool,
}

impl<'a> Runner<'a> {
    fn new(name: &str, way: Way<'a>) -> Runner<'a> {
        Runner { name: name.to_owned(), way, differing: BTreeMap::new(), memory: None, times: 1, is_slow: false }
    }

    /// The median time of some runs.
    fn seconds(&mut self, workers: &mut [Worker], times: usize) -> Result<f64, String> {
        match &mut self.way {
            Way::Ours(call) => Ok(median_of(call, times)),
            Way::Theirs { worker, memory } => {
                let ran = workers[*worker].run(&self.name, times, *memory)?;
                self.memory = self.memory.max(ran.memory);
                Ok(ran.seconds)
            }
        }
    }
}

/// The median time of some calls, after one that warms the caches.
fn median_of(call: &mut Call<'_>, times: usize) -> f64 {
    let mut seconds = |together: usize| {
        let start = Instant::now();
        (0..together).for_each(|_| call());
        start.elapsed().as_secs_f64() / together as f64
    };
    let together = (CLOCKED / seconds(1)).ceil() as usize;
    let mut times: Vec<f64> = (0..times).map(|_| seconds(together)).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn take_turns(runners: &mut [Runner<'_>], workers: &mut [Worker], setting: &Setting) -> Result<Turns, String> {
    let (turn, rounds) = setting.effort(TURN);
    for runner in runners.iter_mut() {
        let once = runner.seconds(workers, 1)?;
        runner.times = ((turn / once) as usize).clamp(1, MOST);
        runner.is_slow = once > SLOW;
    }
    let mut times = vec![Vec::new(); runners.len()];
    for round in 0..rounds {
        for place in 0..runners.len() {
            let index = (place + round) % runners.len();
            let takes_part = !runners[index].is_slow || round < 3;
            let repeat = runners[index].times;
            times[index].push(takes_part.then(|| runners[index].seconds(workers, repeat)).transpose()?);
        }
    }
    Ok(Turns::of_some(times))
}

/// The lines of the others. Passes with gradients are compared with this crate's.
fn finish(part: &str, case: &Case, runners: Vec<Runner<'_>>, turns: &Turns) -> Vec<Measurement> {
    let mut measurements = Vec::new();
    for (index, runner) in runners.into_iter().enumerate() {
        if matches!(runner.way, Way::Ours(_)) {
            continue;
        }
        let base = usize::from(runner.name.ends_with(", with gradients"));
        measurements.push(Measurement {
            median: rounded(turns.time(index)),
            spread: rounded(turns.spread(index)),
            ratio: rounded(turns.ratio(index, base)),
            memory: runner.memory,
            differing: runner.differing,
            ..measurement(part, case, &runner.name, Role::Rival, 1)
        });
    }
    measurements
}
