//! The floating-point environment of a thread: how results are rounded, and whether subnormal numbers are flushed to 0.
//!
//! A program may change it, for itself or through a library (audio hosts and PyTorch's `set_flush_denormal` flush
//! subnormals, interval arithmetic rounds up and down), and threads that it starts may inherit it. Compiled Rust takes
//! the default for granted, and so do the bits that this crate promises and the bounds of its screens. So every public
//! call that computes does so in the default environment, and so does each piece of its work on a thread of rayon's;
//! what the program had set is there again afterwards.

use core::hint::black_box;

/// Runs `computation` in the default environment, and restores that of the caller, also on unwinding.
///
/// Where the environment is the default already, it is read, compared, and left alone: a few nanoseconds.
///
/// The compiler does not know that arithmetic depends on the environment, and might move a pure computation out of the
/// two places where it is changed. It cannot here: which function computes is hidden from it, so that neither inlining
/// nor what is known of that function applies, and a call of an unknown function stays between two pieces of assembly
/// that may touch memory.
pub(crate) fn in_default_environment<R>(computation: impl FnOnce() -> R) -> R {
    let (mut computation, mut result) = (Some(computation), None);
    run_in_default(&mut || result = computation.take().map(|computation| computation()));
    result.expect("the computation has returned")
}

/// [`in_default_environment`], compiled once for all computations.
#[inline(never)]
fn run_in_default(computation: &mut dyn FnMut()) {
    let _restored = Environment::enter_default();
    black_box(computation)();
}

/// The environment to return to when this is dropped.
struct Environment(control::Register);

impl Environment {
    /// Sets the default environment.
    fn enter_default() -> Environment {
        let before = control::read();
        if !control::is_default(before) {
            control::write(control::DEFAULT);
        }
        Environment(before)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if !control::is_default(self.0) {
            control::write(self.0);
        }
    }
}

// Miri knows no assembly, and its environment is the default.
#[cfg(all(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse2")), not(miri)))]
mod control {
    //! The register MXCSR, which rules all arithmetic on these targets.

    use core::arch::asm;

    pub(super) type Register = u32;

    /// Rounds to nearest, keeps subnormals, and traps nothing.
    pub(super) const DEFAULT: Register = 0x1F80;

    /// The bits that only record what has happened.
    const FLAGS: Register = 0x3F;

    pub(super) fn is_default(register: Register) -> bool {
        register & !FLAGS == DEFAULT
    }

    pub(super) fn read() -> Register {
        let mut register = 0;
        // SAFETY: the target has SSE, and the instruction writes the four bytes of `register`, nothing else.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack, preserves_flags)) }
        register
    }

    pub(super) fn write(register: Register) {
        // SAFETY: the target has SSE, and the instruction reads the four bytes of `register`. They are the default or
        // were read before, so that no reserved bit is set. Compiled code expects the default, and gets it from here or
        // runs with what its caller has set.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack, preserves_flags)) }
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod control {
    //! The register FPCR. What has happened is recorded elsewhere.

    use core::arch::asm;

    pub(super) type Register = u64;

    /// Rounds to nearest, keeps subnormals, and traps nothing.
    pub(super) const DEFAULT: Register = 0;

    pub(super) fn is_default(register: Register) -> bool {
        register == DEFAULT
    }

    pub(super) fn read() -> Register {
        let register;
        // SAFETY: the register may be read at any time, and reading it changes nothing.
        unsafe { asm!("mrs {}, fpcr", out(reg) register, options(nostack, preserves_flags)) }
        register
    }

    pub(super) fn write(register: Register) {
        // SAFETY: `register` is the default or was read before, so that no reserved bit is set. Compiled code expects
        // the default, and gets it from here or runs with what its caller has set.
        unsafe { asm!("msr fpcr, {}", in(reg) register, options(nostack, preserves_flags)) }
    }
}

#[cfg(not(any(
    all(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse2")), not(miri)),
    all(target_arch = "aarch64", not(miri))
)))]
mod control {
    //! Other processors: nothing is read, and nothing is changed.

    pub(super) type Register = ();

    pub(super) const DEFAULT: Register = ();

    pub(super) fn is_default((): Register) -> bool {
        true
    }

    pub(super) fn read() -> Register {}

    pub(super) fn write((): Register) {}
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{control, in_default_environment};

    /// Environments that are not the default: subnormals are flushed, or results are rounded another way.
    #[cfg(all(any(target_arch = "x86_64", target_arch = "x86"), not(miri)))]
    const OTHERS: [control::Register; 6] = [0x9F80, 0x1FC0, 0x9FC0, 0x3F80, 0x5F80, 0x7F80];
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    const OTHERS: [control::Register; 5] = [1 << 24, 1 << 22, 2 << 22, 3 << 22, 1 << 24 | 3 << 22];
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64"))))]
    const OTHERS: [control::Register; 1] = [()];

    #[test]
    fn the_default_inside_and_what_was_set_outside() {
        let before = control::read();
        for other in OTHERS {
            control::write(other);
            let inside = in_default_environment(control::read);
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                in_default_environment(|| if other == control::read() { 0 } else { panic!("the default") })
            }));
            let outside = control::read();
            control::write(before);
            assert!(control::is_default(inside), "{inside:?} in place of {other:?}");
            assert_eq!(outside, other, "afterwards");
            assert_eq!(unwound.is_err(), other != control::DEFAULT, "the computation panics where it is the default");
        }
        assert_eq!(in_default_environment(|| in_default_environment(|| 7)), 7);
    }
}
