//! Products of integers.

use super::{I32, check, exactly, sums, words_of};
use crate::arch::Simd;

/// Integer products with the extremes of their ranges in every place, added to sums that wrap around.
pub(super) fn dot_products<S: Simd>(simd: S) {
    products_of_bytes(simd);
    products_of_two_steps(simd);
    products_of_halves(simd);
}

/// The sum and the products of the bytes of two words, those of a candidate first.
fn dot<S: Simd>(sum: u32, bytes: u32, word: u32) -> u32 {
    let widen = |byte: u8| if S::I8_OFFSET == 0 { i32::from(byte.cast_signed()) } else { i32::from(byte) };
    let products = bytes.to_le_bytes().into_iter().zip(word.to_le_bytes());
    products.fold(sum, |sum, (a, b)| sum.wrapping_add_signed(widen(a) * i32::from(b.cast_signed())))
}

/// The least and the largest byte of a candidate.
fn extremes<S: Simd>() -> [i32; 2] {
    [S::I8_OFFSET - S::I8_CANDIDATES, S::I8_OFFSET + S::I8_CANDIDATES]
}

/// What is left for the other bytes of an anchor where one has the largest magnitude.
fn rest<S: Simd>() -> i32 {
    S::I8_SUM.map_or(S::I8_ANCHORS, |most| most - S::I8_ANCHORS)
}

/// Whether products of these bytes of an anchor may be added in 16 bits, where they are.
fn fit<S: Simd>(bytes: &[u8]) -> bool {
    let of_sign = |sign: i32| bytes.iter().map(|byte| (sign * i32::from(byte.cast_signed())).max(0)).sum::<i32>();
    S::I8_SUM.is_none_or(|most| of_sign(1).max(of_sign(-1)) <= most)
}

fn products_of_bytes<S: Simd>(simd: S) {
    // All four extremes at once are among them: no sum of products on the way leaves its range.
    let [least, largest] = extremes::<S>();
    let bytes = words_of(&[least, S::I8_OFFSET, largest], 8);
    for word in words_of(&[-S::I8_ANCHORS, -rest::<S>(), 1, S::I8_ANCHORS], 8) {
        if word.to_le_bytes().chunks(2).all(fit::<S>) {
            let operation = |[sum, bytes]: [I32<S::I32>; 2]| I32(simd.dot_i8(sum.0, bytes.0, word));
            let expected = exactly(|[sum, bytes]: [u32; 2]| dot::<S>(sum, bytes, word));
            check::<S, I32<_>, I32<_>, 2>(simd, "dot_i8", [&sums(), &bytes], operation, expected);
        }
    }
}

fn products_of_two_steps<S: Simd>(simd: S) {
    let (bytes, mut tried) = (words_of(&extremes::<S>(), 8), 0);
    for four in words_of(&[-S::I8_ANCHORS, -rest::<S>(), rest::<S>(), S::I8_ANCHORS], 8) {
        if fit::<S>(&four.to_le_bytes()) {
            // Two bytes of each word, the same ones in both halves.
            let words = [four & 0xFFFF, four >> 16].map(|half| half << 16 | half);
            let operation = |[sum, a, b]: [I32<S::I32>; 3]| I32(simd.dot_i8_twice(sum.0, [a.0, b.0], words));
            let expected = exactly(|[sum, a, b]: [u32; 3]| dot::<S>(dot::<S>(sum, a, words[0]), b, words[1]));
            check::<S, I32<_>, I32<_>, 3>(simd, "dot_i8_twice", [&sums()[..2], &bytes, &bytes], operation, expected);
            tried += 1;
        }
    }
    assert!(tried > 16, "dot_i8_twice: only {tried} anchors");
}

fn products_of_halves<S: Simd>(simd: S) {
    let operation = |[sum, a, b]: [I32<S::I32>; 3]| I32(simd.dot_i16(sum.0, a.0, b.0));
    let expected = |[sum, a, b]: [u32; 3]| {
        let product = |shift: u32| i32::from((a >> shift) as i16) * i32::from((b >> shift) as i16);
        sum.cast_signed().wrapping_add(product(0)).wrapping_add(product(16))
    };
    let expected = exactly(|operands| expected(operands).cast_unsigned());
    let halves = words_of(&[-32767, -256, -1, 0, 1, 255, 32767], 16);
    check::<S, I32<_>, I32<_>, 3>(simd, "dot_i16", [&sums(), &halves, &halves], operation, expected);
}
