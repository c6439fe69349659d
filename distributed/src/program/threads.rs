//! The threads of each rank.

use hardneg::Threads;

/// `threads` threads, or one, for the calls of this process; and how many there are.
#[cfg(feature = "rayon")]
pub(crate) fn start(threads: Option<u16>) -> Result<(Threads, usize), String> {
    let count = usize::from(threads.unwrap_or(1));
    if count == 1 {
        return Ok((Threads::Serial, 1));
    }
    // The global pool, as the thread that calls MPI is none of a pool's.
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(count).build_global().map_err(|error| error.to_string());
    match hardneg_cli::pool::check_room(count).and_then(|()| pool()) {
        Ok(()) => Ok((Threads::Rayon, count)),
        Err(error) => Err(format!("--threads {count}: {error}")),
    }
}

/// One thread: there are no others without rayon.
#[cfg(not(feature = "rayon"))]
pub(crate) fn start(threads: Option<u16>) -> Result<(Threads, usize), String> {
    match threads.unwrap_or(1) {
        1 => Ok((Threads::Serial, 1)),
        threads => Err(format!("--threads {threads}: this was built without the feature `rayon`")),
    }
}
