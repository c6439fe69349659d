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
        match threads {
            Some(1) => Ok(Pool::Serial),
            Some(threads) => build(threads.into()).map_err(|error| format!("--threads {threads}: {error}")),
            None => Ok(build(usual_threads()).unwrap_or(Pool::Serial)),
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

/// The address space of a thread: its stack, and what the system and the allocator keep for it.
const THREAD_SPACE: usize = 9 << 18;

/// Fails where there is no room for so many threads. Rust ends the process where a thread that has started finds no
/// memory for the stack of its signal handlers, so that the room is sought before any thread starts.
pub fn check_room(threads: usize) -> Result<(), String> {
    let room = Vec::<u8>::new().try_reserve_exact(threads.saturating_mul(THREAD_SPACE));
    room.map_err(|_| "no memory for their stacks".to_owned())
}

/// A pool, where there is room for its threads.
#[cfg(feature = "rayon")]
fn build(threads: usize) -> Result<Pool, String> {
    check_room(threads)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map(Pool::Rayon).map_err(|error| error.to_string())
}

/// As many threads as rayon takes by itself: what its variable of the environment says, or one for each core.
#[cfg(feature = "rayon")]
fn usual_threads() -> usize {
    let said = std::env::var("RAYON_NUM_THREADS").ok().and_then(|number| number.parse().ok());
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    said.filter(|&number| number > 0).unwrap_or_else(cores)
}
