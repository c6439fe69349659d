//! What outlives a call: workspaces, and a pool of threads for each number of threads.
//!
//! Both locks are taken by threads that hold the GIL, and for a moment: a thread that forks holds it, too, so that no
//! other thread has a lock that the child would wait for.

use std::collections::HashMap;
use std::mem;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hardneg::{Threads, Workspace};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Workspaces that no call uses. The last one that was given back is taken first, as it is the likeliest in a cache.
static WORKSPACES: Mutex<Vec<Workspace>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The threads that a call runs on.
pub(crate) struct Resources {
    pool: Option<Arc<ThreadPool>>,
}

impl Resources {
    /// Those of a call on `threads` threads.
    pub(crate) fn new(_: Python<'_>, threads: i64) -> PyResult<Resources> {
        let wrong = || PyValueError::new_err(format!("threads: expected at least 1, got {threads}"));
        match usize::try_from(threads).map_err(|_| wrong())? {
            0 => Err(wrong()),
            1 => Ok(Resources { pool: None }),
            threads => Ok(Resources { pool: pool_of(threads) }),
        }
    }

    /// What the crate is told of the threads.
    pub(crate) fn threads(&self) -> Threads {
        if self.pool.is_some() { Threads::Rayon } else { Threads::Serial }
    }

    /// Runs `work` on a thread of the pool, if there is one.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// [`Resources::install`] without the GIL.
    pub(crate) fn run<T: Send>(&self, py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
        py.detach(|| self.install(work))
    }

    /// [`Resources::run`] with a workspace.
    pub(crate) fn run_with_workspace<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Workspace) -> T + Send,
    ) -> T {
        with_workspace(py, |workspace| self.install(|| work(workspace)))
    }
}

/// Runs `work` without the GIL on the calling thread, with a workspace, which goes back for the next call.
pub(crate) fn with_workspace<T: Send>(py: Python<'_>, work: impl FnOnce(&mut Workspace) -> T + Send) -> T {
    let mut workspace = lock(&WORKSPACES).pop().unwrap_or_default();
    let result = py.detach(|| work(&mut workspace));
    lock(&WORKSPACES).push(workspace);
    result
}

/// The pools of this process.
#[derive(Default)]
struct Pools {
    process: u32,
    of_threads: HashMap<usize, Arc<ThreadPool>>,
}

/// The pool of so many threads, made at its first use; `None` where the system refuses the threads.
fn pool_of(threads: usize) -> Option<Arc<ThreadPool>> {
    static POOLS: Mutex<Option<Pools>> = Mutex::new(None);
    let mut pools = lock(&POOLS);
    let pools = pools.get_or_insert_default();
    if pools.process != process::id() {
        // The threads of the parent are not in a forked child: pools that are dropped would wait for them.
        mem::forget(mem::take(&mut pools.of_threads));
        pools.process = process::id();
    }
    if let Some(pool) = pools.of_threads.get(&threads) {
        return Some(Arc::clone(pool));
    }
    let name = |index| format!("hardneg-{index}");
    let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().ok()?);
    pools.of_threads.insert(threads, Arc::clone(&pool));
    Some(pool)
}
