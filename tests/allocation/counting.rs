//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts what the calling thread asks of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Allocations of this thread. Tests run side by side, and each looks at its own.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Where the allocations of this thread are counted as well, together with those of other threads.
    pub(crate) static SHARED: Cell<Option<&'static AtomicUsize>> = const { Cell::new(None) };
}

fn count() {
    // The counters need neither an allocation nor a destructor, so that they may be used in here at any time.
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
    if let Some(shared) = SHARED.get() {
        shared.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on to the system's allocator with the arguments that it came with; counting touches
// nothing but an integer of the calling thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same there.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`; `pointer` came from the system's allocator, as all do.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; `pointer` came from the system's allocator, as all do.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often `call` asks for memory on this thread.
pub(crate) fn allocations<T>(call: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    black_box(call());
    ALLOCATIONS.get() - before
}
