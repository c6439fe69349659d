//! Every operation of [`Simd`], on every instruction set of this CPU, against scalar code: in every lane, on values
//! that make trouble.

mod memory;
mod products;

use std::fmt::Debug;

use super::{Backend, DotKernel, Simd, TileKernel, TileShape, WithSimd};
use memory::memory;
use products::dot_products;

/// More lanes than any register has.
const MOST_LANES: usize = 64;

/// Finite numbers: signed zeros, subnormals, the largest, and some whose sums and products are rounded.
const FINITE: [f32; 14] = [
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    f32::MIN_POSITIVE,
    -1.1e-38,
    1.0,
    -1.0 - f32::EPSILON,
    1.0 + f32::EPSILON,
    -3.3333333,
    16_777_217.0,
    1e30,
    f32::MAX,
    f32::MIN,
];

/// Numbers that are not finite.
const NOT_FINITE: [f32; 3] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

/// Words with all kinds of bytes and halves.
const WORDS: [u32; 11] =
    [0, 1, 0x7F, 0x80, 0xFF, 0x0180_FF7F, 0x7FFF_8000, 0x8000_7FFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];

/// All kinds of `f64`.
fn wide() -> Vec<f64> {
    let finite = [0.0, -0.0, 5e-324, -2.2e-308, 1.0, -1.0 - f64::EPSILON, 1e-20, 0.1, -1e300, f64::MAX, f64::MIN];
    let not_finite = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    finite.into_iter().chain(not_finite).collect()
}

/// All kinds of `f32`.
fn narrow() -> Vec<f32> {
    FINITE.into_iter().chain(NOT_FINITE).collect()
}

/// The largest sums, and some whose products carry them out of range.
fn sums() -> Vec<u32> {
    [i32::MAX, i32::MIN, 0, -1, 1_234_567].map(i32::cast_unsigned).to_vec()
}

/// All words that are made of `parts`, each of `bits` bits.
fn words_of(parts: &[i32], bits: u32) -> Vec<u32> {
    let mask = u32::MAX >> (32 - bits);
    let mut words = vec![0];
    for at in (0..32).step_by(bits as usize) {
        let with = |word: &u32| {
            let word = *word;
            parts.iter().map(move |part| word | (part.cast_unsigned() & mask) << at).collect::<Vec<u32>>()
        };
        words = words.iter().flat_map(with).collect();
    }
    words
}

/// All combinations of a value from each list, as columns; the first ones stand again at the end. So a register that
/// begins anywhere among them is full, and every combination stands in every lane once.
fn combinations<T: Copy, const N: usize>(lists: [&[T]; N]) -> (usize, [Vec<T>; N]) {
    let count = lists.iter().map(|list| list.len()).product();
    let mut below = 1;
    let columns = lists.map(|list| {
        let column = (0..count + MOST_LANES).map(|index| list[index % count / below % list.len()]).collect();
        below *= list.len();
        column
    });
    (count, columns)
}

/// A register of any kind, which can be read and written.
trait Register<S: Simd>: Copy {
    type Element: Copy + Debug;
    fn read(simd: S, source: &[Self::Element]) -> Self;
    fn lanes(self, simd: S) -> Vec<Self::Element>;
}

/// The three kinds of register, told apart where two of them are the same type.
#[derive(Clone, Copy)]
struct F32<T>(T);
#[derive(Clone, Copy)]
struct F64<T>(T);
#[derive(Clone, Copy)]
struct I32<T>(T);

impl<S: Simd> Register<S> for F32<S::F32> {
    type Element = f32;
    fn read(simd: S, source: &[f32]) -> Self {
        F32(simd.load(source))
    }
    fn lanes(self, simd: S) -> Vec<f32> {
        let mut lanes = vec![0.0; S::F32_LANES];
        simd.store(self.0, &mut lanes);
        lanes
    }
}

impl<S: Simd> Register<S> for F64<S::F64> {
    type Element = f64;
    fn read(simd: S, source: &[f64]) -> Self {
        F64(simd.load64(source))
    }
    fn lanes(self, simd: S) -> Vec<f64> {
        let mut lanes = vec![0.0; S::F64_LANES];
        simd.store64(self.0, &mut lanes);
        lanes
    }
}

impl<S: Simd> Register<S> for I32<S::I32> {
    type Element = u32;
    fn read(simd: S, source: &[u32]) -> Self {
        I32(simd.load_words(source))
    }
    fn lanes(self, simd: S) -> Vec<u32> {
        let mut lanes = vec![0; S::F32_LANES];
        simd.store_words(self.0, &mut lanes);
        lanes
    }
}

/// Numbers that can be compared bit for bit; any NaN is the same as another.
trait Same: Copy + Debug {
    fn same(self, other: Self) -> bool;
}

impl Same for f32 {
    fn same(self, other: f32) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }
}

impl Same for f64 {
    fn same(self, other: f64) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }
}

impl Same for u32 {
    fn same(self, other: u32) -> bool {
        self == other
    }
}

/// Checks an operation that works lane by lane, with all combinations of the operands in `lists`, in every lane:
/// `is_right` says whether a result is one for these operands.
fn check<S: Simd, R: Register<S>, Q: Register<S>, const N: usize>(
    simd: S,
    what: &str,
    lists: [&[R::Element]; N],
    operation: impl Fn([R; N]) -> Q,
    is_right: impl Fn([R::Element; N], Q::Element) -> bool,
) {
    let (count, columns) = combinations(lists);
    for start in 0..count {
        let operands = core::array::from_fn(|n| R::read(simd, &columns[n][start..]));
        for (lane, result) in operation(operands).lanes(simd).into_iter().enumerate() {
            let operands = core::array::from_fn(|n| columns[n][start + lane]);
            assert!(is_right(operands, result), "{what}: lane {lane}: {operands:?} gives {result:?}");
        }
    }
}

/// What is right where there is one result.
fn exactly<T: Copy, U: Same, const N: usize>(expected: impl Fn([T; N]) -> U) -> impl Fn([T; N], U) -> bool {
    move |operands, result| result.same(expected(operands))
}

/// Every operation of `simd`.
fn conformance<S: Simd>(simd: S) {
    memory(simd);
    floats(simd);
    selections(simd);
    transposition(simd);
    sums_of_lanes(simd);
    words(simd);
    dot_products(simd);
    doubles(simd);
    tiles(simd);
}

/// The arithmetic of `f32`.
fn floats<S: Simd>(simd: S) {
    let narrow = narrow();
    let two = |what: &str, operation: &dyn Fn(S::F32, S::F32) -> S::F32, expected: fn(f32, f32) -> f32| {
        let operation = |[a, b]: [F32<S::F32>; 2]| F32(operation(a.0, b.0));
        check::<S, F32<_>, F32<_>, 2>(simd, what, [&narrow, &narrow], operation, exactly(|[a, b]| expected(a, b)));
    };
    two("add", &|a, b| simd.add(a, b), |a, b| a + b);
    two("sub", &|a, b| simd.sub(a, b), |a, b| a - b);
    two("mul", &|a, b| simd.mul(a, b), |a, b| a * b);
    /// An operation on three registers of `f32`.
    type Ternary<'a, S> = &'a dyn Fn(<S as Simd>::F32, <S as Simd>::F32, <S as Simd>::F32) -> <S as Simd>::F32;
    let three =
        |what: &str, operation: Ternary<'_, S>, once: fn(f32, f32, f32) -> f32, twice: fn(f32, f32, f32) -> f32| {
            let operation = |[a, b, c]: [F32<S::F32>; 3]| F32(operation(a.0, b.0, c.0));
            let is_right = |[a, b, c]: [f32; 3], result: f32| result.same(once(a, b, c)) || result.same(twice(a, b, c));
            check::<S, F32<_>, F32<_>, 3>(simd, what, [&narrow, &narrow, &narrow], operation, is_right);
        };
    three("mul_add", &|a, b, c| simd.mul_add(a, b, c), |a, b, c| a.mul_add(b, c), |a, b, c| a * b + c);
    three("neg_mul_add", &|a, b, c| simd.neg_mul_add(a, b, c), |a, b, c| (-a).mul_add(b, c), |a, b, c| c - a * b);
}

/// What chooses and compares. Where both zeros are in question, either is right.
fn selections<S: Simd>(simd: S) {
    let numbers: Vec<f32> = narrow().into_iter().filter(|value| !value.is_nan()).collect();
    let narrow = narrow();
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let lists: [&[f32]; 2] = [&numbers, &numbers];
    let is_right = |[a, b]: [f32; 2], result: f32| result == larger(a, b.abs());
    check::<S, F32<S::F32>, F32<_>, 2>(simd, "max_abs", lists, |[a, b]| F32(simd.max_abs(a.0, b.0)), is_right);
    // `key` and `limit` may be NaN, which is not at most anything.
    let (few, keys) = ([-0.0, 1e-45, -1.0, f32::MAX, f32::NEG_INFINITY], [-1.0, 0.0, 1.0, f32::INFINITY, f32::NAN]);
    check::<S, F32<S::F32>, F32<_>, 4>(
        simd,
        "max_where",
        [&few, &few, &keys, &keys],
        |[best, value, key, limit]| F32(simd.max_where(best.0, value.0, key.0, limit.0)),
        |[best, value, key, limit], result| result == if key <= limit { larger(best, value) } else { best },
    );
    let (count, [value, low, high]) = combinations([&narrow, &narrow, &narrow]);
    for start in 0..count {
        let load = |column: &[f32]| simd.load(&column[start..]);
        let found = simd.in_range(load(&value), load(&low), load(&high));
        let is_in = |lane: usize| low[lane] <= value[lane] && value[lane] <= high[lane];
        let expected = (0..S::F32_LANES).map(|lane| u32::from(is_in(start + lane)) << lane).sum::<u32>();
        assert_eq!(found, expected, "in_range: {:?}", [&value, &low, &high].map(|column| &column[start..][..16]));
    }
    for (index, &least) in numbers.iter().enumerate() {
        for lane in 0..S::F32_LANES {
            let mut lanes = vec![least; S::F32_LANES];
            lanes[lane] = numbers[(index * 5 + lane) % numbers.len()];
            let expected = larger(least, lanes[lane]);
            assert_eq!(simd.largest(simd.load(&lanes)), expected, "largest of {lanes:?}");
        }
    }
}

/// Transposes the first `F32_LANES` registers, and no other.
fn transposition<S: Simd>(simd: S) {
    let lanes = S::F32_LANES;
    let number = |r: usize, k: usize| (r * lanes + k) as f32;
    let row = |r: usize| simd.load(&(0..lanes).map(|k| number(r, k)).collect::<Vec<f32>>());
    let mut square: Vec<S::F32> = (0..lanes + 2).map(row).collect();
    simd.transpose(&mut square);
    for (r, register) in square.into_iter().enumerate() {
        let expected: Vec<f32> = (0..lanes).map(|k| if r < lanes { number(k, r) } else { number(r, k) }).collect();
        assert_eq!(F32(register).lanes(simd), expected, "transpose: register {r}");
    }
}

/// Sums of the first `F32_LANES` registers, and of no other: whole numbers, whose sums have one value in any order.
fn sums_of_lanes<S: Simd>(simd: S) {
    let lanes = S::F32_LANES;
    let number = |r: usize, k: usize| ((r * 37 + k * k * 11) % 1021) as f32 - 400.0;
    let row = |r: usize| simd.load(&(0..lanes).map(|k| number(r, k)).collect::<Vec<f32>>());
    let registers: Vec<S::F32> = (0..lanes + 1).map(row).collect();
    let expected: Vec<f32> = (0..lanes).map(|r| (0..lanes).map(|k| number(r, k)).sum()).collect();
    assert_eq!(F32(simd.sum_each(&registers)).lanes(simd), expected, "sum_each");
}

/// What joins words, and makes numbers of them.
fn words<S: Simd>(simd: S) {
    let integers: Vec<u32> = [0, 1, -1, 16_777_217, -16_777_219, 33_554_435, i32::MAX, i32::MIN, i32::MAX - 64]
        .map(i32::cast_unsigned)
        .into();
    let expected = exactly(|[a]: [u32; 1]| a.cast_signed() as f32);
    check::<S, I32<S::I32>, F32<_>, 1>(simd, "to_f32", [&integers], |[a]| F32(simd.to_f32(a.0)), expected);
    /// An operation on two registers of integers.
    type Binary<'a, S> = &'a dyn Fn(<S as Simd>::I32, <S as Simd>::I32) -> <S as Simd>::I32;
    let two = |what: &str, operation: Binary<'_, S>, expected: fn(u32, u32) -> u32| {
        let operation = |[a, b]: [I32<S::I32>; 2]| I32(operation(a.0, b.0));
        check::<S, I32<_>, I32<_>, 2>(simd, what, [&WORDS, &WORDS], operation, exactly(|[a, b]| expected(a, b)));
    };
    two("join_low_bytes", &|low, high| simd.join_low_bytes(low, high), |low, high| low & 0xFF | high << 8);
    two("join_low_i16", &|low, high| simd.join_low_i16(low, high), |low, high| low & 0xFFFF | high << 16);
}

/// The arithmetic of `f64`.
fn doubles<S: Simd>(simd: S) {
    let (narrow, wide) = (narrow(), wide());
    let two = |what: &str, operation: &dyn Fn(S::F64, S::F64) -> S::F64, expected: fn(f64, f64) -> f64| {
        let operation = |[a, b]: [F64<S::F64>; 2]| F64(operation(a.0, b.0));
        check::<S, F64<_>, F64<_>, 2>(simd, what, [&wide, &wide], operation, exactly(|[a, b]| expected(a, b)));
    };
    two("add64", &|a, b| simd.add64(a, b), |a, b| a + b);
    two("mul64", &|a, b| simd.mul64(a, b), |a, b| a * b);
    // The products of two `f32` are exact.
    let factors: Vec<f64> = narrow.iter().map(|&value| value.into()).collect();
    let operation = |[a, b, c]: [F64<S::F64>; 3]| F64(simd.mul_add_exact(a.0, b.0, c.0));
    let expected = exactly(|[a, b, c]: [f64; 3]| a * b + c);
    check::<S, F64<_>, F64<_>, 3>(simd, "mul_add_exact", [&factors, &factors, &wide], operation, expected);
    let (count, [values]) = combinations([&narrow]);
    for start in 0..count {
        let widened = F64(simd.widen(&values[start..])).lanes(simd);
        assert!(
            widened.iter().zip(&values[start..]).all(|(wide, &value)| wide.same(value.into())),
            "widen: {widened:?}"
        );
    }
    // Numbers of all sizes, whose sums depend on the order.
    for seed in 0..200_u64 {
        let number = |lane: usize| {
            let bits = (seed * 64 + lane as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((bits >> 11) as i64 - (1 << 52)) as f64 * 2.0_f64.powi((bits % 50) as i32)
        };
        let mut lanes: Vec<f64> = (0..S::F64_LANES).map(number).collect();
        let folded = simd.fold(simd.load64(&lanes));
        while lanes.len() > 1 {
            let upper = lanes.split_off(lanes.len() / 2);
            lanes.iter_mut().zip(upper).for_each(|(low, high)| *low += high);
        }
        assert!(folded.same(lanes[0]), "fold: {folded} in place of {}", lanes[0]);
        // As many registers as lanes, each with numbers of its own; one more, which is not looked at.
        let register = |first: usize| {
            let lanes: Vec<f64> = (0..S::F64_LANES).map(|lane| number(first * S::F64_LANES + lane)).collect();
            simd.load64(&lanes)
        };
        let registers: Vec<S::F64> = (0..=S::F64_LANES).map(register).collect();
        for (lane, folded) in F64(simd.fold_each(&registers)).lanes(simd).into_iter().enumerate() {
            let expected = simd.fold(registers[lane]);
            assert!(folded.same(expected), "fold_each, lane {lane}: {folded} in place of {expected}");
        }
    }
}

/// A kernel that notes the constants it is given.
struct Constants<'a>(&'a mut Vec<[usize; 4]>);

/// [`Constants`] of one of the tiles of a screen.
struct ScreenConstants<'a, const TILE: usize>(&'a mut Vec<[usize; 3]>);

impl<const TILE: usize> TileKernel for ScreenConstants<'_, TILE> {
    const TILE: usize = TILE;

    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const REGISTERS: usize>(self, _simd: S) {
        self.0.push([ANCHORS, REGISTERS, S::F32_LANES]);
    }
}

impl DotKernel for Constants<'_> {
    #[inline(always)]
    fn run<S: Simd, const ANCHORS: usize, const CANDIDATES: usize, const REGISTERS: usize>(self, _simd: S) {
        self.0.push([ANCHORS, CANDIDATES, REGISTERS, S::F64_LANES]);
    }
}

/// The kernel of a tile of a screen runs once, with the constants that were asked for.
fn screen_tiles<S: Simd, const TILE: usize>(simd: S) {
    let TileShape { anchors: most, registers } = S::TILES[TILE];
    for (rows, registers) in (1..=most).flat_map(|rows| (1..=registers).map(move |registers| (rows, registers))) {
        let mut given = Vec::new();
        simd.run_tile(rows, registers, ScreenConstants::<TILE>(&mut given));
        let anchors = given.first().map_or(0, |constants: &[usize; 3]| constants[0]);
        assert!((rows..=most).contains(&anchors), "run_tile of {rows} rows");
        assert_eq!(given, [[anchors, registers, S::F32_LANES]], "run_tile");
    }
}

/// The kernel of a tile runs once, with the constants that were asked for, and so does a computation.
fn tiles<S: Simd>(simd: S) {
    screen_tiles::<S, 0>(simd);
    screen_tiles::<S, 1>(simd);
    screen_tiles::<S, 2>(simd);
    for anchors in 1..=S::DOT_ANCHORS {
        let mut given = Vec::new();
        simd.run_dot_tile(anchors, Constants(&mut given));
        let [[rows, candidates, registers, lanes]] = given[..] else {
            panic!("run_dot_tile ran {} times", given.len())
        };
        assert_eq!((rows, lanes), (anchors, S::F64_LANES), "run_dot_tile");
        // Parts of the sixteen lanes, all of the same size.
        assert!(candidates > 0 && registers > 0 && (16 / lanes).is_multiple_of(registers), "run_dot_tile");
    }
    let mut given = Vec::new();
    simd.run_wide_tile(Constants(&mut given));
    assert_eq!(given, [[S::WIDE_ANCHORS, S::WIDE_CANDIDATES, 1, S::F64_LANES]], "run_wide_tile");
    let mut given = Vec::new();
    simd.run_row_tile(Constants(&mut given));
    assert_eq!(given, [[S::ROW_ANCHORS, S::ROW_CANDIDATES, 1, S::F64_LANES]], "run_row_tile");
    struct Inner<'a>(&'a mut usize);
    impl WithSimd for Inner<'_> {
        type Output = usize;
        #[inline(always)]
        fn run<S: Simd>(self, _simd: S) -> usize {
            *self.0 += 1;
            S::F32_LANES
        }
    }
    let mut runs = 0;
    assert_eq!((simd.run(Inner(&mut runs)), runs), (S::F32_LANES, 1), "run");
}

/// All checks of one instruction set.
struct Conformance;

impl WithSimd for Conformance {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        conformance(simd);
    }
}

#[test]
fn every_operation_of_every_backend() {
    for backend in Backend::available() {
        println!("{backend}");
        // With its integer dot products, without which it is another backend.
        backend.run_with_dots(Conformance);
    }
}
