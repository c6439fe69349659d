//! What similarities are made of besides dot products: checks of norms, and a row that is compared with others.

use crate::arch::Backend;
use crate::error::{Error, Side};
use crate::kernels::{NormedRows, cosine, dots};

/// Checks the norms of a side's rows. A norm is finite if, and only if, its row is.
pub(crate) fn check_norms(side: Side, norms: &[f64]) -> Result<(), Error> {
    match norms.iter().position(|norm| !norm.is_finite()) {
        Some(row) => Err(Error::NotFinite { side, row }),
        None => Ok(()),
    }
}

/// How many norms are 0.
pub(crate) fn zero_norms(norms: &[f64]) -> usize {
    norms.iter().filter(|&&norm| norm == 0.0).count()
}

/// An anchor with what its exact similarities need.
#[derive(Clone, Copy)]
pub(crate) struct ExactRow<'a> {
    pub(crate) backend: Backend,
    pub(crate) row: &'a [f32],
    pub(crate) norm: f64,
    pub(crate) candidates: NormedRows<'a>,
}

impl ExactRow<'_> {
    /// The exact similarities with some of the candidates.
    pub(crate) fn cosines<const PAIRS: usize>(&self, others: [usize; PAIRS]) -> [f32; PAIRS] {
        let mut rows = [&[][..]; PAIRS];
        for (row, &index) in rows.iter_mut().zip(&others) {
            *row = self.candidates.rows.row(index);
        }
        let dots = dots(self.backend, self.row, rows);
        let mut cosines = [0.0; PAIRS];
        for pair in 0..PAIRS {
            cosines[pair] = cosine(dots[pair], self.norm, self.candidates.norms[others[pair]]) as f32;
        }
        cosines
    }
}
