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
    /// `threads` threads, or one for each core; where the system has none to give and nobody asked for them, the calling
    /// one.
    #[cfg(feature = "rayon")]
    pub(crate) fn new(threads: Option<u16>) -> Result<Pool, String> {
        let build = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        match threads {
            Some(1) => Ok(Pool::Serial),
            Some(threads) => {
                build(threads.into()).map(Pool::Rayon).map_err(|error| format!("--threads {threads}: {error}"))
            }
            // Rayon takes 0 for the number of cores.
            None => Ok(build(0).map_or(Pool::Serial, Pool::Rayon)),
        }
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
