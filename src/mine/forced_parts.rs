//! Candidates divided into any number of parts, forced where a call would not divide them, against the reference; and
//! where calls do divide them.

use super::division::{LEAST_FOR_EACH, LEAST_PART, ROW_UNIT};
use super::*;
use crate::common::{ALL_DATA, ALL_KINDS, ALL_NEGATIVES, OwnedBatch, Pairing, Random, assert_rows};
use crate::exact::SUM_BLOCK;
use crate::excluded::ExclusionMemory;
use crate::kernels::Format;
use crate::rows::Shape;
use crate::screen::Methods;
use crate::{BankOptions, Exclusions, KnownPositives, Miner, Neighbour, reference};

/// As many parts as threads may take.
const PARTS: [usize; 5] = [1, 2, 3, 5, 8];

/// Rows for up to eight parts, the last of which is shorter than the others, with exclusions of some kind.
fn batch(turn: usize, anchors: usize) -> (OwnedBatch, String) {
    let (data, kind, dim) = (ALL_DATA[turn % ALL_DATA.len()], ALL_KINDS[turn % ALL_KINDS.len()], 5 + 11 * (turn % 5));
    let (candidates, mut random) = (7 * SUM_BLOCK + 1 + turn, Random(turn as u64));
    let pairing = match turn % 3 {
        0 => Pairing::Outside(data.rows(&mut random, anchors, dim)),
        _ => Pairing::random(&mut random, anchors, candidates),
    };
    let excluding = kind.of(&mut random, anchors, candidates, &pairing);
    let batch = data.batch(turn as u64, anchors, candidates, dim).with(pairing).excluding(excluding);
    (batch, format!("{data:?} {anchors} x {candidates} x {dim}, {kind:?}"))
}

/// Calls of every number of parts and some ways to compute pairs, on one thread and on as many as there are.
fn calls<'a>(backend: Backend, sides: Sides<'a>, bank: Option<&'a Bank<'a>>) -> Vec<(Call<'a>, String)> {
    let [int8, float32] = [Format::Int8, Format::Float32].map(Methods::screen);
    let all = Methods::range(Method::Screen(Format::Int8), Method::Exact);
    let mut calls = Vec::new();
    for methods in [int8, float32, Methods::only(Method::Exact), all] {
        // With the memory for integers.
        let screens = ScreenPlan { is_direct: false, methods, ..Screen::I8.plan(backend, sides.shape()) };
        for parts in PARTS {
            let division = Division::into_parts(sides.shape(), parts);
            for join in [Join::Serial, Threads::Rayon.join(f64::INFINITY)] {
                let what = format!("{backend}, {methods:?}, {division:?}, {join:?}, bank: {}", bank.is_some());
                calls.push((Call { backend, join, sides, bank, screens, division }, what));
            }
        }
    }
    calls
}

/// A bank of these candidates, with all screens.
fn bank(backend: Backend, owned: &OwnedBatch) -> Bank<'_> {
    let options = BankOptions::new().backend(backend).screens(&[Screen::I8, Screen::I16, Screen::F32]);
    options.build(&owned.candidates[..], owned.dim).unwrap()
}

#[test]
fn statistics_of_any_number_of_parts() {
    let mut memory = MineMemory::default();
    for (turn, anchors) in [1, 2, 17, 1, 3, 1, 2, 19].into_iter().enumerate() {
        let (owned, what) = batch(turn, anchors);
        let negatives = ALL_NEGATIVES[turn % 3];
        let expected = reference::row_stats(owned.batch(), negatives).unwrap();
        for backend in Backend::available() {
            let bank = bank(backend, &owned);
            let against = Batch::against(&owned.anchors, &bank, owned.pairing.positives()).unwrap();
            for batch in [owned.batch(), against.excluding(owned.excluding.exclusions()).unwrap()] {
                let mut exclusions = ExclusionMemory::default();
                let shape = (batch.rows(), batch.candidates());
                let sorted = exclusions.sort(shape, batch.positives(), batch.exclusions()).unwrap();
                for (call, way) in calls(backend, batch.sides(), batch.bank()) {
                    let mine = || mine_batch(&call, negatives, &batch, &sorted, &mut memory);
                    let counts = call.join.enter(mine).unwrap().screening;
                    assert_rows(&expected, memory.stats(anchors), &format!("{what}, {negatives}, {way}"));
                    let rows = counts.i8_rows + counts.i16_rows + counts.f32_rows + counts.exact_rows;
                    assert_eq!(rows, anchors, "{what}, {negatives}, {way}");
                }
            }
        }
    }
}

fn bits(list: &[Neighbour]) -> Vec<(usize, u32)> {
    list.iter().map(|neighbour| (neighbour.index, neighbour.similarity.to_bits())).collect()
}

#[test]
fn neighbours_of_any_number_of_parts() {
    let mut memory = MineMemory::default();
    let is_out = |query: usize, candidate: usize| (query + candidate).is_multiple_of(5);
    for (turn, k) in [40, 1, 3, 500, 1, 40, 3, 2000].into_iter().enumerate() {
        let (owned, what) = batch(turn, [1, 18, 2][turn % 3]);
        let [of_queries, of_candidates] = [&owned.anchors, &owned.candidates].map(|elements| {
            let rows = (elements.len() / owned.dim) as u64;
            (0..rows).map(|row| row % 7).collect::<Vec<u64>>()
        });
        let excluded = Exclusions::Labels { anchors: &of_queries, candidates: &of_candidates };
        let miner = Miner::new().k(k).negatives(ALL_NEGATIVES[turn % 3]);
        for backend in Backend::available() {
            let bank = bank(backend, &owned);
            let raw = MiningBatch::new(&owned.anchors, &owned.candidates, owned.dim).unwrap();
            for batch in [raw, MiningBatch::against(&owned.anchors, &bank).unwrap()] {
                let one = KnownPositives::One(owned.pairing.positives());
                let batch = match turn % 3 {
                    0 => batch.excluding(excluded).unwrap(),
                    1 => batch.known_positives(KnownPositives::Shared(&[3, 200, 1000])).unwrap(),
                    _ => batch.known_positives(one).unwrap().exclude_where(&is_out),
                };
                let expected = reference::mine(&miner, batch).unwrap();
                let expected: Vec<_> = expected.iter().map(|list| bits(list)).collect();
                let plan = miner.plan(batch).unwrap();
                let mut exclusions = ExclusionMemory::default();
                let rules = exclusions.sort_mining(batch).unwrap();
                for (call, way) in calls(backend, batch.sides(), batch.bank()) {
                    call.join.enter(|| mine_queries(&call, plan, batch, rules, &mut memory)).unwrap();
                    let (queries, places) = memory.neighbours(batch.queries(), plan.kept);
                    let found = queries.iter().zip(places.chunks(plan.kept));
                    let found: Vec<_> = found.map(|(query, places)| bits(&places[..query.found])).collect();
                    assert_eq!(found, expected, "{what}, k {k}, {way}");
                }
            }
        }
    }
}

/// Every candidate is in one part, and parts begin where the sum's blocks do.
#[test]
fn parts_hold_all_candidates() {
    for candidates in [1, 191, 192, 193, 1535, 1536, 1537, 98_304] {
        for parts in 1..20 {
            let division = Division::into_parts(Shape { anchors: 3, candidates, dim: 8 }, parts);
            let Division { parts: found, part_rows, .. } = division;
            assert!(part_rows.is_multiple_of(SUM_BLOCK) && (1..=parts).contains(&found), "{division:?}");
            assert!((found - 1) * part_rows < candidates && found * part_rows >= candidates, "{division:?}");
        }
    }
}

/// Calls are divided by candidates where the constants say, on both sides of each of them.
#[test]
fn divisions_change_at_the_crossovers() {
    let parts = |anchors, candidates, threads| {
        let division = Division::of(Shape { anchors, candidates, dim: 64 }, threads);
        assert!(division.block_rows >= anchors || division.parts == 1, "{division:?}");
        division.parts
    };
    assert_eq!([1, 2, 3, 5, 8].map(|threads| parts(1, 100_000, threads)), [1, 2, 3, 5, 8]);
    assert_eq!([2 * LEAST_PART - 1, 2 * LEAST_PART, 3 * LEAST_PART].map(|count| parts(1, count, 8)), [1, 2, 3]);
    assert_eq!([ROW_UNIT, ROW_UNIT + 1].map(|anchors| parts(anchors, 2 * LEAST_PART, 2)), [2, 1]);
    assert_eq!([40 * LEAST_FOR_EACH, 40 * LEAST_FOR_EACH - 1].map(|count| parts(40, count, 2)), [2, 1]);
    assert_eq!([96, 97].map(|anchors| parts(anchors, 1 << 20, 2)), [2, 1]);
}
