//! `BankOptions`: what a bank keeps beside its rows, and how it is built.

use core::fmt;
use std::borrow::Cow;

use super::Bank;
use crate::arch::{Backend, in_default_environment};
use crate::error::Error;
use crate::parallel::Threads;
use crate::screen::{Method, Methods, Screen};

/// What a [`Bank`] keeps beside its rows, and how it is built. It changes memory and time, never a bit of a result.
///
/// ```
/// use hardneg::{BankOptions, Screen, Threads};
///
/// let options = BankOptions::new().screens(&[Screen::I8, Screen::I16]).threads(Threads::Rayon);
/// let bank = options.build(vec![0.25; 96 * 40], 96)?;
/// assert_eq!((bank.len(), bank.dim()), (40, 96));
/// # Ok::<(), hardneg::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct BankOptions {
    /// The instruction set that the bank is packed for, and that calls against it compute with.
    pub backend: Backend,
    /// Where rows are prepared.
    pub threads: Threads,
    /// For how many rows there is memory from the beginning.
    pub capacity: usize,
    /// Whether a change takes the center anew when it is due.
    pub auto_recenter: bool,
    /// The screens that are kept, `None` for the default.
    screens: Option<Methods>,
}

impl Default for BankOptions {
    fn default() -> BankOptions {
        BankOptions::new()
    }
}

impl BankOptions {
    /// The options of [`Bank::new`]: the CPU's best backend, the calling thread, the screen that the backend is fastest
    /// with, memory for the rows that there are, and a center that is taken anew by the change that makes it due.
    pub fn new() -> BankOptions {
        let (backend, threads) = (Backend::detect(), Threads::default());
        BankOptions { backend, threads, capacity: 0, auto_recenter: true, screens: None }
    }

    /// Sets the instruction set that the bank is packed for. A call against the bank searches with it, whatever its own
    /// [`TripletLoss::backend`](crate::TripletLoss::backend) is, which is left the gradients.
    pub fn backend(self, backend: Backend) -> BankOptions {
        BankOptions { backend, ..self }
    }

    /// Sets where rows are prepared, when the bank is built and when rows come.
    pub fn threads(self, threads: Threads) -> BankOptions {
        BankOptions { threads, ..self }
    }

    /// Sets for how many rows, those that the bank is built of among them, there is memory from the beginning: until there
    /// are more, [`Bank::push`] allocates nothing and copies no row but the new ones. Rows that are borrowed are copied at
    /// once, if there are fewer.
    ///
    /// ```
    /// use hardneg::BankOptions;
    ///
    /// let mut bank = BankOptions::new().capacity(5000).build(vec![0.25; 96 * 40], 96)?;
    /// let bytes = bank.bytes();
    /// bank.push(&vec![0.5; 96 * 4960])?;
    /// assert_eq!((bank.len(), bank.bytes()), (5000, bytes));
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    #[doc(alias = "with_capacity")]
    pub fn capacity(self, rows: usize) -> BankOptions {
        BankOptions { capacity: rows, ..self }
    }

    /// Sets whether a change takes the center of the rows anew, and packs all rows with it, when
    /// [it is due](Bank::is_recenter_due). Without, every change reads the few rows that the table in [`Bank`] names,
    /// and [`Bank::recenter`] is called when the service likes: a bank that is never recentered gives the same bits, but
    /// its screens rule out less if the rows drift away from those it was built of.
    pub fn auto_recenter(self, auto: bool) -> BankOptions {
        BankOptions { auto_recenter: auto, ..self }
    }

    /// Sets the screens that are kept. A call begins with the coarsest of them, and changes to a finer one, or computes
    /// pairs exactly, where that is cheaper.
    ///
    /// | screen | bytes beside the four of an element | what it serves |
    /// |---|---|---|
    /// | [`I8`](Screen::I8) | 1, and 16 a row | `Any`; positives more similar than nearly all negatives |
    /// | [`I16`](Screen::I16) | 2, and 16 a row | positives among the negatives, as before training |
    /// | [`F32`](Screen::F32) | 4 | CPUs without fast products of integers |
    /// | [`Off`](Screen::Off) | 0 | rows that are alike to the last digits |
    /// | [`Auto`](Screen::Auto) | | the default: `I8` on the backends `avx512`, `avx_vnni`, `avx2` and `neon_dotprod`, `F32` elsewhere |
    ///
    /// Norms and sums take 8 bytes a row and a twelfth of a byte an element more.
    pub fn screens(self, screens: &[Screen]) -> BankOptions {
        if screens.contains(&Screen::Auto) {
            return BankOptions { screens: None, ..self };
        }
        let kept = screens.iter().filter_map(|screen| screen.format()).map(Method::Screen);
        BankOptions { screens: Some(kept.fold(Methods::NONE, Methods::with)), ..self }
    }

    /// The bank of `rows`, row-major, of `dim` elements each: it owns a `Vec`, and borrows a slice (of a memory-mapped
    /// file, say) without a copy.
    ///
    /// # Errors
    /// `dim` is 0; the rows are not a whole number of rows; a row is not finite; there is no memory.
    ///
    /// # Allocation
    /// All that the bank keeps: see [`Bank::bytes`].
    pub fn build<'a>(self, rows: impl Into<Cow<'a, [f32]>>, dim: usize) -> Result<Bank<'a>, Error> {
        in_default_environment(|| Bank::built(self, rows.into(), dim))
    }

    /// The screens that a bank of rows of `dim` elements keeps.
    pub(super) fn methods(self, dim: usize) -> Methods {
        self.screens.unwrap_or_else(|| Screen::kept_by_default(self.backend)).for_rows_of(dim)
    }
}

impl fmt::Debug for BankOptions {
    /// The options by their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BankOptions")
            .field("backend", &format_args!("{}", self.backend))
            .field("threads", &format_args!("{}", self.threads))
            .field("capacity", &self.capacity)
            .field("auto_recenter", &self.auto_recenter)
            .field("screens", &Kept(self.screens))
            .finish()
    }
}

/// Prints the screens that a bank keeps by their names.
pub(super) struct Kept(pub(super) Option<Methods>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(kept) = self.0 else { return write!(f, "{}", Screen::Auto) };
        let is_kept = |screen: &Screen| screen.format().is_some_and(|format| kept.contains(Method::Screen(format)));
        let mut list = f.debug_list();
        for screen in Screen::all().filter(is_kept) {
            list.entry(&format_args!("{screen}"));
        }
        list.finish()
    }
}
