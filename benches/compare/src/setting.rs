//! What all parts are told: the options, the instruction set, the user's rows and the contenders in Python.

use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

use hardneg::{Backend, BankOptions, Miner, TripletLoss};
use hardneg_cli::npy::{self, Embeddings};

use crate::args::Options;
use crate::peers::Peers;
use crate::rivals::MARGIN;
use crate::shapes::{self, Case};
use crate::units::WITHOUT_AVX512;

/// The multiply-adds of the largest case of `--test`.
const TESTED: u64 = 1 << 24;

pub(crate) struct Setting {
    pub quick: bool,
    pub test: bool,
    pub backend: Backend,
    /// Anchors and candidates.
    pub data: Option<[Embeddings; 2]>,
    pub peers: RefCell<Peers>,
}

impl Setting {
    /// Reads the user's rows, and leaves out the instructions that are not to be measured.
    pub(crate) fn new(options: &Options) -> Result<Setting, String> {
        let backend = match &options.backend {
            Some(name) => name.parse().map_err(|error| format!("--backend {name}: {error}"))?,
            None => Backend::detect(),
        };
        let narrowed = is_narrowed(backend)?;
        WITHOUT_AVX512.store(narrowed, Relaxed);
        let data = options.data.as_deref().map(|paths| {
            let [anchors, candidates] = [npy::read(&paths[0])?, npy::read(&paths[1])?];
            if anchors.dim != candidates.dim
                || anchors.rows > candidates.rows
                || anchors.rows == 0
                || candidates.rows < 2
            {
                return Err("--data: rows of one length; two candidates or more, and one for each anchor".to_owned());
            }
            Ok([anchors, candidates])
        });
        let peers = RefCell::new(Peers::new(options.peers.as_deref(), narrowed));
        Ok(Setting { quick: options.quick, test: options.test, backend, data: data.transpose()?, peers })
    }

    /// The cases of a part; of the user's rows those with so many anchors, or with all of them.
    pub(crate) fn cases(&self, part: &str, anchors: &[usize]) -> Result<Vec<Case>, String> {
        let Some([rows, candidates]) = &self.data else {
            let mut cases = shapes::cases(part, self.quick || self.test)?;
            cases.retain(|case| !self.test || case.work() <= TESTED);
            return Ok(cases);
        };
        let mut counts: Vec<usize> = anchors.iter().map(|&count| count.min(rows.rows)).collect();
        counts.dedup();
        let label = |rows: usize| format!("{rows} x {} x {}, your data", candidates.rows, candidates.dim);
        counts.into_iter().map(|count| Case::parse(&label(count))).collect()
    }

    /// How long to measure a case that takes `seconds` in full, and in how many rounds at least.
    pub(crate) fn effort(&self, seconds: f64) -> (f64, usize) {
        match self {
            Setting { test: true, .. } => (0.0, 1),
            Setting { quick: true, .. } => (seconds / 3.0, 3),
            _ => (seconds, 5),
        }
    }

    /// The loss as everybody computes it.
    pub(crate) fn plan(&self) -> TripletLoss {
        TripletLoss::new().margin(MARGIN).backend(self.backend)
    }

    pub(crate) fn miner(&self) -> Miner {
        Miner::new().backend(self.backend)
    }

    pub(crate) fn bank(&self) -> BankOptions {
        BankOptions::new().backend(self.backend)
    }
}

/// Whether a machine with AVX-512 is measured as one without. Rivals in Rust choose their kernels when they are built.
#[cfg(target_arch = "x86_64")]
fn is_narrowed(backend: Backend) -> Result<bool, String> {
    if backend.name() == "avx512" || !is_x86_feature_detected!("avx512f") {
        return Ok(false);
    }
    if cfg!(feature = "avx512") {
        return Err(format!(
            "--backend {backend}: rivals would have AVX-512; build with --no-default-features --features rayon"
        ));
    }
    Ok(true)
}

#[cfg(not(target_arch = "x86_64"))]
fn is_narrowed(_: Backend) -> Result<bool, String> {
    Ok(false)
}
