//! The machine, and the versions of what is measured on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::common::all_threads;

/// What the times depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub cpu: String,
    /// That the process may use.
    pub cores: usize,
    /// Of the first core, each with its size.
    pub caches: BTreeMap<String, String>,
    pub memory: String,
    pub system: String,
}

impl Machine {
    pub(crate) fn detect() -> Machine {
        Machine {
            cpu: cpu().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: all_threads(),
            caches: caches(),
            memory: memory().unwrap_or_else(|| "unknown".to_owned()),
            system: format!("{} {}", std::env::consts::OS, first_line("uname", &["-r"]).unwrap_or_default()),
        }
    }

    /// The sizes of the caches in one line.
    pub(crate) fn caches(&self) -> String {
        let caches: Vec<String> = self.caches.iter().map(|(name, size)| format!("{name} {size}")).collect();
        if caches.is_empty() { "unknown".to_owned() } else { caches.join(", ") }
    }
}

fn cpu() -> Option<String> {
    let Some(name) = line_of("/proc/cpuinfo", "model name") else {
        return first_line("sysctl", &["-n", "machdep.cpu.brand_string"]);
    };
    // A name like "AMD EPYC" is that of several generations.
    let number = |key| line_of("/proc/cpuinfo", key);
    match (number("cpu family"), number("model\t")) {
        (Some(family), Some(model)) => Some(format!("{name} (family {family}, model {model})")),
        _ => Some(name),
    }
}

/// The size of the memory.
fn memory() -> Option<String> {
    let kibibytes: f64 = line_of("/proc/meminfo", "MemTotal")?.split(' ').next()?.parse().ok()?;
    Some(format!("{:.0} GiB", kibibytes / (1 << 20) as f64))
}

fn caches() -> BTreeMap<String, String> {
    let read = |index: usize, name: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
        Some(fs::read_to_string(path).ok()?.trim().to_owned())
    };
    let cache = |index: usize| {
        let kind = match read(index, "type")?.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        Some((format!("L{}{kind}", read(index, "level")?), read(index, "size")?))
    };
    (0..8).filter_map(cache).collect()
}

/// The value of the first line of a file that begins with a key.
fn line_of(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line that a program prints.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(if folder.exists() { folder } else { Path::new(".") }).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// The commit of the sources.
pub(crate) fn commit() -> String {
    first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"]).unwrap_or_else(|| "unknown".to_owned())
}

/// The time in UTC.
pub(crate) fn date() -> String {
    first_line("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_else(|| "unknown".to_owned())
}

/// Of the compiler, and of the packages that are measured.
pub(crate) fn versions() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let compiler = first_line("rustc", &["--version"]);
    let version = compiler.as_deref().and_then(|line| line.split(' ').nth(1)).unwrap_or("unknown");
    versions.insert("rustc".to_owned(), version.to_owned());
    for name in ["hardneg", "gemm"] {
        let printed = first_line("cargo", &["pkgid", "--offline", "--package", name]);
        let version = printed.and_then(|id| Some(id.rsplit_once(['@', '#'])?.1.to_owned()));
        versions.insert(name.to_owned(), version.unwrap_or_else(|| "unknown".to_owned()));
    }
    versions
}
