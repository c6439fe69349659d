//! Where the calls run: on this thread, or in a rayon pool of the size that was asked for.

use hardneg::Threads;

/// The threads of all calls.
pub(crate) enum Pool {
    /// The calling thread.
    Serial,
    /// Several threads.
    #[cfg(feature = "rayon")]
    Rayon(rayon::ThreadPool),
}

impl Pool {
    /// `threads` threads, or one for each core.
    #[cfg(feature = "rayon")]
    pub(crate) fn new(threads: Option<u16>) -> Result<Pool, String> {
        // Rayon takes 0 for the number of cores.
        let threads = usize::from(threads.unwrap_or(0));
        if threads == 1 {
            return Ok(Pool::Serial);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map(Pool::Rayon).map_err(|error| format!("--threads {threads}: {error}"))
    }

    /// One thread: there are no others without rayon.
    #[cfg(not(feature = "rayon"))]
    pub(crate) fn new(threads: Option<u16>) -> Result<Pool, String> {
        match threads.unwrap_or(1) {
            1 => Ok(Pool::Serial),
            threads => Err(format!("--threads {threads}: this was built without the feature `rayon`")),
        }
    }

    /// The option of the library that makes a call run here.
    pub(crate) fn threads(&self) -> Threads {
        match self {
            Pool::Serial => Threads::Serial,
            #[cfg(feature = "rayon")]
            Pool::Rayon(_) => Threads::Rayon,
        }
    }

    /// How many threads there are.
    pub(crate) fn size(&self) -> usize {
        match self {
            Pool::Serial => 1,
            #[cfg(feature = "rayon")]
            Pool::Rayon(pool) => pool.current_num_threads(),
        }
    }

    /// Runs `work` here.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Pool::Serial => work(),
            #[cfg(feature = "rayon")]
            Pool::Rayon(pool) => pool.install(work),
        }
    }
}
