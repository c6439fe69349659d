//! Values of options, as the command line names them and as the library takes them.

use clap::ValueEnum;
use hardneg::{Backend, Negatives, Reduction, Screen};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum NegativesArg {
    Below,
    AtOrBelow,
    Any,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ReductionArg {
    Sum,
    Mean,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum BackendArg {
    Auto,
    Portable,
    Avx2,
    #[value(name = "avx_vnni")]
    AvxVnni,
    Avx512,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ScreenArg {
    Auto,
    F32,
    I16,
    I8,
    Off,
}

impl From<NegativesArg> for Negatives {
    fn from(argument: NegativesArg) -> Negatives {
        match argument {
            NegativesArg::Below => Negatives::Below,
            NegativesArg::AtOrBelow => Negatives::AtOrBelow,
            NegativesArg::Any => Negatives::Any,
        }
    }
}

impl From<ReductionArg> for Reduction {
    fn from(argument: ReductionArg) -> Reduction {
        match argument {
            ReductionArg::Sum => Reduction::Sum,
            ReductionArg::Mean => Reduction::Mean,
        }
    }
}

impl From<ScreenArg> for Screen {
    fn from(argument: ScreenArg) -> Screen {
        match argument {
            ScreenArg::Auto => Screen::Auto,
            ScreenArg::F32 => Screen::F32,
            ScreenArg::I16 => Screen::I16,
            ScreenArg::I8 => Screen::I8,
            ScreenArg::Off => Screen::Off,
        }
    }
}

impl BackendArg {
    /// The backend, if this CPU has it.
    pub(crate) fn backend(self) -> Result<Backend, String> {
        let (name, backend) = match self {
            BackendArg::Auto => return Ok(Backend::detect()),
            BackendArg::Portable => return Ok(Backend::portable()),
            BackendArg::Avx2 => ("avx2", Backend::avx2()),
            BackendArg::AvxVnni => ("avx_vnni", Backend::avx_vnni()),
            BackendArg::Avx512 => ("avx512", Backend::avx512()),
        };
        backend.ok_or_else(|| format!("--backend {name}: this CPU does not have it"))
    }
}
