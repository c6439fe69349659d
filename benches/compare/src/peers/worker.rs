//! A library's process, which answers requests line by line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a library says of a case.
#[derive(Deserialize)]
pub(super) struct Opened {
    pub version: String,
    /// How the answers of each job differ.
    pub jobs: BTreeMap<String, BTreeMap<String, u64>>,
    /// Why a job does not take part.
    pub missing: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct Ran {
    pub seconds: f64,
    pub memory: Option<u64>,
}

pub(super) struct Worker {
    process: Result<Process, String>,
}

struct Process {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.requests = None; // Without more requests it ends by itself.
        _ = self.child.wait();
    }
}

impl Worker {
    /// Starts the process, on one thread; where it cannot be started, each request says so.
    pub(super) fn new(python: &Path, module: &str, narrowed: bool) -> Worker {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/worker.py");
        let mut command = Command::new(python);
        command.args([script, module, "1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        for library in ["OMP", "MKL", "OPENBLAS"] {
            command.env(format!("{library}_NUM_THREADS"), "1");
        }
        command.env_remove("OPENBLAS_CORETYPE").env("PYTHONDONTWRITEBYTECODE", "1");
        if narrowed {
            // Each library has its own switch.
            for (name, value) in [
                ("OPENBLAS_CORETYPE", "HASWELL"),
                ("NPY_DISABLE_CPU_FEATURES", "X86_V4 AVX512_ICL AVX512_SPR"),
                ("ATEN_CPU_CAPABILITY", "avx2"),
                ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
                ("ONEDNN_MAX_CPU_ISA", "AVX2"),
                ("FAISS_OPT_LEVEL", "AVX2"),
                ("FAISS_SIMD_LEVEL", "AVX2"),
            ] {
                command.env(name, value);
            }
        }
        let process = command.spawn().map_err(|error| format!("{}: {error}", python.display()));
        Worker { process: process.map(Process::new) }
    }

    pub(super) fn open(&mut self, request: &Value) -> Result<Opened, String> {
        self.ask(request)
    }

    pub(super) fn run(&mut self, name: &str, times: usize, memory: bool) -> Result<Ran, String> {
        self.ask(&json!({ "run": name, "times": times, "memory": memory }))
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T, String> {
        let process = self.process.as_mut().map_err(|error| error.clone())?;
        let answer = process.ask(request).map_err(|error| format!("its process ended: {error}"))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|_| "its process ended".to_owned())?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            return Err(error.to_owned());
        }
        serde_json::from_value(answer).map_err(|error| error.to_string())
    }
}

impl Process {
    fn new(mut child: Child) -> Process {
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it was piped"));
        Process { child, requests, answers }
    }

    fn ask(&mut self, request: &Value) -> std::io::Result<String> {
        let requests = self.requests.as_mut().expect("it was piped");
        writeln!(requests, "{request}")?;
        requests.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer)
    }
}
