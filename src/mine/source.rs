//! Where the candidates of a call come from: raw rows, which the call prepares, or a bank, in which they are prepared.

use crate::arch::Backend;
use crate::bank::Bank;
use crate::candidates::{CandidateBuffers, Candidates};
use crate::error::{Error, Side};
use crate::parallel::Join;
use crate::rows::Rows;
use crate::screen::{Center, Format, Params, Precision, ScreenPlan};

/// The candidates of a call that has not begun.
pub(super) enum Unprepared<'a> {
    /// Raw rows: the memory in which they are prepared, and that of their center.
    Rows(CandidateBuffers<'a>, &'a mut [f32]),
    Bank(&'a Bank<'a>),
}

impl<'a> Unprepared<'a> {
    /// The candidates with what their rows are packed with.
    pub(super) fn open(self, backend: Backend, rows: Rows<'_>, screens: ScreenPlan) -> (Source<'a>, Params<'a>) {
        match self {
            Unprepared::Rows(buffers, center) => {
                let center = if screens.is_quantised() { Center::of(backend, rows, center) } else { Center::NONE };
                (Source::Rows(buffers), Params { center, float_bound: screens.float_bound })
            }
            Unprepared::Bank(bank) => (Source::Bank(bank), bank.params()),
        }
    }
}

/// The candidates of a call.
pub(super) enum Source<'a> {
    /// Raw rows, and the memory in which they are prepared.
    Rows(CandidateBuffers<'a>),
    Bank(&'a Bank<'a>),
}

impl Source<'_> {
    /// The candidates with panels of one format. See [`CandidateBuffers::prepare`].
    pub(super) fn prepare<'b, F: Format>(
        &'b mut self,
        backend: Backend,
        join: Join,
        side: Side,
        params: Params<'b>,
        measured: bool,
    ) -> Result<Candidates<'b>, Error> {
        match self {
            Source::Rows(buffers) => buffers.prepare::<F>(backend, join, side, params, measured),
            Source::Bank(bank) => Ok(bank.candidates(F::PRECISION)),
        }
    }

    /// The candidates without panels. See [`CandidateBuffers::measure`].
    pub(super) fn measure<'b>(
        &'b mut self,
        backend: Backend,
        join: Join,
        side: Side,
        params: Params<'b>,
    ) -> Result<Candidates<'b>, Error> {
        match self {
            Source::Rows(buffers) => buffers.measure(backend, join, side, params),
            Source::Bank(bank) => Ok(bank.candidates(Precision::Exact)),
        }
    }

    /// How many candidates have norm 0.
    pub(super) fn zero_rows(&self) -> usize {
        match self {
            Source::Rows(buffers) => buffers.zero_rows(),
            Source::Bank(bank) => bank.zero_rows(),
        }
    }
}
