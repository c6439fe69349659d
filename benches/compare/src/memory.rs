//! How much memory a contender needs at once: an allocator that knows how much is live.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::ThreadPoolBuilder;

/// The system's allocator, which knows how many bytes are live, and the most that ever were.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::SeqCst) + bytes;
    PEAK.fetch_max(live, Ordering::SeqCst);
}

fn remove(bytes: usize) {
    LIVE.fetch_sub(bytes, Ordering::SeqCst);
}

// SAFETY: every call is passed on to the system's allocator with the arguments that it came with; counting touches
// nothing but two integers. `realloc` and `alloc_zeroed` are the default ones, which call `alloc` and `dealloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`; `pointer` came from the system's allocator, as all do.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `work` returns, and the bytes that it holds at once at most, beyond what it found.
///
/// It runs in a pool of its own, so that buffers which a library keeps for each thread are counted for each contender.
pub(crate) fn peak_of<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> (T, usize) {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    pool.broadcast(|_| ()); // All threads have started, with what they allocate for themselves.
    pool.install(|| {
        let before = LIVE.load(Ordering::SeqCst);
        PEAK.store(before, Ordering::SeqCst);
        let result = work();
        (result, PEAK.load(Ordering::SeqCst) - before)
    })
}
