//! Nothing reads or writes past a row: every slice is handed over with a page right behind it, and then with a page
//! right before it, that the operating system lets nobody touch.
#![cfg(unix)]

mod common;

use std::ptr;
use std::slice;

use common::{
    ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, Pairing, Random, assert_forward, assert_loss, assert_rows, bank_ways,
    bits, ways,
};
use hardneg::{
    Backend, Batch, Exclusions, Gradients, Negatives, Positives, Reduction, Screen, SimilarityMatrix, TripletLoss,
    Workspace, reference,
};

/// On which side of a slice the inaccessible page lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Guard {
    Before,
    Behind,
}

const BOTH: [Guard; 2] = [Guard::Before, Guard::Behind];

/// A slice between two inaccessible pages that touches one of them.
struct Guarded<T> {
    /// The whole mapping: a page, the memory of the slice, a page.
    mapping: *mut u8,
    mapped: usize,
    start: *mut T,
    length: usize,
}

impl<T: Copy> Guarded<T> {
    /// A copy of `values`.
    fn new(guard: Guard, values: &[T]) -> Guarded<T> {
        let page = page();
        let bytes = size_of_val(values);
        let inner = bytes.next_multiple_of(page).max(page);
        let mapped = inner + 2 * page;
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping, wherever the system has room for it, touches nothing that exists.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), mapped, access, flags, -1, 0) };
        assert_ne!(mapping, libc::MAP_FAILED, "no memory");
        let mapping = mapping.cast::<u8>();
        for edge in [mapping, mapping.wrapping_add(page + inner)] {
            // SAFETY: the page belongs to the mapping, and nothing else knows of it.
            assert_eq!(unsafe { libc::mprotect(edge.cast(), page, libc::PROT_NONE) }, 0);
        }
        let offset = if guard == Guard::Before { 0 } else { inner - bytes };
        let start = mapping.wrapping_add(page + offset).cast::<T>();
        assert!(start.is_aligned(), "elements divide a page");
        // SAFETY: `start` is aligned and is followed by `bytes` writable bytes within the mapping; a new mapping
        // overlaps no slice.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), start, values.len()) };
        Guarded { mapping, mapped, start, length: values.len() }
    }

    fn get(&self) -> &[T] {
        // SAFETY: `start` is aligned and is followed by `length` elements, which `new` wrote; `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }

    fn get_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `get`, and `self` is borrowed for nobody else.
        unsafe { slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and every borrow of it has ended.
        assert_eq!(unsafe { libc::munmap(self.mapping.cast(), self.mapped) }, 0);
    }
}

/// The size of a page.
fn page() -> usize {
    // SAFETY: the call only reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a page has a size")
}

/// Set in the child processes that are to die.
const CHILD: &str = "HARDNEG_TOUCH_THE_GUARD";

/// The guard works: touching it kills a process, which therefore is another one.
#[test]
fn a_touched_guard_kills() {
    if let Ok(guard) = std::env::var(CHILD) {
        let guard = if guard == "Before" { Guard::Before } else { Guard::Behind };
        let guarded = Guarded::new(guard, &[1.0_f32; 5]);
        let offset = if guard == Guard::Before { -1 } else { 5 };
        // SAFETY: none; this read is what the guard has to stop, and it ends the process.
        let beyond = unsafe { guarded.start.wrapping_offset(offset).read_volatile() };
        println!("read {beyond}");
        std::process::exit(0);
    }
    for guard in BOTH {
        let program = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new(program);
        child.args(["--exact", "a_touched_guard_kills", "--nocapture"]).env(CHILD, format!("{guard:?}"));
        let output = child.output().unwrap();
        assert!(!output.status.success(), "{guard:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Shapes around registers, tiles, panels and blocks, and one that is divided over threads.
const SHAPES: [(usize, usize, usize); 16] = [
    (1, 2, 1),
    (2, 3, 5),
    (3, 5, 7),
    (4, 8, 8),
    (5, 7, 15),
    (6, 33, 2),
    (18, 65, 6),
    (7, 9, 17),
    (8, 16, 16),
    (9, 24, 33),
    (15, 25, 31),
    (16, 48, 64),
    (17, 49, 63),
    (95, 97, 9),
    (97, 193, 4),
    (130, 400, 67),
];

#[test]
fn forward() {
    let mut workspace = Workspace::new();
    for (turn, (rows, candidates, dim)) in SHAPES.into_iter().enumerate() {
        let data = ALL_DATA[turn % ALL_DATA.len()];
        let OwnedBatch { anchors, candidates: others, .. } = data.batch(turn as u64, rows, candidates, dim);
        let indices: Vec<usize> = (0..rows).map(|row| candidates - 1 - row).collect();
        for guard in BOTH {
            let (a, c) = (Guarded::new(guard, &anchors), Guarded::new(guard, &others));
            let indices = Guarded::new(guard, &indices);
            let batch = Batch::new(a.get(), c.get(), dim, Positives::Indices(indices.get())).unwrap();
            for negatives in ALL_NEGATIVES {
                let expected = reference::forward(batch, 0.25, negatives, Reduction::Sum).unwrap();
                for (way, plan) in ways(TripletLoss::new().negatives(negatives)) {
                    let what = format!("{data:?} {rows} x {candidates} x {dim}, {guard:?}, {way}");
                    assert_forward(&expected, &plan.forward(batch, &mut workspace).unwrap(), &what);
                }
            }
        }
    }
}

/// A bank reads borrowed rows, and the anchors of calls, no further than they go.
#[test]
fn a_bank_of_borrowed_rows() {
    let mut workspace = Workspace::new();
    for (turn, (rows, candidates, dim)) in SHAPES.into_iter().enumerate() {
        let data = ALL_DATA[turn % ALL_DATA.len()];
        let OwnedBatch { anchors, candidates: others, .. } = data.batch(turn as u64, rows, candidates, dim);
        for guard in BOTH {
            let (a, c) = (Guarded::new(guard, &anchors), Guarded::new(guard, &others));
            let raw = Batch::new(a.get(), c.get(), dim, Positives::Identity).unwrap();
            let expected = reference::forward(raw, 0.25, Negatives::Any, Reduction::Sum).unwrap();
            for (way, options) in bank_ways() {
                let bank = options.build(c.get(), dim).unwrap();
                let batch = Batch::against(a.get(), &bank, Positives::Identity).unwrap();
                let plan = TripletLoss::new().negatives(Negatives::Any);
                let what = format!("{data:?} {rows} x {candidates} x {dim}, {guard:?}, {way}");
                assert_forward(&expected, &plan.forward(batch, &mut workspace).unwrap(), &what);
            }
        }
    }
}

/// An error is found without a look at what lies beyond, wherever the bad element is.
#[test]
fn forward_of_rows_that_are_not_finite() {
    let OwnedBatch { anchors: a, candidates: c, .. } = Data::Random.batch(1, 9, 25, 17);
    for bad in [0, 8 * 17 + 16] {
        let mut spoiled = a.clone();
        spoiled[bad] = f32::NAN;
        for guard in BOTH {
            let (a, c) = (Guarded::new(guard, &spoiled), Guarded::new(guard, &c));
            let batch = Batch::new(a.get(), c.get(), 17, Positives::Offset(16)).unwrap();
            for backend in Backend::available() {
                for screen in Screen::all() {
                    let plan = TripletLoss::new().backend(backend).screen(screen);
                    assert!(plan.forward(batch, &mut Workspace::new()).is_err());
                }
            }
        }
    }
}

#[test]
fn kernels_at_every_length() {
    for length in (1..=70).chain([127, 128, 129, 1023, 1024, 1025]) {
        let OwnedBatch { anchors: x, candidates: y, .. } = Data::Random.batch(length as u64, 1, 1, length);
        let unit = bits(&reference::normalize(&x));
        for guard in BOTH {
            let (x, y) = (Guarded::new(guard, &x), Guarded::new(guard, &y));
            let mut output = Guarded::new(guard, &vec![7.0; length]);
            let (x, y) = (x.get(), y.get());
            for backend in Backend::available() {
                let what = format!("{length}, {guard:?}, {backend}");
                assert_eq!(backend.dot(x, y).unwrap().to_bits(), reference::dot(x, y).to_bits(), "{what}");
                assert_eq!(backend.norm(x).unwrap().to_bits(), reference::norm(x).to_bits(), "{what}");
                let cosine = backend.cosine_similarity(x, y).unwrap();
                assert_eq!(cosine.to_bits(), reference::cosine_similarity(x, y).to_bits(), "{what}");
                backend.normalize_into(x, output.get_mut()).unwrap();
                assert_eq!(unit, bits(output.get()), "{what}");
            }
        }
    }
}

#[test]
fn similarity_matrices() {
    for (turn, (rows, candidates, dim)) in SHAPES.into_iter().enumerate() {
        let OwnedBatch { anchors: a, candidates: c, .. } = Data::Random.batch(turn as u64, rows, candidates, dim);
        let expected = bits(&reference::similarity_matrix(&a, &c, dim));
        for guard in BOTH {
            let (a, c) = (Guarded::new(guard, &a), Guarded::new(guard, &c));
            let mut output = Guarded::new(guard, &vec![7.0; rows * candidates]);
            for backend in Backend::available() {
                output.get_mut().fill(7.0);
                backend.similarity_matrix_into(a.get(), c.get(), dim, output.get_mut()).unwrap();
                assert!(expected == bits(output.get()), "{rows} x {candidates} x {dim}, {guard:?}, {backend}");
            }
        }
    }
}

/// Labels, lists and positives of their own.
#[test]
fn exclusions() {
    let mut workspace = Workspace::new();
    for (turn, (rows, candidates, dim)) in SHAPES.into_iter().enumerate() {
        let mut input = ALL_DATA[turn % ALL_DATA.len()].batch(turn as u64, 2 * rows, candidates, dim);
        let positives = input.anchors.split_off(rows * dim);
        let labels: Vec<u64> = (0..candidates.max(rows)).map(|row| (row % 5) as u64).collect();
        let indices: Vec<usize> = (0..rows).flat_map(|row| [candidates - 1, row % candidates]).collect();
        let offsets: Vec<usize> = (0..=rows).map(|row| 2 * row).collect();
        let input = input.with(Pairing::Outside(positives));
        let plain = input.batch();
        for guard in BOTH {
            let Pairing::Outside(positives) = &input.pairing else { unreachable!() };
            let rows_of = [&input.anchors, &input.candidates, positives].map(|rows| Guarded::new(guard, rows));
            let [a, c, p] = &rows_of;
            let [of_anchors, of_candidates] = [rows, candidates].map(|rows| Guarded::new(guard, &labels[..rows]));
            let (offsets, indices) = (Guarded::new(guard, &offsets), Guarded::new(guard, &indices));
            let by_labels = Exclusions::Labels { anchors: of_anchors.get(), candidates: of_candidates.get() };
            let by_lists = Exclusions::Lists { offsets: offsets.get(), indices: indices.get() };
            for exclusions in [Exclusions::None, by_labels, by_lists] {
                let expected = plain.excluding(exclusions).unwrap();
                let stats = reference::row_stats(expected, Negatives::Below).unwrap();
                let gradients = reference::gradients(expected, &stats, 0.25, &vec![1.0; rows]);
                let batch = Batch::new(a.get(), c.get(), dim, Positives::Outside(p.get())).unwrap();
                let batch = batch.excluding(exclusions).unwrap();
                for (way, plan) in ways(TripletLoss::new()) {
                    let [mut a, mut c, mut p] =
                        gradients.each_ref().map(|rows| Guarded::new(guard, &vec![7.5; rows.len()]));
                    let buffers = Gradients::new(a.get_mut(), c.get_mut()).positives(p.get_mut());
                    let forward = plan.forward_backward(batch, buffers, &mut workspace).unwrap();
                    assert_rows(&stats, forward.row_stats(), &way);
                    for (expected, actual) in gradients.iter().zip([&a, &c, &p]) {
                        assert_eq!(bits(expected), bits(actual.get()), "{way}");
                    }
                }
            }
        }
    }
}

#[test]
fn mining_from_similarities() {
    let mut workspace = Workspace::new();
    for (rows, candidates, _) in SHAPES {
        let matrix = Random(rows as u64).rows(rows, candidates);
        let indices: Vec<usize> = (0..rows).map(|row| candidates - 1 - row).collect();
        let plain = SimilarityMatrix::new(&matrix, rows, candidates, Positives::Indices(&indices)).unwrap();
        let expected = reference::row_stats_from_similarities(plain, Negatives::Below);
        for guard in BOTH {
            let (matrix, indices) = (Guarded::new(guard, &matrix), Guarded::new(guard, &indices));
            let positives = Positives::Indices(indices.get());
            let matrix = SimilarityMatrix::new(matrix.get(), rows, candidates, positives).unwrap();
            let forward = TripletLoss::new().forward_from_similarities(matrix, &mut workspace).unwrap();
            let what = format!("{rows} x {candidates}, {guard:?}");
            assert_rows(&expected, forward.row_stats(), &what);
            assert_loss(&reference::loss(&expected, 0.25, Reduction::Sum), &forward.loss(), &what);
        }
    }
}

#[test]
fn gradients() {
    let mut workspace = Workspace::new();
    for (turn, (rows, candidates, dim)) in SHAPES.into_iter().enumerate() {
        let data = ALL_DATA[turn % ALL_DATA.len()];
        let OwnedBatch { anchors: a, candidates: c, .. } = data.batch(turn as u64, rows, candidates, dim);
        let weights = Random(turn as u64).rows(1, rows);
        for guard in BOTH {
            let (a, c, weights) = (Guarded::new(guard, &a), Guarded::new(guard, &c), Guarded::new(guard, &weights));
            let batch = Batch::new(a.get(), c.get(), dim, Positives::Identity).unwrap();
            let mut expected = None;
            for backend in Backend::available() {
                let mut by_anchors = Guarded::new(guard, &vec![7.0; rows * dim]);
                let mut by_candidates = Guarded::new(guard, &vec![7.0; candidates * dim]);
                let gradients = Gradients::new(by_anchors.get_mut(), by_candidates.get_mut()).weights(weights.get());
                let plan = TripletLoss::new().margin(1.0).backend(backend);
                let _ = plan.forward_backward(batch, gradients, &mut workspace).unwrap();
                let actual = [bits(by_anchors.get()), bits(by_candidates.get())];
                let what = format!("{rows} x {candidates} x {dim}, {guard:?}, {backend}");
                assert!(*expected.get_or_insert_with(|| actual.clone()) == actual, "{what}");
            }
        }
    }
}
