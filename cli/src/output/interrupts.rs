//! Temporary files go away when a run is interrupted.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The temporary files that there are.
static STAGED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Changes files and the list of temporary ones together: an interrupt comes before or after it.
pub(super) fn with_staged<T>(change: impl FnOnce(&mut Vec<PathBuf>) -> T) -> T {
    #[cfg(unix)]
    signals::watch();
    change(&mut STAGED.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(unix)]
mod signals {
    use std::fs;
    use std::sync::{Once, PoisonError, mpsc};
    use std::thread;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    use super::STAGED;

    /// Waits from now on, in a thread, for the signals that interrupt a run. Where there is no thread to be had,
    /// signals end the run as they do anyway, and the next run clears away what is left.
    pub(super) fn watch() {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            let (ready, is_ready) = mpsc::channel();
            let wait = move || {
                let signals = Signals::new(heeded());
                let _ = ready.send(());
                signals.into_iter().for_each(|mut signals| signals.forever().for_each(end));
            };
            if thread::Builder::new().name("signals".to_owned()).spawn(wait).is_ok() {
                let _ = is_ready.recv();
            }
        });
    }

    /// The signals that end this process: not those which whoever started it, `nohup` for one, had it ignore.
    fn heeded() -> Vec<i32> {
        let ignored = ignored();
        [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0).collect()
    }

    /// The ignored signals as bits, from signal 1 on. Where the system does not tell, the one that `nohup` has ignored.
    fn ignored() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(1 << (SIGHUP - 1))
    }

    /// Removes the temporary files, and lets the signal do what it would have done.
    fn end(signal: i32) {
        let mut staged = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
        for path in staged.drain(..) {
            let _ = fs::remove_file(path);
        }
        // While nothing can be staged anew.
        let _ = emulate_default_handler(signal);
    }
}
