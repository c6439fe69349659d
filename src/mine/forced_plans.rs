//! Every path of a call, forced by its plan, against the reference, with shapes on both sides of every crossover.

use super::division::{ROW_UNIT, block_len};
use super::*;
use crate::BankOptions;
use crate::common::{ALL_DATA, ALL_NEGATIVES, Data, OwnedBatch, Pairing, Random, assert_rows};
use crate::excluded::ExclusionMemory;
use crate::kernels::{Format, MOST_FEW, MOST_SEEKING, MOST_SIMILAR};
use crate::reference;
use crate::rows::Shape;
use crate::screen::Methods;

/// Up to how many rows on both sides, and on one, a backend computes all pairs exactly in one pass.
fn exact_limits(backend: Backend) -> [usize; 2] {
    let costs = backend.traits().costs;
    [costs.exact_square, costs.exact_few]
}

/// A limit, one less and one more.
fn around(limit: usize) -> [usize; 3] {
    [limit - 1, limit, limit + 1]
}

/// The methods of a call that is screened in one way: in each format alone, in all of them one after the other, and in
/// none, block by block.
fn ways_to_screen() -> [Methods; 5] {
    let [int8, int16, float32] = [Format::Int8, Format::Int16, Format::Float32].map(Methods::screen);
    let all = Methods::range(Method::Screen(Format::Int8), Method::Exact);
    [int8, int16, float32, Methods::only(Method::Exact), all]
}

/// The plan for these methods.
fn screened(backend: Backend, shape: Shape, methods: Methods) -> ScreenPlan {
    // With the memory for integers.
    ScreenPlan { is_direct: false, is_unpacked: false, methods, ..Screen::I8.plan(backend, shape) }
}

/// The plan for one pass over the candidates.
fn direct(backend: Backend, shape: Shape) -> ScreenPlan {
    let methods = Methods::only(Method::Exact);
    ScreenPlan { is_direct: true, is_unpacked: false, methods, ..Screen::Off.plan(backend, shape) }
}

/// The statistics of a batch by a plan, on a thread or on several.
fn stats(
    negatives: Negatives,
    batch: Batch<'_>,
    backend: Backend,
    screens: ScreenPlan,
    join: Join,
    memory: &mut MineMemory,
) -> Vec<RowStats> {
    let division = Division::of(batch.sides().shape(), join.threads());
    let call = Call { backend, join, sides: batch.sides(), bank: batch.bank(), screens, division };
    let mut exclusions = ExclusionMemory::default();
    let sorted = exclusions.sort((batch.rows(), batch.candidates()), batch.positives(), batch.exclusions()).unwrap();
    join.enter(|| mine_batch(&call, negatives, &batch, &sorted, memory)).unwrap();
    memory.stats(batch.rows()).to_vec()
}

/// Panics unless every path gives the statistics of the reference.
fn check(owned: &OwnedBatch, backend: Backend, memory: &mut MineMemory, what: &str) {
    let batch = owned.batch();
    let shape = batch.sides().shape();
    let kept = [Screen::I8, Screen::I16, Screen::F32];
    let bank = BankOptions::new().backend(backend).screens(&kept).build(&owned.candidates[..], owned.dim).unwrap();
    let against = Batch::against(&owned.anchors, &bank, owned.pairing.positives()).unwrap();
    let against = against.excluding(owned.excluding.exclusions()).unwrap();
    for negatives in ALL_NEGATIVES {
        let expected = reference::row_stats(batch, negatives).unwrap();
        let mut check = |way: &str, batch: Batch<'_>, screens: ScreenPlan, join: Join| {
            let actual = stats(negatives, batch, backend, screens, join, memory);
            assert_rows(&expected, &actual, &format!("{what}, {backend}, {negatives}, {way}, {screens:?}, {join:?}"));
        };
        for join in [Join::Serial, Threads::Rayon.join(f64::INFINITY)] {
            let exact = direct(backend, shape);
            check("one pass", batch, exact, join);
            let float = Methods::screen(Format::Float32);
            for methods in [float, float.with(Method::Exact)] {
                check("one pass unpacked", batch, ScreenPlan { is_unpacked: true, methods, ..exact }, join);
            }
        }
        for methods in ways_to_screen() {
            check("raw rows", batch, screened(backend, shape, methods), Join::Serial);
            check("a bank", against, screened(backend, shape, methods), Join::Serial);
        }
    }
}

/// A batch of this shape, of another kind each turn; every third one with positives that are no candidates.
fn batch(turn: usize, shape: Shape) -> (OwnedBatch, String) {
    let Shape { anchors, candidates, dim } = shape;
    let data: Data = ALL_DATA[turn % ALL_DATA.len()];
    let (batch, mut random) = (data.batch(turn as u64, anchors, candidates, dim), Random(turn as u64));
    let pairing = match turn % 3 {
        0 => Pairing::Outside(data.rows(&mut random, anchors, dim)),
        _ => Pairing::random(&mut random, anchors, candidates),
    };
    (batch.with(pairing), format!("{data:?} {anchors} x {candidates} x {dim}"))
}

/// As many rows on both sides as one kernel takes whole, and more, of every kind.
#[test]
fn every_path_of_a_few_rows() {
    let mut memory = MineMemory::default();
    for backend in Backend::available() {
        for turn in 0..3 * ALL_DATA.len() {
            let (rows, dim) = (2 + turn % MOST_FEW, [7, 16, 33, 100][turn % 4]);
            let (owned, what) = batch(turn, Shape { anchors: rows, candidates: rows, dim });
            check(&owned, backend, &mut memory, &what);
        }
    }
}

#[test]
fn every_path_around_the_end_of_the_exact_pass() {
    let mut memory = MineMemory::default();
    for backend in Backend::available() {
        let [square, few] = exact_limits(backend);
        // The group of candidates that are in the cache at once is 48 at most.
        let squares = around(square).map(|rows| (rows, rows));
        let fews = around(few).map(|rows| (rows, 150));
        let groups = around(48).map(|candidates| (few, candidates));
        for (turn, (anchors, candidates)) in squares.into_iter().chain(fews).chain(groups).enumerate() {
            let (owned, what) = batch(turn, Shape { anchors, candidates, dim: 5 + 7 * turn });
            check(&owned, backend, &mut memory, &what);
        }
    }
}

/// The statistics of a batch by the plan that a call has, and what it counts.
fn mined(batch: Batch<'_>, plan: MinePlan, memory: &mut MineMemory) -> (Vec<RowStats>, Screening) {
    let mut exclusions = ExclusionMemory::default();
    let sorted = exclusions.sort((batch.rows(), batch.candidates()), batch.positives(), batch.exclusions()).unwrap();
    let mined = mine(plan, &batch, &sorted, memory).unwrap();
    (memory.stats(batch.rows()).to_vec(), mined.screening)
}

/// Batches around the most pairs for each row that are screened without packing, around the most candidates, the
/// anchors of a block and the shortest rows.
fn around_unpacked(backend: Backend) -> Vec<Shape> {
    let square = 2 * backend.traits().costs.unpacked_pairs;
    let squares = [32, 40].map(|dim| (square - 1..=square + 1).map(move |rows| (rows, rows, dim)));
    let few = around(MOST_SIMILAR).map(|candidates| (3, candidates, 37));
    let blocks = around(MOST_SEEKING).map(|anchors| (anchors, 40, 48));
    let lengths = around(32).map(|dim| (10, 12, dim));
    let shapes = squares.into_iter().flatten().chain(few).chain(blocks).chain(lengths);
    shapes.map(|(anchors, candidates, dim)| Shape { anchors, candidates, dim }).collect()
}

#[test]
fn every_way_around_the_screen_of_small_batches() {
    let mut memory = MineMemory::default();
    for backend in Backend::available() {
        for (turn, shape) in around_unpacked(backend).into_iter().enumerate() {
            for turn in [turn, turn + 3] {
                let (owned, what) = batch(turn, shape);
                for negatives in ALL_NEGATIVES {
                    let expected = reference::row_stats(owned.batch(), negatives).unwrap();
                    for screen in [Screen::Auto, Screen::F32, Screen::Off] {
                        let plan = MinePlan { negatives, backend, screen, threads: Threads::Serial };
                        let (actual, _) = mined(owned.batch(), plan, &mut memory);
                        assert_rows(&expected, &actual, &format!("{what}, {backend}, {negatives}, {screen}"));
                    }
                }
            }
        }
    }
}

/// Whether a call packs rows, screens them in `f32`, and computes tiles.
fn ways(counts: Screening) -> [bool; 3] {
    [counts.packed_rows, counts.f32_pairs, counts.tile_pairs].map(|count| count > 0)
}

/// Small batches are screened without packing, up to where the constants say; all rows of one kind, as long as few pairs
/// are left, and where many are in exact tiles after the first block.
#[test]
fn small_batches_are_screened_without_packing() {
    let mut memory = MineMemory::default();
    for backend in Backend::available() {
        let mut counts = |screen: Screen, owned: &OwnedBatch| {
            let plan = MinePlan { negatives: Negatives::Below, backend, screen, threads: Threads::Serial };
            mined(owned.batch(), plan, &mut memory).1
        };
        let most = 2 * backend.traits().costs.unpacked_pairs;
        let random = |rows, candidates, dim| ALL_DATA[0].batch(1, rows, candidates, dim).with(Pairing::Identity);
        let unpacked = [
            (Screen::Auto, random(most, most, 33)),
            (Screen::Auto, random(10, MOST_SIMILAR, 33)),
            (Screen::F32, random(most + 1, most + 1, 33)),
        ];
        for (screen, owned) in &unpacked {
            assert_eq!(ways(counts(*screen, owned)), [false, true, false], "{backend}, {screen}, {}", owned.rows());
        }
        let few = backend.traits().costs.unpacked_few;
        let found = ways(counts(Screen::Auto, &random(few, 2 * MOST_SIMILAR + 7, 33)));
        assert_eq!(found, [false, true, false], "{backend}, {few} anchors");
        for (rows, candidates) in [(most + 1, most + 1), (few + 1, MOST_SIMILAR + 1)] {
            let [is_packed, ..] = ways(counts(Screen::Auto, &random(rows, candidates, 33)));
            assert!(is_packed, "{backend}, {rows} x {candidates}");
        }
        assert_eq!(ways(counts(Screen::Auto, &random(9, 10, 31))), [false, false, true], "{backend}, short rows");
        let alike = OwnedBatch { anchors: vec![1.0; 40 * 33], candidates: vec![0.5; 40 * 33], ..random(40, 40, 33) };
        assert_eq!(ways(counts(Screen::F32, &alike)), [false, true, false], "{backend}, alike");
        let found = counts(Screen::Auto, &alike);
        assert_eq!((found.f32_pairs, found.tile_pairs), (MOST_SEEKING * 40, 40 * 40), "{backend}, alike");
        // Norms whose products with others are out of range.
        let mut tiny = random(20, 20, 33);
        tiny.candidates[..33].iter_mut().for_each(|value| *value *= 1e-30);
        assert_eq!(ways(counts(Screen::F32, &tiny)), [false, false, true], "{backend}, a tiny row");
    }
}

/// Rows of 32 elements and more are widened where there are enough pairs for each: 48 of a side at a time at most, fewer
/// where they are long.
#[test]
fn every_path_around_the_parts_of_widened_rows() {
    let mut memory = MineMemory::default();
    let lengths = around(32).map(|dim| (21, 50, dim));
    let parts = [(25, 97, 48), (97, 12, 37), (13, 80, 700), (40, 14, 1900)];
    for backend in Backend::available() {
        // Square batches have half as many pairs for each row as rows on a side.
        let squares = around(2 * backend.traits().costs.widened_pairs).map(|rows| (rows, rows, 35));
        for (turn, (anchors, candidates, dim)) in squares.into_iter().chain(lengths).chain(parts).enumerate() {
            let (owned, what) = batch(turn, Shape { anchors, candidates, dim });
            check(&owned, backend, &mut memory, &what);
        }
    }
}

/// Blocks whose last tile has any number of rows, and memory for rows of a single word.
#[test]
fn every_path_around_the_ends_of_blocks() {
    let mut memory = MineMemory::default();
    for backend in Backend::available() {
        for (turn, anchors) in [5, 6, 7, 15, 16, 17, 33, 50, 80, 95, 96, 97].into_iter().enumerate() {
            let (owned, what) = batch(turn, Shape { anchors, candidates: 35, dim: [1, 2, 9][turn % 3] });
            check(&owned, backend, &mut memory, &what);
        }
    }
}

/// The memory of a block has room for whole tiles of every format.
#[test]
fn blocks_have_room_for_whole_tiles() {
    for backend in Backend::available() {
        for (rows, dim) in (1..=200).flat_map(|rows| [1, 2, 3, 128, 700, 5000, 70_000].map(|dim| (rows, dim))) {
            let Division { block_rows, .. } = Division::of(Shape { anchors: rows, candidates: rows, dim }, 1);
            for format in [Format::Int8, Format::Int16, Format::Float32] {
                let (block, tile) = (rows.min(block_rows), format.tile_anchors(backend));
                let words = block.next_multiple_of(ROW_UNIT).next_multiple_of(tile) * format.steps(dim);
                assert!(words <= block_len(rows, dim).1, "{backend}, {format:?}, {rows} rows of {dim}");
            }
        }
    }
}

/// Fewer anchors than decide about a sample, and more than enough for integers.
const ANCHORS: usize = 100;

/// The candidates and the lengths of their rows below and at each crossover between formats, and the formats in which
/// batches of [`ANCHORS`] begin there.
type Crossover = ([(usize, usize); 2], [Format; 2]);

fn crossovers_of(backend: Backend) -> Vec<Crossover> {
    let costs = backend.traits().costs;
    let (fast_i16, fast_i8) = (costs.fast_i16, costs.fast_i8);
    let float = Format::Float32;
    let Method::Screen(fastest) = Screen::kept_by_default(backend).first() else { panic!("a bank keeps a screen") };
    // Rows that have as many elements as the constant says, and one row less.
    let at_elements = |elements: usize| {
        let dim = (costs.integer_dim..).find(|&dim| elements.is_multiple_of(dim)).expect("a divisor");
        [(elements / dim - 1, dim), (elements / dim, dim)]
    };
    let at_rows = |rows: usize, elements: usize| {
        let dim = elements.div_ceil(rows - 1);
        [(rows - 1, dim), (rows, dim)]
    };
    let at_dim = [(1 << 11, costs.integer_dim - 1), (1 << 11, costs.integer_dim)];
    let small = if fast_i8 && fast_i16 { Format::Int16 } else { fastest };
    let mut crossovers = vec![(at_dim, [float, fastest]), (at_elements(costs.integer_elements), [float, small])];
    if costs.integer_pairs > 0 {
        let rows = (costs.integer_pairs * ANCHORS).div_ceil(ANCHORS - costs.integer_pairs);
        let dim = costs.integer_elements.div_ceil(ANCHORS);
        crossovers.push(([(rows - 1, dim), (rows, dim)], [float, small]));
        let dim = costs.integer_streamed.div_ceil(ANCHORS);
        crossovers.push(([(rows - 1, dim - 1), (rows - 1, dim)], [float, small]));
    }
    if fast_i8 {
        let (rows, elements) = (costs.sampled_rows, costs.sampled_elements);
        crossovers.extend([at_elements(elements), at_rows(rows, elements)].map(|shapes| (shapes, [small, fastest])));
    }
    crossovers
}

#[test]
fn every_path_around_the_beginning_of_the_integers() {
    let mut memory = MineMemory::default();
    for backend in Backend::available() {
        for (turn, (shapes, _)) in crossovers_of(backend).into_iter().enumerate() {
            for (candidates, dim) in shapes {
                let (owned, what) = batch(turn, Shape { anchors: 13, candidates, dim });
                check(&owned, backend, &mut memory, &what);
            }
        }
    }
}

/// The plans of `Auto` change where the constants say: shapes on both sides of a crossover take different paths.
#[test]
fn plans_change_at_the_crossovers() {
    for backend in Backend::available() {
        let plan = |anchors, candidates, dim| Screen::Auto.plan(backend, Shape { anchors, candidates, dim });
        let [square, few] = exact_limits(backend);
        let shapes = [(square, square), (square + 1, square + 1), (few, 900), (few + 1, 900)];
        let are_exact =
            shapes.map(|(anchors, candidates)| plan(anchors, candidates, 64).methods == Methods::only(Method::Exact));
        assert_eq!(are_exact, [true, false, true, false], "{backend}");
        let few = backend.traits().costs.unpacked_few;
        let is_unpacked = [1, 2, few, few + 1].map(|anchors| plan(anchors, 900, 32).is_unpacked);
        assert_eq!(is_unpacked, [false, true, true, false], "{backend}");
        let [one, more] = [1, few + 1].map(|anchors| plan(anchors, 900, 32).is_direct);
        assert!(one && !more, "{backend}");
        for (shapes, formats) in crossovers_of(backend) {
            let found = shapes.map(|(candidates, dim)| plan(ANCHORS, candidates, dim).methods.first());
            assert_eq!(found, formats.map(Method::Screen), "{backend}, {shapes:?}");
        }
        if backend.traits().i8_sum.is_some() {
            let found = [2560, 2561].map(|dim| plan(1024, 1024, dim).methods.first());
            assert_eq!(found, [Format::Int8, Format::Int16].map(Method::Screen), "{backend}, long rows");
        }
        // To the element: few anchors, and as many elements in 2^10 candidates as the constant says.
        let costs = backend.traits().costs;
        if costs.integer_pairs > 0 && costs.integer_streamed.is_multiple_of(1 << 10) {
            let dim = costs.integer_streamed >> 10;
            let found = [dim - 1, dim].map(|dim| plan(8, 1 << 10, dim).methods.first());
            assert_eq!(found, [Format::Float32, Format::Int8].map(Method::Screen), "{backend}, dim {dim}");
        }
    }
}

/// A call that packs nothing has no memory to pack rows in, so that none of a smaller shape may pack.
#[test]
fn smaller_shapes_of_what_is_not_packed_are_not_packed() {
    let mut random = Random(1);
    for backend in Backend::available() {
        let packs = |screen: Screen, shape: Shape| {
            let is_small = screen.nanoseconds_unpacked(backend, shape).is_some() || screen.is_small(backend, shape);
            !is_small && !screen.plan(backend, shape).is_direct
        };
        let mut unpacked = 0;
        for _ in 0..20_000 {
            let mut sized = |most: usize| {
                let most = 1 + random.below(most);
                1 + random.below(most)
            };
            let shape = Shape { anchors: sized(300), candidates: sized(5000), dim: sized(9000) };
            let mut smaller = |size: usize| if random.below(3) == 0 { size } else { 1 + random.below(size) };
            let [anchors, candidates, dim] = [shape.anchors, shape.candidates, shape.dim].map(&mut smaller);
            for screen in [Screen::Auto, Screen::F32, Screen::Off] {
                let smaller = Shape { anchors, candidates, dim };
                assert!(packs(screen, shape) || !packs(screen, smaller), "{backend}, {screen}: {shape:?}, {smaller:?}");
                unpacked += usize::from(!packs(screen, shape));
            }
        }
        assert!(unpacked > 1000, "{backend}: {unpacked} only");
    }
}

/// What calls count, where it is known: one format, from the first candidate to the last, or none.
#[test]
fn what_calls_count() {
    let (rows, candidates, dim) = (40, 150, 20);
    let owned = ALL_DATA[0].batch(1, rows, candidates, dim).with(Pairing::Identity);
    let (batch, pairs) = (owned.batch(), rows * candidates);
    let mut memory = MineMemory::default();
    for backend in Backend::available() {
        let bank = BankOptions::new().backend(backend).screens(&[Screen::I8, Screen::I16, Screen::F32]);
        let bank = bank.build(&owned.candidates[..], dim).unwrap();
        let against = Batch::against(&owned.anchors, &bank, owned.pairing.positives()).unwrap();
        let mut counts = |batch: Batch<'_>, screens: ScreenPlan| {
            let (sides, bank) = (batch.sides(), batch.bank());
            let division = Division::of(sides.shape(), 1);
            let call = Call { backend, join: Join::Serial, sides, bank, screens, division };
            let mut exclusions = ExclusionMemory::default();
            let sorted =
                exclusions.sort((batch.rows(), batch.candidates()), batch.positives(), batch.exclusions()).unwrap();
            mine_batch(&call, Negatives::Any, &batch, &sorted, &mut memory).unwrap().screening
        };
        let shape = batch.sides().shape();
        for format in [Format::Int8, Format::Int16, Format::Float32] {
            let method = Method::Screen(format);
            for (batch, packed) in [(batch, rows + candidates), (against, rows)] {
                let found = counts(batch, screened(backend, shape, Methods::screen(format)));
                let mut expected = Screening::default();
                expected.count(method, rows, found.single_pairs);
                expected.count_pairs(method, pairs);
                expected.count_single_pairs(found.single_pairs);
                expected.packed_rows = packed;
                assert_eq!(found, expected, "{backend}, {format:?}");
                assert!((rows..pairs / 4).contains(&found.single_pairs), "{backend}, {format:?}: {found:?}");
            }
        }
        let mut expected = Screening::default();
        expected.count(Method::Exact, rows, pairs - rows);
        expected.count_pairs(Method::Exact, pairs);
        assert_eq!(counts(batch, direct(backend, shape)), expected, "{backend}, one pass");
    }
}
