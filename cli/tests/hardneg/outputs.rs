//! What happens to files that are there, to what is not a file, and to runs that end early.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use crate::common::{command, data, error, error_of, folder, hardneg, path, printed};

fn pairs() -> [String; 2] {
    ["plain_anchors.npy", "plain_positives.npy"].map(data)
}

/// The arguments of a run with two negatives for each of six queries.
fn mine<'a>(pairs: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
    [&["mine", &pairs[0], &pairs[1], "--paired", "--k", "2"], more].concat()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is_table(text: &str) -> bool {
    text.starts_with("query,rank,index,similarity\n") && text.lines().count() == 13
}

#[test]
fn the_standard_output_has_the_table_alone() {
    let pairs = pairs();
    let names = if cfg!(unix) { &["-", "/dev/stdout", "/dev/fd/1"][..] } else { &["-"] };
    for name in names {
        let output = hardneg(&mine(&pairs, &["--out", name]));
        assert!(output.status.success(), "{name}");
        assert!(is_table(&String::from_utf8_lossy(&output.stdout)), "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("queries: 6\n"), "{name}");
    }
    assert!(error(&mine(&pairs, &["--out", "-", "--jsonl", "-"])).contains("would be written over"));
    let output = hardneg(&["score", &pairs[0], &pairs[1], "--rows", "-"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("row,positive,"));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("rows: 6\n"));
}

#[test]
fn a_name_may_be_as_long_as_names_get() {
    let (folder, pairs) = (folder("long_names"), pairs());
    for length in [250, 255] {
        let name = path(&folder, &"x".repeat(length));
        fs::write(&name, "old").expect("the file system takes the name");
        printed(&mine(&pairs, &["--out", &name]));
        assert!(is_table(&fs::read_to_string(&name).expect("the table")));
    }
    assert_eq!(names(&folder).len(), 2);
}

#[test]
fn what_killed_runs_left_goes_with_the_next_run() {
    let (folder, pairs) = (folder("leftovers"), pairs());
    fs::write(folder.join(".hardneg-dead.tmp"), "half").expect("a file");
    let alive = File::create(folder.join(".hardneg-alive.tmp")).expect("a file");
    alive.lock().expect("a lock");
    printed(&mine(&pairs, &["--out", &path(&folder, "out.csv")]));
    assert_eq!(names(&folder), [".hardneg-alive.tmp", "out.csv"]);
}

#[test]
fn a_report_that_cannot_be_printed_loses_no_file() {
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let (folder, pairs) = (folder("no_report"), pairs());
    let table = path(&folder, "out.csv");
    let output = command().args(mine(&pairs, &["--out", &table])).stdout(full).output().expect("the binary runs");
    assert!(error_of(&output).contains("standard output: "));
    assert!(is_table(&fs::read_to_string(table).expect("the table")));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_written_takes_no_other_with_it() {
    let (folder, pairs) = (folder("one_is_full"), pairs());
    let [lines, prefix] = ["out.jsonl", "out"].map(|name| path(&folder, name));
    let full = hardneg(&mine(&pairs, &["--out", "/dev/full", "--npy", &prefix, "--jsonl", &lines]));
    assert!(error_of(&full).contains("/dev/full: "));
    assert!(String::from_utf8_lossy(&full.stdout).starts_with("queries: 6\n"));
    assert_eq!(names(&folder), ["out.jsonl", "out_indices.npy", "out_similarities.npy"]);
    assert_eq!(fs::read_to_string(&lines).expect("the lines").lines().count(), 6);
    let full = hardneg(&["score", &pairs[0], &pairs[1], "--rows", "/dev/full", "--gradients", &prefix]);
    assert!(error_of(&full).contains("/dev/full: "));
    assert!(String::from_utf8_lossy(&full.stdout).contains("\nloss: "));
    assert!(names(&folder).contains(&"out_positives.npy".to_owned()));
    // The standard error has one line, where the report would be.
    let device = File::options().write(true).open("/dev/full").expect("the device");
    let output = command().args(mine(&pairs, &["--out", "-"])).stdout(device).output().expect("the binary runs");
    assert!(error_of(&output).contains("-: "));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_for_the_help_too() {
    for arguments in [&["--help"][..], &["--version"], &["mine", "--help"], &["score", "--help"]] {
        let full = File::options().write(true).open("/dev/full").expect("the device");
        let output = command().args(arguments).stdout(full).output().expect("the binary runs");
        assert!(error_of(&output).contains("standard output: "), "{arguments:?}");
    }
}

#[cfg(unix)]
mod unix {
    use super::*;

    /// Runs a script of a shell in a folder, in which `$H` is the program and `$A` its two files; the standard output.
    fn shell(folder: &Path, script: &str) -> String {
        let output = std::process::Command::new("bash")
            .args(["-c", script])
            .current_dir(folder)
            .env("H", env!("CARGO_BIN_EXE_hardneg"))
            .env("A", pairs().join(" "))
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn descriptors_of_files_are_written_on() {
        let folder = folder("descriptors");
        for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            if !Path::new(name).exists() && name != "-" {
                continue;
            }
            let script = format!(
                "echo precious >log; $H mine $A --paired --k 2 --out {name} >>log 2>err && cat log; \
                 {{ echo one; $H mine $A --paired --k 2 --out {name} 2>err; echo two; }} >group; cat group"
            );
            let text = shell(&folder, &script);
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!((lines.len(), lines[0], lines[14], lines[28]), (29, "precious", "one", "two"), "{name}: {text}");
        }
        for name in ["/dev/fd/3", "/proc/self/fd/3"].into_iter().filter(|_| Path::new("/proc/self/fd").exists()) {
            let script = format!(
                "{{ echo one >&3; $H mine $A --paired --k 2 --out {name} >out; echo two >&3; }} 3>group; cat group"
            );
            let text = shell(&folder, &script);
            assert!(text.starts_with("one\nquery,") && text.ends_with("\ntwo\n"), "{name}: {text}");
            assert_eq!(text.lines().count(), 15, "{name}");
        }
        // Not open, or open to read.
        shell(&folder, "! $H mine $A --out /dev/fd/9 2>err; ! $H mine $A --out /dev/fd/7 7<log 2>>err");
        assert_eq!(fs::read_to_string(folder.join("err")).expect("messages").lines().count(), 2);
        // A link to a descriptor is one.
        let text = shell(&folder, "ln -s /dev/stdout link; $H mine $A --paired --k 2 --out link 2>err; test -L link");
        assert!(is_table(&text), "{text}");
    }

    #[test]
    fn a_reader_that_leaves_ends_the_run_quietly() {
        let folder = folder("readers");
        for name in ["-", "/dev/stdout", "/dev/fd/3"] {
            // Enough to fill a pipe many times.
            let script = format!(
                "$H mine {sample} {sample} --k 256 --out {name} 3>&1 2>err | head -1 >line; \
                 [[ ${{PIPESTATUS[0]}} = 0 ]] && ! grep -q hardneg: err",
                sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/anchors.npy"),
            );
            shell(&folder, &script);
        }
        shell(&folder, "$H --help | head -1; [[ ${PIPESTATUS[0]} = 0 ]]");
    }

    #[test]
    fn a_pipe_with_a_name_waits_for_its_reader() {
        let folder = folder("pipes");
        let text = shell(&folder, "mkfifo pipe; cat pipe & $H mine $A --paired --k 2 --out pipe >out; wait");
        assert!(is_table(&text), "{text}");
        // And nobody waits where there is nothing to write.
        shell(&folder, "! timeout 10 $H mine missing.npy missing.npy --out pipe 2>err; grep -q missing.npy err");
    }

    /// Waits until the program is at work and has its temporary file, sends a signal, and returns what is there then.
    fn interrupted(folder: &Path, before: &str, signal: &str) -> (Option<i32>, Vec<String>) {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/anchors.npy");
        let table = path(folder, "out.csv");
        let script = format!("{before} exec \"$0\" mine {sample} {sample} --repeat 1000000 --out {table}");
        let mut run = std::process::Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_hardneg")])
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        while names(folder).iter().all(|name| !name.ends_with(".tmp")) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        let kill = |signal: &str| {
            let kill = std::process::Command::new("kill").args([signal, &run.id().to_string()]).status();
            assert!(kill.expect("kill").success());
        };
        kill(signal);
        if before.contains("trap") {
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(names(folder).iter().any(|name| name.ends_with(".tmp")), "the signal is ignored");
            kill("-KILL");
        }
        let status = run.wait().expect("an end");
        (std::os::unix::process::ExitStatusExt::signal(&status), names(folder))
    }

    #[test]
    fn interrupts_leave_the_old_file_alone() {
        for (name, number) in [("-HUP", 1), ("-INT", 2), ("-TERM", 15)] {
            let folder = folder(&format!("interrupted{name}"));
            fs::write(folder.join("out.csv"), "old").expect("a file");
            let (signal, names) = interrupted(&folder, "", name);
            assert_eq!((signal, &names[..]), (Some(number), &["out.csv".to_owned()][..]), "{name}");
            assert_eq!(fs::read(folder.join("out.csv")).expect("the old file"), b"old");
        }
    }

    /// Whenever it is: while it reads, computes, writes and renames.
    #[test]
    fn a_killed_run_leaves_the_old_file_or_the_new_one() {
        let folder = folder("killed");
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/anchors.npy");
        let table = path(&folder, "out.csv");
        let arguments = ["mine", sample, sample, "--k", "256", "--out", &table];
        let start = std::time::Instant::now();
        printed(&arguments);
        let (time, new) = (start.elapsed(), fs::read(&table).expect("the table"));
        let (mut old_ones, mut new_ones) = (0, 0);
        for twelfth in 1..=15 {
            fs::write(&table, "old").expect("a file");
            let mut run = command().args(arguments).stdout(Stdio::null()).spawn().expect("the binary runs");
            std::thread::sleep(time * twelfth / 12);
            run.kill().expect("a signal");
            run.wait().expect("an end");
            let left = fs::read(&table).expect("a file");
            old_ones += usize::from(left == b"old");
            new_ones += usize::from(left == new);
        }
        assert_eq!(old_ones + new_ones, 15);
        printed(&arguments);
        assert_eq!(names(&folder), ["out.csv"]);
    }

    /// As with `nohup`.
    #[test]
    fn ignored_signals_stay_ignored() {
        let folder = folder("ignored");
        let (signal, left) = interrupted(&folder, "trap '' HUP;", "-HUP");
        assert_eq!((signal, left.len()), (Some(9), 1));
        printed(&mine(&pairs(), &["--out", &path(&folder, "out.csv")]));
        assert_eq!(names(&folder), ["out.csv"]);
    }

    /// A file that cannot be renamed onto is written in place; what cannot be written stays beside it, and is named.
    #[test]
    fn a_mount_is_written_in_place() {
        let folder = folder("mount");
        let mount = "echo old >host.csv; echo old >out.csv; mount --bind host.csv out.csv";
        let script =
            format!("{mount} && $H mine $A --paired --k 2 --out out.csv >report && ls -A >names && cat out.csv");
        let run = std::process::Command::new("unshare")
            .args(["-m", "bash", "-c", &script])
            .current_dir(&folder)
            .env("H", env!("CARGO_BIN_EXE_hardneg"))
            .env("A", pairs().join(" "))
            .output();
        let is_allowed = std::process::Command::new("unshare")
            .args(["-m", "bash", "-c", mount])
            .current_dir(&folder)
            .output()
            .is_ok_and(|output| output.status.success());
        if !is_allowed {
            eprintln!("SKIPPED: no namespaces of mounts for this user");
            return;
        }
        let run = run.expect("unshare");
        assert!(is_table(&String::from_utf8_lossy(&run.stdout)), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(fs::read_to_string(folder.join("names")).expect("names"), "host.csv\nnames\nout.csv\nreport\n");
    }

    #[test]
    fn a_full_disk_leaves_the_old_file() {
        let folder = folder("full");
        let script = "mkdir small && mount -t tmpfs -o size=64k none small || exit 77; echo old >small/out.csv; \
                      $H mine $S $S --k 100 --out small/out.csv >report 2>err; echo $?; ls -A small; cat small/out.csv";
        let run = std::process::Command::new("unshare")
            .args(["-m", "bash", "-c", script])
            .current_dir(&folder)
            .env("H", env!("CARGO_BIN_EXE_hardneg"))
            .env("S", concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/anchors.npy"))
            .output();
        let Some(run) = run.ok().filter(|run| run.status.success()) else {
            eprintln!("SKIPPED: no namespaces of mounts for this user");
            return;
        };
        assert_eq!(String::from_utf8_lossy(&run.stdout), "2\nout.csv\nold\n");
        let message = fs::read_to_string(folder.join("err")).expect("a message");
        assert!(
            message.starts_with("hardneg: small/out.csv: No space left") && message.lines().count() == 1,
            "{message}"
        );
    }

    #[test]
    fn what_cannot_be_put_in_place_is_kept_and_named() {
        let folder = folder("kept");
        let script = "mkdir small && mount -t tmpfs -o size=8k none small && echo old >small/host.csv && \
                      dd if=/dev/zero of=small/fill bs=4k count=1 2>/dev/null; echo old >out.csv; \
                      mount --bind small/host.csv out.csv || exit 77; \
                      $H mine $S $S --k 100 --out out.csv >report 2>err; echo $?";
        let run = std::process::Command::new("unshare")
            .args(["-m", "bash", "-c", script])
            .current_dir(&folder)
            .env("H", env!("CARGO_BIN_EXE_hardneg"))
            .env("S", concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/anchors.npy"))
            .output();
        let Some(run) = run.ok().filter(|run| run.status.success()) else {
            eprintln!("SKIPPED: no namespaces of mounts for this user");
            return;
        };
        assert_eq!(String::from_utf8_lossy(&run.stdout), "2\n");
        let message = fs::read_to_string(folder.join("err")).expect("a message");
        let kept = message.trim().rsplit(' ').next().expect("a name").to_owned();
        let mut text = String::new();
        File::open(folder.join(&kept)).expect(&message).read_to_string(&mut text).expect("the table");
        assert_eq!(text.lines().count(), 25_601, "{message}");
        // It is not cleared away.
        printed(&mine(&pairs(), &["--out", &path(&folder, "other.csv")]));
        assert!(folder.join(&kept).exists());
    }
}
