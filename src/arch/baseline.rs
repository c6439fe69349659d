//! What every CPU of a target has, for code that is compiled once: a comparison of a few numbers at a time, and the
//! request for a cache line.

use wide::f32x4;

/// Bit `l` is set where `low <= values[l] <= high`; it is not where one of them is NaN. At most 64 values, a multiple of
/// 4.
#[inline(always)]
pub(crate) fn in_range(values: &[f32], low: f32, high: f32) -> u64 {
    debug_assert!(values.len() <= 64 && values.len().is_multiple_of(4));
    let (mut bits, low, high) = (0, f32x4::splat(low), f32x4::splat(high));
    for (quad, &values) in values.as_chunks::<4>().0.iter().enumerate() {
        let values = f32x4::new(values);
        bits |= u64::from((values.simd_ge(low) & values.simd_le(high)).to_bitmask()) << (4 * quad);
    }
    bits
}

/// Asks for the cache line at `address`, which may be anything, into the second-level cache. Only a hint.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 CPU has the instruction, and it never faults, wherever the address points.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T1 }>(address.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: every 64-bit Arm CPU has the instruction, it never faults, wherever the address points, and it changes no
    // register and no memory.
    unsafe {
        core::arch::asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::in_range;

    const NUMBERS: [f32; 9] =
        [-0.0, 1.0, f32::NAN, -1.0, 1e-45, f32::INFINITY, f32::MAX, f32::NEG_INFINITY, 1.0 + f32::EPSILON];

    /// Every number in every place, between all ends, in slices of every length.
    #[test]
    fn a_bit_for_each_number_in_range() {
        for (length, turn) in (0..=64).step_by(4).flat_map(|length| (0..NUMBERS.len()).map(move |turn| (length, turn)))
        {
            let values: Vec<f32> = (0..length).map(|index| NUMBERS[(index + turn) % NUMBERS.len()]).collect();
            for (low, high) in NUMBERS.into_iter().flat_map(|low| NUMBERS.map(|high| (low, high))) {
                let is_in = |value: f32| low <= value && value <= high;
                let expected =
                    values.iter().enumerate().fold(0, |bits, (index, &value)| bits | u64::from(is_in(value)) << index);
                assert_eq!(in_range(&values, low, high), expected, "from {low} to {high}: {values:?}");
            }
        }
    }
}
