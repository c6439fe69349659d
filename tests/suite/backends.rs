//! Every instruction set of this CPU is there and is exercised, and its kernels give the bits of the reference.

use hardneg::{Backend, Error, Workspace, reference};

use crate::common::{ALL_NEGATIVES, ALL_THREADS, OwnedBatch, Pairing, Random, bits, check_forward};

/// Whether the operating system lists all of these features of the CPU; `None` where it does not say.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_os = "linux"))]
fn listed(features: &[&str]) -> Option<bool> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let flags = text.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    let flags: Vec<&str> = flags.split_whitespace().collect();
    Some(features.iter().all(|feature| flags.contains(feature)))
}

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(target_os = "linux")))]
fn listed(_features: &[&str]) -> Option<bool> {
    None
}

/// Panics unless a backend is there, and is exercised, where the CPU has its instructions.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn check_detection(name: &str, has: bool, features: &[&str], backend: Option<Backend>) {
    assert_eq!(has, backend.is_some(), "{name}: the CPU and the crate disagree");
    assert!(has || listed(features) != Some(true), "{name}: the operating system lists it, detection missed it");
    assert_eq!(has, Backend::available().any(|backend| backend.name() == name), "{name} is not exercised");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn no_instruction_set_of_this_cpu_is_left_out() {
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let has_avx_vnni = has_avx2 && is_x86_feature_detected!("avxvnni");
    let has_avx512 = has_avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
    check_detection("avx2", has_avx2, &["avx2", "fma"], Backend::avx2());
    check_detection("avx_vnni", has_avx_vnni, &["avx2", "fma", "avx_vnni"], Backend::avx_vnni());
    check_detection("avx512", has_avx512, &["avx2", "fma", "avx512f", "avx512_vnni"], Backend::avx512());
}

#[cfg(target_arch = "aarch64")]
#[test]
fn no_instruction_set_of_this_cpu_is_left_out() {
    let has_neon = std::arch::is_aarch64_feature_detected!("neon") && cfg!(target_endian = "little");
    let has_dotprod = has_neon && std::arch::is_aarch64_feature_detected!("dotprod");
    check_detection("neon", has_neon, &["asimd"], Backend::neon());
    check_detection("neon_dotprod", has_dotprod, &["asimd", "asimddp"], Backend::neon_dotprod());
}

#[test]
fn names_and_choices() {
    let names: Vec<&str> = Backend::available().map(Backend::name).collect();
    assert_eq!(names[0], "portable");
    assert!(
        names.iter().all(|name| ["portable", "avx2", "avx_vnni", "avx512", "neon", "neon_dotprod"].contains(name)),
        "{names:?}"
    );
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    assert_eq!(Backend::portable().name(), "portable");
    assert!(Backend::avx2().is_none_or(|backend| backend.name() == "avx2"));
    assert!(Backend::avx_vnni().is_none_or(|backend| backend.name() == "avx_vnni"));
    assert!(Backend::avx512().is_none_or(|backend| backend.name() == "avx512"));
    assert!(Backend::neon().is_none_or(|backend| backend.name() == "neon"));
    assert!(Backend::neon_dotprod().is_none_or(|backend| backend.name() == "neon_dotprod"));
    assert!(Backend::available().any(|backend| backend == Backend::detect()));
    assert_eq!(Backend::default(), Backend::detect());
}

/// Vectors that make trouble for sums, element by element.
#[derive(Clone, Copy, Debug)]
enum Elements {
    Integers,
    Random,
    /// Every magnitude that an `f32` has, each element with its own, signs at random.
    AllMagnitudes,
    /// Rows of one magnitude, at both ends of the range and around its middle.
    Tiny,
    Huge,
    Subnormals,
    /// Mostly zeros of both signs.
    SignedZeros,
    /// Pairs that cancel, and little else.
    Cancelling,
}

const ALL_ELEMENTS: [Elements; 8] = [
    Elements::Integers,
    Elements::Random,
    Elements::AllMagnitudes,
    Elements::Tiny,
    Elements::Huge,
    Elements::Subnormals,
    Elements::SignedZeros,
    Elements::Cancelling,
];

/// `2^exponent`, where `f32` has it.
fn power_of_two(exponent: i32) -> f32 {
    2.0_f64.powi(exponent) as f32
}

impl Elements {
    fn element(self, random: &mut Random, index: usize) -> f32 {
        let unit = random.unit();
        match self {
            Elements::Integers => (unit * 9.0).round(),
            Elements::Random => unit,
            Elements::AllMagnitudes => {
                let exponent = random.below(277) as i32 - 149;
                (unit.signum() + unit) * power_of_two(exponent).min(power_of_two(126))
            }
            Elements::Tiny => unit * power_of_two(-126),
            Elements::Huge => unit * f32::MAX,
            Elements::Subnormals => f32::from_bits(random.below(1 << 23) as u32).copysign(unit),
            Elements::SignedZeros => match random.below(4) {
                0 => unit,
                1 => 0.0,
                _ => -0.0,
            },
            Elements::Cancelling => [1e30, -1e30, unit, 1.0, -1.0][index % 5],
        }
    }

    fn vector(self, random: &mut Random, length: usize) -> Vec<f32> {
        (0..length).map(|index| self.element(random, index)).collect()
    }
}

/// Every remainder of every lane count and loop, and some rows of real lengths.
fn lengths() -> impl Iterator<Item = usize> {
    (1..=140).chain(255..=257).chain(1023..=1025).chain([4096])
}

/// Every kernel on `x` and `y` against the reference. The buffers are a little longer than what may be written.
fn check_kernels(x: &[f32], y: &[f32], what: &str) {
    let (dot, norm) = (reference::dot(x, y), reference::norm(x));
    let (cosine, unit) = (reference::cosine_similarity(x, y), reference::normalize(x));
    for backend in Backend::available() {
        let what = format!("{what}, {backend}");
        assert_eq!(dot.to_bits(), backend.dot(x, y).unwrap().to_bits(), "{what}: dot");
        assert_eq!(norm.to_bits(), backend.norm(x).unwrap().to_bits(), "{what}: norm");
        assert_eq!(cosine.to_bits(), backend.cosine_similarity(x, y).unwrap().to_bits(), "{what}: cosine");
        let mut guarded = vec![7.0; x.len() + 2];
        backend.normalize_into(x, &mut guarded[1..=x.len()]).unwrap();
        assert_eq!(bits(&unit), bits(&guarded[1..=x.len()]), "{what}: normalize");
        assert_eq!((guarded[0], guarded[x.len() + 1]), (7.0, 7.0), "{what}: guards");
    }
}

#[test]
fn kernels_at_every_length() {
    for length in lengths() {
        for (kind, elements) in ALL_ELEMENTS.into_iter().enumerate() {
            let mut random = Random((length * 8 + kind) as u64);
            // One element more on the left of one vector, so that the two are aligned differently.
            let (x, y) = (elements.vector(&mut random, length), elements.vector(&mut random, length + 1));
            check_kernels(&x, &y[1..], &format!("{elements:?} {length}"));
        }
    }
}

#[test]
fn kernels_on_two_kinds_of_elements() {
    for length in [1, 2, 31, 32, 33, 100] {
        for left in ALL_ELEMENTS {
            for right in ALL_ELEMENTS {
                let mut random = Random(length as u64);
                let (x, y) = (left.vector(&mut random, length), right.vector(&mut random, length));
                check_kernels(&x, &y, &format!("{left:?} and {right:?} {length}"));
            }
        }
    }
}

/// Powers of two change no digit: the cosine of scaled rows is that of the rows.
#[test]
fn scaled_rows_have_the_same_cosine() {
    let mut random = Random(1);
    let x: Vec<f32> = (0..100).map(|_| 1.0 + random.below(2) as f32).collect();
    let y: Vec<f32> = (0..100).map(|_| random.below(3) as f32 - 1.0).collect();
    let expected = reference::cosine_similarity(&x, &y).to_bits();
    for backend in Backend::available() {
        for (left, right) in (-149..=126).map(|exponent| (exponent, -23 - exponent)) {
            let scaled = |values: &[f32], exponent| -> Vec<f32> {
                values.iter().map(|value| value * power_of_two(exponent)).collect()
            };
            let actual = backend.cosine_similarity(&scaled(&x, left), &scaled(&y, right)).unwrap();
            assert_eq!(expected, actual.to_bits(), "{backend}: 2^{left} and 2^{right}");
        }
    }
}

#[test]
fn similarity_matrices() {
    let shapes =
        lengths().map(|dim| (2, 3, dim)).chain([(1, 1, 5), (3, 127, 9), (2, 128, 33), (4, 129, 16), (5, 300, 7)]);
    for (turn, (rows, columns, dim)) in shapes.enumerate() {
        let elements = ALL_ELEMENTS[turn % ALL_ELEMENTS.len()];
        let mut random = Random(turn as u64);
        let (x, y) = (elements.vector(&mut random, rows * dim), elements.vector(&mut random, columns * dim));
        let expected = bits(&reference::similarity_matrix(&x, &y, dim));
        for backend in Backend::available() {
            let mut guarded = vec![7.0; rows * columns + 2];
            let output = &mut guarded[1..=rows * columns];
            backend.similarity_matrix_into(&x, &y, dim, output).unwrap();
            assert_eq!(expected, bits(output), "{elements:?} {rows} x {columns} x {dim}, {backend}");
            assert_eq!((guarded[0], guarded[rows * columns + 1]), (7.0, 7.0), "guards");
        }
    }
}

/// Every number of anchors and candidates around the tiles of dot products, of every length around the virtual lanes.
#[test]
fn similarity_matrices_around_every_tile() {
    let dims = (1..=67).chain([127, 128, 129, 383, 384, 385, 767, 768, 769]);
    for (turn, dim) in dims.enumerate() {
        for rows in 1..=7 {
            let columns = 1 + (turn + 5 * rows) % 14;
            let elements = ALL_ELEMENTS[(turn + rows) % ALL_ELEMENTS.len()];
            let mut random = Random((turn * 8 + rows) as u64);
            let (x, y) = (elements.vector(&mut random, rows * dim), elements.vector(&mut random, columns * dim));
            let expected = bits(&reference::similarity_matrix(&x, &y, dim));
            for backend in Backend::available() {
                let mut output = vec![7.0; rows * columns];
                backend.similarity_matrix_into(&x, &y, dim, &mut output).unwrap();
                assert_eq!(expected, bits(&output), "{elements:?} {rows} x {columns} x {dim}, {backend}");
            }
        }
    }
    // More rows than a block of the matrix has, on both sides.
    for (rows, columns, dim) in [(95, 11, 3), (96, 12, 16), (97, 13, 17), (193, 25, 5)] {
        let mut random = Random(rows as u64);
        let (x, y) = (random.rows(rows, dim), random.rows(columns, dim));
        let expected = bits(&reference::similarity_matrix(&x, &y, dim));
        for backend in Backend::available() {
            let mut output = vec![7.0; rows * columns];
            backend.similarity_matrix_into(&x, &y, dim, &mut output).unwrap();
            assert_eq!(expected, bits(&output), "{rows} x {columns} x {dim}, {backend}");
        }
    }
}

/// On several threads the bits are the same: of one anchor, of a few, and of so many that they are divided.
#[test]
fn similarity_matrices_on_several_threads() {
    for (rows, columns, dim) in [(1, 9, 33), (7, 300, 20), (410, 300, 48)] {
        let mut random = Random(rows as u64);
        let (x, y) = (random.rows(rows, dim), random.rows(columns, dim));
        let expected = bits(&reference::similarity_matrix(&x, &y, dim));
        for (backend, threads) in Backend::available().flat_map(|backend| ALL_THREADS.map(|threads| (backend, threads)))
        {
            let mut output = vec![7.0; rows * columns];
            backend.similarity_matrix_into_on(threads, &x, &y, dim, &mut output).unwrap();
            assert_eq!(expected, bits(&output), "{rows} x {columns} x {dim}, {backend}, {threads}");
            output[0] = 7.0;
            let error = backend.similarity_matrix_into_on(threads, &x, &y, dim, &mut output[1..]).unwrap_err();
            assert!(matches!(error, Error::Length { .. }) && output[0] == 7.0, "{error}");
        }
    }
}

/// A similarity that is too small for an `f32` and negative is `-0.0`, which is equal to `0.0` and has other bits.
#[test]
fn negative_zero() {
    let large = power_of_two(127);
    let tiny = power_of_two(-149);
    let anchors = [large, tiny, -large, tiny];
    let candidates = [-tiny, large, tiny, large, 0.0, 0.0, 0.0, large, -0.0, -0.0, 0.0, -large];
    let matrix = reference::similarity_matrix(&anchors, &candidates, 2);
    assert!(matrix.iter().any(|value| value.to_bits() == (-0.0_f32).to_bits()), "{matrix:?}");
    for candidate in candidates.chunks(2) {
        check_kernels(&anchors[..2], candidate, "-0.0");
        check_kernels(candidate, &anchors[2..], "-0.0");
    }
    let mut workspace = Workspace::new();
    for negatives in ALL_NEGATIVES {
        for first in 0..6 {
            let positives = vec![first, 5 - first];
            let what = format!("-0.0, positives {positives:?}");
            let batch = OwnedBatch::new(anchors.to_vec(), candidates.to_vec(), 2, Pairing::Indices(positives));
            check_forward(batch.batch(), negatives, &mut workspace, &what);
        }
    }
}
