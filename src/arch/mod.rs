//! Instructions: which instruction sets this CPU has, what each of them can do, and the floating-point environment that
//! they compute in. No other folder names an instruction, and this one imports nothing of the crate.

// Of big-endian Arm the order of lanes is another, and nothing was tried there: it has the portable backend.
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod aarch64;
mod baseline;
#[cfg(test)]
mod conformance;
mod environment;
mod portable;
mod simd;
mod traits;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use core::fmt;

pub(crate) use baseline::{in_range, prefetch};
pub(crate) use environment::in_default_environment;
pub(crate) use simd::{DotKernel, Simd, TileKernel, WithSimd};
pub(crate) use traits::{Costs, TileShape, Traits};

/// The instruction set that a call computes with. It changes the time, never a bit of the result.
///
/// A value of this type exists only where the CPU has the instruction set, so that passing one can never fail.
///
/// ```
/// use hardneg::Backend;
///
/// let best = Backend::detect();
/// assert!(Backend::available().any(|backend| backend == best));
/// assert_eq!(Backend::portable().name(), "portable");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backend(Kind);

/// The tokens, each proof of its instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Portable(portable::Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86_64::Avx2<false>),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(x86_64::Avx2<true>),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86_64::Avx512),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon(aarch64::Neon<false>),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    NeonDotprod(aarch64::Neon<true>),
}

impl Backend {
    /// The fastest backend of this CPU. The standard library remembers what it asked the CPU, so this is cheap.
    ///
    /// AVX-512 is chosen on cores of the Ice Lake and Zen 4 class and later. Cascade Lake, which lowers its clock for
    /// it, has it only on request ([`Backend::avx512`]). AVX-512 without VNNI (Skylake-X) is not used: such cores take
    /// AVX2. On 64-bit Arm it is NEON, with the integer dot products where the CPU has them.
    #[must_use]
    pub fn detect() -> Backend {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(token) = x86_64::Avx512::detect().filter(|token| token.is_preferred()) {
                return Backend(Kind::Avx512(token));
            }
            if let Some(backend) = Backend::avx_vnni().or_else(Backend::avx2) {
                return backend;
            }
        }
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        if let Some(backend) = Backend::neon_dotprod().or_else(Backend::neon) {
            return backend;
        }
        Backend::portable()
    }

    /// The backend without any instruction beyond those the crate was compiled for.
    #[must_use]
    pub fn portable() -> Backend {
        Backend(Kind::Portable(portable::Portable))
    }

    /// AVX2 with FMA, where the CPU has both.
    #[must_use]
    pub fn avx2() -> Option<Backend> {
        #[cfg(target_arch = "x86_64")]
        return x86_64::Avx2::detect().map(|token| Backend(Kind::Avx2(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// AVX2 with FMA and the integer dot products of AVX-VNNI, where the CPU has all of them.
    #[must_use]
    pub fn avx_vnni() -> Option<Backend> {
        #[cfg(target_arch = "x86_64")]
        return x86_64::Avx2::detect().map(|token| Backend(Kind::AvxVnni(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// AVX-512F with AVX-512 VNNI, where the CPU has both, and AVX2 and FMA with them; `None` on AVX-512 cores without
    /// VNNI.
    #[must_use]
    pub fn avx512() -> Option<Backend> {
        #[cfg(target_arch = "x86_64")]
        return x86_64::Avx512::detect().map(|token| Backend(Kind::Avx512(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// NEON, on 64-bit Arm (little-endian).
    #[must_use]
    pub fn neon() -> Option<Backend> {
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        return aarch64::Neon::detect().map(|token| Backend(Kind::Neon(token)));
        #[cfg(not(all(target_arch = "aarch64", target_endian = "little")))]
        None
    }

    /// NEON with the integer dot products of the extension DotProd, where the CPU has both.
    #[must_use]
    pub fn neon_dotprod() -> Option<Backend> {
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        return aarch64::Neon::detect().map(|token| Backend(Kind::NeonDotprod(token)));
        #[cfg(not(all(target_arch = "aarch64", target_endian = "little")))]
        None
    }

    /// Every backend of this CPU, the portable one first.
    pub fn available() -> impl Iterator<Item = Backend> {
        let of_x86_64 = [Backend::avx2(), Backend::avx_vnni(), Backend::avx512()];
        let of_aarch64 = [Backend::neon(), Backend::neon_dotprod()];
        let backends = [Backend::portable()].into_iter().chain(of_x86_64.into_iter().chain(of_aarch64).flatten());
        #[cfg(all(test, target_arch = "x86_64"))]
        let backends = backends.chain(x86_64::Avx512::detect().map(|token| Backend(Kind::Avx512(token.otherwise()))));
        backends
    }

    /// The name that is read as [`Backend::detect`].
    pub(crate) const AUTO: &'static str = "auto";

    /// The names that are read: those of all backends, whether this CPU has them or not, and [`Backend::AUTO`].
    pub(crate) const NAMES: &'static [&'static str] =
        &[Backend::AUTO, "portable", "avx2", "avx_vnni", "avx512", "neon", "neon_dotprod"];

    /// `portable`, `avx2`, `avx_vnni`, `avx512`, `neon` or `neon_dotprod`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni(_) => "avx_vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::Neon(_) => "neon",
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::NeonDotprod(_) => "neon_dotprod",
        }
    }

    /// The constants by which [`Screen::Auto`](crate::Screen::Auto) chooses, by name. `hardneg-compare crossovers` measures
    /// what they should be; they are no part of the interface, and change between versions.
    #[doc(hidden)]
    #[must_use]
    pub fn costs(self) -> [(&'static str, f64); 16] {
        self.traits().costs.named()
    }

    /// The numbers of this instruction set.
    pub(crate) const fn traits(self) -> Traits {
        match self.0 {
            Kind::Portable(_) => Traits::of::<portable::Portable>(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => Traits::of::<x86_64::Avx2<false>>(),
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni(_) => Traits::of::<x86_64::Avx2<true>>(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => Traits::of::<x86_64::Avx512>(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::Neon(_) => Traits::of::<aarch64::Neon<false>>(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::NeonDotprod(_) => Traits::of::<aarch64::Neon<true>>(),
        }
    }

    /// Runs `kernel` compiled for this instruction set, less its integer dot products where another set is the same but
    /// for them: both share the code.
    #[inline]
    pub(crate) fn run<W: WithSimd>(self, kernel: W) -> W::Output {
        match self.0 {
            Kind::Portable(token) => token.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(token) => token.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni(token) => token.without_vnni().run(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(token) => token.run(kernel),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::Neon(token) => token.run(kernel),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::NeonDotprod(token) => token.without_dotprod().run(kernel),
        }
    }

    /// Runs `kernel`, most of whose time goes into widening `f32`, compiled for the instruction set that does so the
    /// fastest: Zen 4 splits an operation of 512 bits into two, and multiplies 7.3 widened numbers a cycle in registers of
    /// 256 bits and 4.2 in those of 512.
    #[inline]
    pub(crate) fn run_widening<W: WithSimd>(self, kernel: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        if let Kind::Avx512(token) = self.0
            && let Some(half) = token.with_half_registers()
        {
            return half.run(kernel);
        }
        self.run(kernel)
    }

    /// Runs `kernel`, which multiplies integers, compiled for this instruction set with its integer dot products.
    #[inline]
    pub(crate) fn run_with_dots<W: WithSimd>(self, kernel: W) -> W::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni(token) => token.run(kernel),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::NeonDotprod(token) => token.run(kernel),
            _ => self.run(kernel),
        }
    }
}

impl Default for Backend {
    /// [`Backend::detect`].
    fn default() -> Backend {
        Backend::detect()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name())
    }
}
