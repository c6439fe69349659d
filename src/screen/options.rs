//! `Screen`: the option of users, and what it means for a batch.

use super::cost;
use super::float;
use super::method::{Method, Methods};
use super::quantize::MAX_DIM;
use crate::arch::Backend;
use crate::kernels::Format;
use crate::rows::Shape;

/// How pairs that cannot matter are ruled out. It changes the time, never a bit of the result.
///
/// The names are `auto`, `f32`, `i16`, `i8` and `off`. Leave it at `Auto`, which decides by itself, unless you know
/// better:
///
/// | your batches | what pays |
/// |---|---|
/// | up to eight rows on both sides | `Off` |
/// | up to some 140 rows on both sides (80 with AVX-512, 64 with NEON), or two to 24 anchors (18 with AVX-512, 32 with NEON) | `F32`, which packs nothing there |
/// | one anchor | `Off` |
/// | `dim` under 20, or fewer than 6000 elements on the larger side (40 and 20000 with AVX2) | `F32` |
/// | positives more similar than nearly all negatives, as after training | `I8` |
/// | positives among the negatives, as before training | `I16` |
/// | rows that are alike to the last digits | `Off` |
///
/// `Auto` takes `I8` on the backends `avx512`, `avx_vnni`, `avx2` and `neon_dotprod`, `I16` on the first three, and `F32`
/// on all. Every screen can be had on every [`Backend`]. The memory for `Auto` is that for `F32`, a word of 32 bits an
/// element; integers alone need a half and a quarter of it. `Auto` alone computes pairs exactly where its screen leaves
/// too many of them, so that no data makes a call slow: the others do what their name says.
///
/// ```
/// use hardneg::{Batch, Screen, TripletLoss, Workspace};
///
/// let rows = [1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0];
/// let (batch, mut workspace) = (Batch::paired(&rows, &rows, 2)?, Workspace::new());
/// let expected = TripletLoss::new().forward(batch, &mut workspace)?.loss();
/// for screen in Screen::all() {
///     assert_eq!(TripletLoss::new().screen(screen).forward(batch, &mut workspace)?.loss(), expected);
/// }
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Screen {
    /// By the cheapest of the others that pays: chosen anew for each call and each block of anchors.
    #[default]
    Auto,
    /// By similarities computed in `f32`.
    F32,
    /// By similarities of rows rounded to 16-bit integers. Rows longer than 2^15 take `F32`.
    I16,
    /// By similarities of rows rounded to 8-bit integers: up to 127, or up to 90 with `avx2`. Rows longer than 2^15 take
    /// `F32`.
    I8,
    /// Not at all: every pair is computed exactly, in tiles. On large batches several times slower.
    Off,
}

impl Screen {
    pub(crate) const ALL: [Screen; 5] = [Screen::Auto, Screen::F32, Screen::I16, Screen::I8, Screen::Off];

    /// All of them.
    pub fn all() -> impl ExactSizeIterator<Item = Screen> + Clone {
        Screen::ALL.into_iter()
    }

    /// What it screens in; nothing for those that leave it to the call, or screen nothing.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Screen::F32 => Some(Format::Float32),
            Screen::I16 => Some(Format::Int16),
            Screen::I8 => Some(Format::Int8),
            Screen::Auto | Screen::Off => None,
        }
    }

    /// The screens that a bank keeps unless it is told otherwise: the one that the backend is fastest with.
    pub(crate) fn kept_by_default(backend: Backend) -> Methods {
        Methods::screen(cost::fastest(backend))
    }

    /// The methods of a call against candidates that were packed for those of `kept`: the screen that was asked for, if
    /// it is kept, or else all of them and the exact tile.
    pub(crate) fn of_kept(self, backend: Backend, shape: Shape, kept: Methods) -> Methods {
        let asked = self.format().map(Method::Screen).filter(|&screen| kept.contains(screen));
        match asked {
            Some(screen) => Methods::only(screen),
            None if self == Screen::Off || cost::is_small(backend, shape) => Methods::only(Method::Exact),
            None => kept.with(Method::Exact),
        }
    }

    /// Whether all pairs of a call are computed exactly, as it is small, unless its rows are screened unpacked.
    pub(crate) fn is_small(self, backend: Backend, shape: Shape) -> bool {
        matches!(self, Screen::Auto | Screen::Off) && cost::is_small(backend, shape)
    }

    /// Whether a call is screened in `f32` by rows as they lie in memory, and about how long it takes on one thread.
    pub(crate) fn nanoseconds_unpacked(self, backend: Backend, shape: Shape) -> Option<f64> {
        // Where it is asked for, up to twice as many pairs, so that both ways can be measured around the crossover.
        let is_unpacked = match self {
            Screen::Auto => cost::is_unpacked(backend, shape, 1),
            Screen::F32 => cost::is_unpacked(backend, shape, 2),
            Screen::I16 | Screen::I8 | Screen::Off => false,
        };
        is_unpacked.then(|| cost::nanoseconds(backend, shape, Method::Screen(Format::Float32), false))
    }

    /// About how long a call against prepared candidates takes on one thread.
    pub(crate) fn nanoseconds_of_kept(backend: Backend, shape: Shape, methods: Methods) -> f64 {
        cost::nanoseconds(backend, shape, methods.first(), true)
    }

    /// What a call may need of the screens, whatever its rows hold.
    pub(crate) fn plan(self, backend: Backend, shape: Shape) -> ScreenPlan {
        let dim = shape.dim;
        let pays = cost::first_that_pays(backend, shape);
        let methods = match self {
            Screen::I16 | Screen::I8 if dim > MAX_DIM => Methods::screen(Format::Float32),
            Screen::Auto if cost::has_fast_i16(backend) => Methods::range(pays, Method::Exact),
            Screen::Auto => Methods::range(pays, Method::Exact).without(Method::Screen(Format::Int16)),
            Screen::Off => Methods::only(Method::Exact),
            Screen::F32 => Methods::screen(Format::Float32),
            Screen::I16 => Methods::screen(Format::Int16),
            Screen::I8 => Methods::screen(Format::Int8),
        };
        // A smaller shape may be quantised where a larger one is not, for the length of its rows.
        let may_quantise = methods.round_rows() || !matches!(self, Screen::F32 | Screen::Off) && dim > MAX_DIM;
        let is_unpacked = match self {
            // A single anchor is multiplied exactly with a candidate while the norm of that is computed.
            Screen::Auto => shape.anchors > 1 && cost::is_unpacked_pass(backend, shape, 1),
            Screen::F32 => cost::is_unpacked_pass(backend, shape, 2),
            Screen::I16 | Screen::I8 | Screen::Off => false,
        };
        // Without a screen up to twice as many rows, so that both ways can be measured around the crossover.
        let is_exact = methods == Methods::only(Method::Exact)
            && cost::is_direct(backend, shape, if self == Screen::Off { 2 } else { 1 });
        let first = if is_unpacked { Method::Screen(Format::Float32) } else { methods.first() };
        ScreenPlan {
            is_direct: is_unpacked || is_exact,
            is_unpacked,
            methods,
            quantised_dim: if may_quantise { dim.min(MAX_DIM) } else { 0 },
            float_bound: float::bound(dim),
            nanoseconds: cost::nanoseconds(backend, shape, first, false),
        }
    }
}

/// What a call may need of the screens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScreenPlan {
    /// Whether a batch takes one pass over the candidates, as it is small or has few rows on a side. All pairs are computed
    /// exactly there, unless rows are screened.
    pub(crate) is_direct: bool,
    /// Whether rows are screened as they lie in memory in that pass.
    pub(crate) is_unpacked: bool,
    /// The methods that a block may begin with or change to.
    pub(crate) methods: Methods,
    /// The length of the longest rows that memory for integers is needed for; 0 for none.
    pub(crate) quantised_dim: usize,
    /// The error that a sum in `f32` may have.
    pub(crate) float_bound: f32,
    /// About how long the call takes on one thread, if the first method pays.
    pub(crate) nanoseconds: f64,
}

impl ScreenPlan {
    /// The most words of a candidate of `dim` elements in any of the formats.
    pub(crate) fn most_words_per_candidate(self, dim: usize) -> usize {
        self.methods.formats().map(|format| format.words_per_candidate(dim)).max().unwrap_or(0)
    }
}
