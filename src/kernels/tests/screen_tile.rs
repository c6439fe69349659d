//! The tiles of a screen against sums of integers: every format, every width of a panel and every number of rows,
//! exactly.

use core::ops::Range;

use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{
    AnchorConstants, Format, Found, PanelHits, PanelTiles, PrefetchPlan, RowHits, TilePlace, Window, are_many_hits,
    find_hits,
};

/// Rows of more tiles than [`PanelHits`] has room for: some of them are computed by a later call.
const MANY_ROWS: usize = 43;

/// The integers that a tile multiplies: from the least to the largest, both among them.
#[derive(Clone, Copy)]
struct Integers {
    least: i32,
    largest: i32,
}

impl Integers {
    /// An end of the range, or a number inside.
    fn draw(self, random: &mut Random) -> i32 {
        match random.below(4) {
            0 => self.least,
            1 => self.largest,
            _ => self.least + random.below((self.largest - self.least) as usize + 1) as i32,
        }
    }

    /// Rows of such integers whose groups fit into sums of 16 bits: those that would be too many in one are smaller.
    fn anchors(
        self,
        backend: Backend,
        format: Format,
        random: &mut Random,
        count: usize,
        elements: usize,
    ) -> Vec<Vec<i32>> {
        let mut rows = self.rows(random, 0, count, elements);
        if let (Format::Int8, Some(group)) = (format, backend.traits().i8_sum) {
            for row in rows.iter_mut().flat_map(|row| row.chunks_mut(8)) {
                let mut left = [[group; 2]; 2];
                for (k, integer) in row.iter_mut().enumerate() {
                    let left = &mut left[k / 2 % 2][usize::from(*integer < 0)];
                    *integer = integer.signum() * integer.abs().min(*left);
                    *left -= integer.abs();
                }
            }
        }
        rows
    }

    /// Rows of such integers, with `offset` added.
    fn rows(self, random: &mut Random, offset: i32, count: usize, elements: usize) -> Vec<Vec<i32>> {
        (0..count).map(|_| (0..elements).map(|_| self.draw(random) + offset).collect()).collect()
    }
}

/// A word of a format that holds these integers, the first one in the lowest bits.
fn word(format: Format, integers: &[i32]) -> u32 {
    if format == Format::Float32 {
        return (integers[0] as f32).to_bits();
    }
    let bits = 32 / format.per_word();
    let mask = u32::MAX >> (32 - bits);
    integers.iter().rev().fold(0, |word, &integer| word << bits | integer.cast_unsigned() & mask)
}

/// The words of rows as a tile reads them, `[step][row]`.
fn words(format: Format, rows: &[Vec<i32>]) -> Vec<u32> {
    let per_word = format.per_word();
    let steps = rows[0].len() / per_word;
    (0..steps).flat_map(|step| rows.iter().map(move |row| word(format, &row[step * per_word..][..per_word]))).collect()
}

/// What the tiles of a test have in common.
#[derive(Clone, Copy)]
struct Kind {
    format: Format,
    anchors: Integers,
    candidates: Integers,
    /// The largest of the small whole numbers that stand for steps, norms and the like: sums that are not small leave
    /// no room for any but 1 and 0.
    largest_constant: usize,
}

impl Kind {
    /// A small whole number from `least` on, or `least` where constants are to change nothing.
    fn constant(&self, random: &mut Random, least: usize) -> f32 {
        (least + random.below(self.largest_constant + 1 - least.min(self.largest_constant))) as f32
    }
}

/// A block of anchors and a panel, as integers.
struct Block {
    kind: Kind,
    /// The anchors, and others that fill up the last tile.
    anchors: Vec<Vec<i32>>,
    starts: Vec<i32>,
    constants: Vec<AnchorConstants>,
    candidates: Vec<Vec<i32>>,
    /// The step, what is added, the residual and the norm of each candidate.
    of_candidates: Vec<[f32; 4]>,
}

impl Block {
    fn draw(kind: Kind, backend: Backend, random: &mut Random, [rows, width, steps]: [usize; 3]) -> Block {
        let (padded, elements) =
            (rows.next_multiple_of(kind.format.tile_anchors(backend)), steps * kind.format.per_word());
        let offset = if kind.format == Format::Int8 { backend.traits().i8_offset } else { 0 };
        let anchors = kind.anchors.anchors(backend, kind.format, random, padded, elements);
        let candidates = kind.candidates.rows(random, offset, width, elements);
        let starts: Vec<i32> = (0..padded).map(|_| kind.anchors.draw(random)).collect();
        let mut constant = |least| kind.constant(random, least);
        let of_row = |&start: &i32| AnchorConstants {
            start: if kind.format == Format::Float32 { (start as f32).to_bits() } else { start.cast_unsigned() },
            quant_step: constant(1),
            norm: constant(0),
            residual: constant(0),
            length: constant(0),
            shift: 0.0,
        };
        let constants = starts.iter().map(of_row).collect();
        let of_candidates = (0..width).map(|_| [constant(1), constant(0), constant(0), constant(0)]).collect();
        Block { kind, anchors, starts, constants, candidates, of_candidates }
    }

    /// The words of the anchors, tile after tile.
    fn anchor_words(&self, backend: Backend) -> Vec<u32> {
        self.anchors
            .chunks(self.kind.format.tile_anchors(backend))
            .flat_map(|tile| words(self.kind.format, tile))
            .collect()
    }

    /// The words of the candidates in panels of `width`, with their constants behind them.
    fn panels(&self, width: usize) -> Vec<u32> {
        let mut panels = Vec::new();
        for (candidates, constants) in self.candidates.chunks(width).zip(self.of_candidates.chunks(width)) {
            panels.extend(words(self.kind.format, candidates));
            for number in 0..self.kind.format.constants() {
                panels.extend(constants.iter().map(|of| of[number].to_bits()));
            }
        }
        panels
    }

    /// The upper and the lower end of the interval of a pair.
    fn ends(&self, row: usize, column: usize) -> [f32; 2] {
        let products =
            self.anchors[row].iter().zip(&self.candidates[column]).map(|(&a, &c)| i64::from(a) * i64::from(c));
        // Sums in 32 bits wrap around.
        let sum = (products.sum::<i64>() + i64::from(self.starts[row])) as i32 as f32;
        let anchor = self.constants[row];
        if self.kind.format == Format::Float32 {
            return [sum, sum - anchor.length];
        }
        let [quant_step, center_dot, residual, norm] = self.of_candidates[column];
        let error = residual * anchor.norm + norm * anchor.residual;
        let upper = sum * quant_step * anchor.quant_step + center_dot + error;
        [upper, upper - (anchor.length + 2.0 * error)]
    }

    /// The intervals of a row with some candidates.
    fn intervals(&self, row: usize, columns: Range<usize>) -> Vec<[f32; 2]> {
        columns.map(|column| self.ends(row, column)).collect()
    }

    /// A window that holds the upper ends of one candidate, or from those of one to those of another; up to an end of
    /// any of them, or to none, pairs are certain.
    fn window(&self, random: &mut Random, row: usize) -> Window {
        let [one, other, certain] = [(); 3].map(|()| self.ends(row, random.below(self.candidates.len()))[0]);
        let certain = random.choose(&[certain, certain, f32::INFINITY, f32::NEG_INFINITY]);
        let other = if row.is_multiple_of(3) { other } else { one };
        Window { low: one.min(other), high: one.max(other), certain }
    }
}

/// Computes the tiles of `rows` anchors, whose windows have hits in every `every`-th row alone, and checks all that is
/// handed over; returns how many calls it took.
fn check(backend: Backend, random: &mut Random, block: &Block, rows: usize, every: usize) -> usize {
    let (Block { kind, constants, .. }, tile_anchors) = (block, block.kind.format.tile_anchors(backend));
    let (candidates, elements, width) =
        (block.candidates.len(), block.anchors[0].len(), kind.format.panel_width(backend));
    let (anchors, words, panels) = (block.anchor_words(backend), block.panels(width), candidates.div_ceil(width));
    // The last word of rows need not be full.
    let (dim, tiles) = (elements - random.below(kind.format.per_word()), rows.div_ceil(tile_anchors));
    let mut windows = vec![Window::CLOSED; constants.len()];
    (0..rows).step_by(every).for_each(|row| windows[row] = block.window(random, row));
    // What is fetched changes nothing: some of it may be beyond the end of the memory.
    let (next_rows, steps) = ([&[0.5; 70][..], &[]], kind.format.steps(dim));
    let prefetch = PrefetchPlan { panels, width, next_rows, block_len: rows * dim, steps, tiles };
    let columns = |panel: usize| panel * width..candidates.min((panel + 1) * width);
    let is_hit = |&(panel, row): &(usize, usize)| {
        let Window { low, high, .. } = windows[row];
        block.intervals(row, columns(panel)).iter().any(|ends| low <= ends[0] && ends[0] <= high)
    };
    let pairs = (0..panels).flat_map(|panel| (0..rows).step_by(every).map(move |row| (panel, row)));
    let mut with_hits = pairs.filter(is_hit).peekable();
    let (mut hits, mut at, mut calls) = (PanelHits::default(), TilePlace::default(), 0);
    // First up to a panel on the way, where a call ends whether there were hits or not.
    for end in [panels / 2, panels] {
        let (windows, constants, panels) = (&windows[..], &constants[..], &words[..]);
        let of_panels =
            PanelTiles { dim, anchors: &anchors, rows, constants, windows, panels, end, prefetch: &prefetch };
        while at.panel < end {
            let before = at;
            at = find_hits(backend, kind.format, &of_panels, at, &mut hits);
            assert!((before.panel, before.tile) < (at.panel, at.tile), "{backend}: from {before:?} to {at:?}");
            assert!(at.tile < tiles && at.panel + usize::from(at.tile > 0) <= end, "{backend}: to {at:?} before {end}");
            let first = with_hits.peek().map(|&(panel, _)| panel);
            while let Some(found) = hits.next_row() {
                let what = format!("{backend}, {:?}, {rows} x {candidates} x {steps} words, {before:?}", kind.format);
                assert_eq!(Some((found.panel, found.row)), with_hits.next(), "{what}: rows with hits");
                assert_eq!(Some(found.panel), first, "{what}: hits of one panel");
                assert_hits(&block.intervals(found.row, columns(found.panel)), windows[found.row], &found, &what);
            }
            calls += 1;
        }
    }
    assert_eq!(with_hits.next(), None, "{backend}, {:?}, {rows} x {candidates}: a row with hits", kind.format);
    calls
}

/// Panics unless what was found of a row are these intervals, those whose upper ends lie in the window, and those that
/// still do when it begins with the best that are certain.
fn assert_hits(intervals: &[[f32; 2]], window: Window, hits: &RowHits<'_>, what: &str) {
    assert_eq!(hits.width, intervals.len(), "{what}");
    let (mut mask, mut reached) = (0, f32::NEG_INFINITY);
    for (column, &[upper, lower]) in intervals.iter().enumerate() {
        assert_eq!([hits.upper[column], hits.lower[column]], [upper, lower], "{what}, {column}");
        mask |= u64::from(window.low <= upper && upper <= window.high) << column;
        reached = if upper <= window.certain { reached.max(lower) } else { reached };
    }
    let ends = intervals.iter().enumerate();
    let raised = ends.fold(0, |bits, (column, &[upper, _])| bits | u64::from(reached <= upper) << column) & mask;
    let Found { mask: found, reached: best, raised: left } = hits.found;
    assert_eq!(are_many_hits(mask), mask.count_ones() >= 3, "{what}");
    // Of fewer hits nothing else is found.
    let expected = if mask.count_ones() >= 3 { (mask, reached, raised) } else { (mask, 0.0, 0) };
    assert_eq!((found, best, left), expected, "{what}: {window:?}");
}

/// Computes tiles of integers up to the largest of each side on every backend: of one tile with any number of rows, and
/// of more tiles than there is room for.
fn check_all(format: Format, largest: impl Fn(Backend) -> [i32; 2], largest_constant: usize) {
    let range = |largest: i32| Integers { least: -largest, largest };
    for backend in Backend::available() {
        let [anchors, candidates] = largest(backend).map(range);
        let kind = Kind { format, anchors, candidates, largest_constant };
        let (traits, mut random) = (backend.traits(), Random(format as u64));
        for width in (traits.f32_lanes..=format.panel_width(backend)).step_by(traits.f32_lanes) {
            for (rows, steps) in
                (1..=format.tile_anchors(backend)).flat_map(|rows| [1, 2, 3, 16, 67].map(|steps| (rows, steps)))
            {
                let block = Block::draw(kind, backend, &mut random, [rows, width, steps]);
                assert_eq!(check(backend, &mut random, &block, rows, 2), 1);
            }
            let block = Block::draw(kind, backend, &mut random, [MANY_ROWS, width, 5]);
            // In every row, in every other one, and in so few that some tiles have none.
            let calls = [1, 2, 13].map(|every| check(backend, &mut random, &block, MANY_ROWS, every));
            assert!(calls[0] > 1, "{backend}: there is room for all rows");
        }
        check_panels(backend, kind, &mut random);
    }
}

/// Computes tiles on several panels, the last of which is narrower or not: of few rows, so that most panels have no hits,
/// and of more than there is room for.
fn check_panels(backend: Backend, kind: Kind, random: &mut Random) {
    let (lanes, whole) = (backend.traits().f32_lanes, kind.format.panel_width(backend));
    for (panels, last) in [2, 5, 12].into_iter().flat_map(|panels| [lanes, whole].map(|last| (panels, last))) {
        for rows in [1, 2, MANY_ROWS] {
            let width = (panels - 1) * whole + last;
            let block = Block::draw(kind, backend, random, [rows, width, 3]);
            check(backend, random, &block, rows, 1);
            check(backend, random, &block, rows, MANY_ROWS - 1);
        }
    }
}

#[test]
fn tiles_are_sums_of_integers() {
    check_all(Format::Float32, |_| [40; 2], 9);
    check_all(Format::Int16, |_| [40; 2], 9);
    check_all(Format::Int8, |_| [5; 2], 9);
}

/// The sums leave the range of 32 bits: they wrap around, and are converted with one rounding.
#[test]
fn tiles_of_the_largest_integers() {
    for format in [Format::Int16, Format::Int8] {
        let largest = |backend| format.integer_ranges(backend).expect("integers").map(|range| range.largest);
        check_all(format, largest, 0);
    }
}
