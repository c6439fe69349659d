//! Loads and stores of a register, and what they refuse.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{F32, F64, I32, MOST_LANES, Register, Same, WORDS, check, narrow, wide};
use crate::arch::{Simd, prefetch};

/// What fills memory that must not be written.
const UNTOUCHED: u32 = 0xABCD_1234;

/// Loads and stores: one register's worth from the start of a slice, and a panic where it is shorter.
pub(super) fn memory<S: Simd>(simd: S) {
    let (lanes, lanes64) = (S::F32_LANES, S::F64_LANES);
    assert!(lanes <= MOST_LANES && lanes64 * 2 == lanes);
    // Different in every lane, with NaN and subnormals among them.
    let patterns: Vec<u32> = (0..3 * MOST_LANES as u32).map(|k| k.wrapping_mul(0x9E37_79B9) | 0x0040_0000).collect();
    let floats: Vec<f32> = patterns.iter().map(|&bits| f32::from_bits(bits)).collect();
    for start in 0..lanes {
        let (patterns, floats) = (&patterns[start..], &floats[start..]);
        for words in [
            simd.load_words(patterns),
            simd.bits(simd.load_bits(patterns)),
            simd.bits(simd.load(floats)),
            simd.bits(simd.load_bits(&patterns[..lanes])),
        ] {
            let mut target = vec![UNTOUCHED; lanes + 3];
            simd.store_words(words, &mut target);
            assert_eq!((&target[..lanes], &target[lanes..]), (&patterns[..lanes], &[UNTOUCHED; 3][..]));
        }
        let mut target = vec![f32::from_bits(UNTOUCHED); lanes + 3];
        simd.store(simd.load(floats), &mut target);
        let target: Vec<u32> = target.iter().map(|value| value.to_bits()).collect();
        assert_eq!((&target[..lanes], &target[lanes..]), (&patterns[..lanes], &[UNTOUCHED; 3][..]));
        let doubles: Vec<f64> = patterns.iter().map(|&bits| f64::from_bits(u64::from(bits) << 31 | 1)).collect();
        let mut target = vec![0.5; lanes64 + 3];
        simd.store64(simd.load64(&doubles), &mut target);
        assert_eq!((&target[..lanes64], &target[lanes64..]), (&doubles[..lanes64], &[0.5; 3][..]));
    }
    let narrow = narrow();
    check::<S, F32<S::F32>, I32<S::I32>, 1>(
        simd,
        "bits",
        [&narrow],
        |[a]| I32(simd.bits(a.0)),
        |[a], bits| a.to_bits() == bits,
    );
    for value in narrow {
        assert!(F32(simd.splat(value)).lanes(simd).iter().all(|lane| lane.same(value)), "splat {value}");
    }
    for word in WORDS {
        assert!(I32(simd.splat_word(word)).lanes(simd).iter().all(|&lane| lane == word), "splat_word {word}");
    }
    for value in wide() {
        assert!(F64(simd.splat64(value)).lanes(simd).iter().all(|lane| lane.same(value)), "splat64 {value}");
    }
    let short = |panics: &dyn Fn(), what: &str| {
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err(), "{what}: a slice that is too short");
    };
    let mut square = vec![simd.splat(0.0); lanes - 1];
    assert!(catch_unwind(AssertUnwindSafe(|| simd.transpose(&mut square))).is_err(), "transpose: too few registers");
    short(&|| _ = simd.load(&floats[..lanes - 1]), "load");
    for stride in [lanes, lanes + 3, 0] {
        let rows: Vec<f32> = (0..(lanes - 1) * stride + lanes).map(|element| element as f32).collect();
        let mut square = vec![simd.splat(0.0); lanes];
        simd.load_rows(&rows, stride, &mut square);
        for (r, &register) in square.iter().enumerate() {
            assert_eq!(F32(register).lanes(simd), rows[r * stride..][..lanes], "load_rows: row {r} of stride {stride}");
        }
        let one_less = &rows[..rows.len() - 1];
        short(&|| simd.load_rows(one_less, stride, &mut vec![simd.splat(0.0); lanes]), "load_rows");
    }
    short(&|| simd.load_rows(&floats, usize::MAX / 2, &mut vec![simd.splat(0.0); lanes]), "load_rows");
    short(&|| simd.load_rows(&floats, 0, &mut vec![simd.splat(0.0); lanes - 1]), "load_rows");
    short(&|| _ = simd.load_bits(&patterns[..lanes - 1]), "load_bits");
    short(&|| _ = simd.load_words(&patterns[..lanes - 1]), "load_words");
    short(&|| _ = simd.load64(&vec![0.0; lanes64 - 1]), "load64");
    short(&|| _ = simd.widen(&floats[..lanes64 - 1]), "widen");
    short(&|| simd.store(simd.splat(0.0), &mut vec![0.0; lanes - 1]), "store");
    short(&|| simd.store_words(simd.splat_word(0), &mut vec![0; lanes - 1]), "store_words");
    short(&|| simd.store64(simd.splat64(0.0), &mut vec![0.0; lanes64 - 1]), "store64");
    // An address is only a hint.
    for address in [core::ptr::null(), patterns.as_ptr().cast(), core::ptr::without_provenance(usize::MAX)] {
        prefetch(address);
    }
}
