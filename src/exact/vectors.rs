//! The exact similarity of single vectors and of all pairs of two small batches, as users call it.

use crate::arch::{Backend, in_default_environment};
use crate::error::{Error, Side, check_length};
use crate::kernels::{
    MOST_ANCHORS, MOST_CANDIDATES, NormedRows, Similarities, Sought, compute_similarities, cosine, dots, inverse,
    norms, pair_dots, scale_row,
};
use crate::parallel::{Chunks, Join, Threads, for_each_block};
use crate::rows::Rows;

use super::pairs::group_rows;
use super::similarity::check_norms;

/// Writes the similarities of all anchors with all candidates: a group of candidates at a time, which stays in the
/// first-level cache, for a block of anchors that stays in the second.
fn write_similarities(backend: Backend, anchors: Rows<'_>, candidates: Rows<'_>, output: &mut [f32]) {
    const ANCHORS: usize = 4 * MOST_ANCHORS;
    let (columns, size) = (candidates.count(), group_rows(candidates.dim()));
    let (mut anchor_norms, mut candidate_norms) = ([0.0; ANCHORS], [0.0; MOST_CANDIDATES]);
    let mut similarities = Similarities::EMPTY;
    for (anchors, output) in anchors.blocks(ANCHORS).zip(output.chunks_mut(ANCHORS * columns)) {
        norms(backend, anchors, &mut anchor_norms[..anchors.count()]);
        let anchors = NormedRows { rows: anchors, norms: &anchor_norms[..anchors.count()] };
        for (group, candidates) in candidates.blocks(size).enumerate() {
            let count = candidates.count();
            norms(backend, candidates, &mut candidate_norms[..count]);
            let candidates = NormedRows { rows: candidates, norms: &candidate_norms[..count] };
            for first in (0..anchors.rows.count()).step_by(MOST_ANCHORS) {
                let some = anchors.range(first, MOST_ANCHORS.min(anchors.rows.count() - first));
                compute_similarities(backend, some, candidates, &[Sought::ALL; MOST_ANCHORS], &mut similarities);
                while let Some((row, of_row)) = similarities.next_row(count) {
                    output[(first + row) * columns + group * size..][..count].copy_from_slice(of_row.values);
                }
            }
        }
    }
}

/// Fails with the first row that has an element that is not finite, if there is one.
pub(crate) fn check_finite(backend: Backend, side: Side, rows: Rows<'_>) -> Result<(), Error> {
    const ROWS: usize = 64;
    let mut block_norms = [0.0; ROWS];
    for (block, rows) in rows.blocks(ROWS).enumerate() {
        let block_norms = &mut block_norms[..rows.count()];
        norms(backend, rows, block_norms);
        if let Err(Error::NotFinite { row, .. }) = check_norms(side, block_norms) {
            return Err(Error::NotFinite { side, row: block * ROWS + row });
        }
    }
    Ok(())
}

/// A number computed from two rows, unless one of them is not finite, which shows in the number.
fn unless_not_finite(backend: Backend, value: f64, x: Rows<'_>, y: Rows<'_>) -> Result<f64, Error> {
    if !value.is_finite() {
        check_finite(backend, Side::Anchors, x)?;
        check_finite(backend, Side::Candidates, y)?;
    }
    Ok(value)
}

/// The exact similarity of vectors: the same bits on every backend. Nothing is allocated, and everything runs on the
/// calling thread. Of two vectors, errors call the first one the anchor and the second one the candidate.
impl Backend {
    /// The dot product of two vectors, in `f64`, summed in the fixed order that makes it the same on every CPU: element
    /// `k` goes to virtual lane `k % 16` in ascending `k`; then lane `l` takes lane `l + 8`, `l + 4`, and so on.
    ///
    /// ```
    /// use hardneg::Backend;
    ///
    /// assert_eq!(Backend::detect().dot(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.5])?, 15.5);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The vectors are empty or differ in length; an element is not finite.
    pub fn dot(self, x: &[f32], y: &[f32]) -> Result<f64, Error> {
        let (x, y) = Rows::pair(x, y)?;
        in_default_environment(|| unless_not_finite(self, self.dot_of(x, y), x, y))
    }

    /// The Euclidean norm of a vector, in `f64`: `sqrt(dot(x, x))`. It is right for every finite `f32`, however small
    /// or large.
    ///
    /// ```
    /// use hardneg::Backend;
    ///
    /// let backend = Backend::detect();
    /// assert!(backend.norm(&[3e38, 3e38, 1e-45])?.is_finite());
    /// assert_eq!(backend.norm(&[3.0, 4.0])?, 5.0);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The vector is empty; an element is not finite.
    pub fn norm(self, x: &[f32]) -> Result<f64, Error> {
        let (x, y) = Rows::pair(x, x)?;
        in_default_environment(|| unless_not_finite(self, self.dot_of(x, y), x, y).map(f64::sqrt))
    }

    /// The cosine similarity of two vectors: `dot / (norm * norm)`, computed in `f64` and rounded once; 0 where either
    /// vector is zero. It is not clamped, so that it may exceed 1 by a rounding.
    ///
    /// ```
    /// use hardneg::Backend;
    ///
    /// let similarity = Backend::detect().cosine_similarity(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.5])?;
    /// assert!((similarity - 0.997_408_65).abs() < 1e-7);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The vectors are empty or differ in length; an element is not finite.
    pub fn cosine_similarity(self, x: &[f32], y: &[f32]) -> Result<f32, Error> {
        let (x, y) = Rows::pair(x, y)?;
        in_default_environment(|| {
            let [own, dot, other] = pair_dots(self, x.data(), y.data());
            unless_not_finite(self, cosine(dot, own.sqrt(), other.sqrt()), x, y).map(|cosine| cosine as f32)
        })
    }

    /// Writes `row` scaled to norm 1, `f32(f64(x_k) * (1 / norm))`, into `output`; a zero row stays zero.
    ///
    /// ```
    /// use hardneg::Backend;
    ///
    /// let mut unit = [0.0; 2];
    /// Backend::detect().normalize_into(&[3e-40, 4e-40], &mut unit)?;
    /// assert!((unit[0] - 0.6).abs() < 1e-5 && (unit[1] - 0.8).abs() < 1e-5);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// The row is empty; `output` has another length; an element is not finite. Then nothing was written.
    pub fn normalize_into(self, row: &[f32], output: &mut [f32]) -> Result<(), Error> {
        if row.is_empty() {
            return Err(Error::ZeroDim);
        }
        check_length(Side::Output, row.len(), output.len())?;
        let norm = self.norm(row)?;
        in_default_environment(|| scale_row(self, row, inverse(norm), output));
        Ok(())
    }

    /// Writes the cosine similarity of every anchor (m rows) with every candidate (n rows) into `output` (m x n,
    /// row-major), each with the bits of [`Backend::cosine_similarity`].
    ///
    /// Every pair is computed exactly: n * m dot products in `f64`. For the loss of a batch
    /// [`TripletLoss::forward`](crate::TripletLoss::forward) needs no matrix, and from some hundred rows on both sides
    /// it takes a fraction of the time; with few anchors this function may be the faster one.
    ///
    /// ```
    /// use hardneg::Backend;
    ///
    /// let (anchors, candidates) = ([1.0, 0.0, 3.0, 4.0], [0.0, 2.0, 5.0, 0.0, 1.0, 0.0]);
    /// let mut matrix = [0.0; 6];
    /// Backend::detect().similarity_matrix_into(&anchors, &candidates, 2, &mut matrix)?;
    /// assert_eq!(matrix, [0.0, 1.0, 1.0, 0.8, 0.6, 0.6]);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// `dim` is 0; a side is empty or not a whole number of rows; `output` has another length than m * n; a row is not
    /// finite. Then nothing was written.
    pub fn similarity_matrix_into(
        self,
        anchors: &[f32],
        candidates: &[f32],
        dim: usize,
        output: &mut [f32],
    ) -> Result<(), Error> {
        self.similarity_matrix_into_on(Threads::Serial, anchors, candidates, dim, output)
    }

    /// [`Backend::similarity_matrix_into`] where `threads` says: on several threads, the anchors are divided among
    /// them. The bits are the same.
    ///
    /// ```
    /// use hardneg::{Backend, Threads};
    ///
    /// let (anchors, candidates) = ([1.0, 0.0, 3.0, 4.0], [0.0, 2.0, 5.0, 0.0, 1.0, 0.0]);
    /// let mut matrix = [0.0; 6];
    /// Backend::detect().similarity_matrix_into_on(Threads::Rayon, &anchors, &candidates, 2, &mut matrix)?;
    /// assert_eq!(matrix, [0.0, 1.0, 1.0, 0.8, 0.6, 0.6]);
    /// # Ok::<(), hardneg::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Backend::similarity_matrix_into`].
    pub fn similarity_matrix_into_on(
        self,
        threads: Threads,
        anchors: &[f32],
        candidates: &[f32],
        dim: usize,
        output: &mut [f32],
    ) -> Result<(), Error> {
        let anchors = Rows::new(Side::Anchors, anchors, dim)?;
        let candidates = Rows::new(Side::Candidates, candidates, dim)?;
        let (rows, columns) = (anchors.count(), candidates.count());
        let overflow = Error::SizeOverflow { side: Side::Output, rows, columns };
        check_length(Side::Output, rows.checked_mul(columns).ok_or(overflow)?, output.len())?;
        in_default_environment(|| {
            check_finite(self, Side::Anchors, anchors)?;
            check_finite(self, Side::Candidates, candidates)?;
            self.fill_matrix(threads, anchors, candidates, output);
            Ok(())
        })
    }

    fn dot_of(self, x: Rows<'_>, y: Rows<'_>) -> f64 {
        let [dot] = dots(self, x.data(), [y.data()]);
        dot
    }

    /// Writes the similarities of finite rows.
    fn fill_matrix(self, threads: Threads, anchors: Rows<'_>, candidates: Rows<'_>, output: &mut [f32]) {
        let (rows, columns) = (anchors.count(), candidates.count());
        let join = threads.join(output.len() as f64 * anchors.dim() as f64 * NANOSECONDS);
        let blocks = if join == Join::Serial { 1 } else { 4 * join.threads() };
        let block = rows.div_ceil(blocks);
        join.enter(|| {
            for_each_block(join, Chunks::new(output, block * columns), &|index, output| {
                let anchors = anchors.range(index * block, output.slice.len() / columns);
                write_similarities(self, anchors, candidates, output.slice);
            });
        });
    }
}

/// About how long a multiply-add of a pair takes with AVX-512. Others take longer.
const NANOSECONDS: f64 = 0.03;
