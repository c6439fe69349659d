//! The gradients, by the formulas of the fast path in its order of sums, and by another way with other sums.

use super::{
    CANDIDATE_BLOCK, add, inverse_norm, label_group, label_users, not_negative, outside, positive_index, row_stats,
    scaled_row, tree_sum, wide, wide_dot,
};
use crate::{Batch, Error, Negatives, RowStats};

/// Which hinges of a row are above 0: that on the mean negative, and that on the closest negative.
fn active_hinges(row: &RowStats, margin: f32) -> (bool, bool) {
    let active = |similarity: f32| f64::from(similarity) - f64::from(row.positive()) + f64::from(margin) > 0.0;
    (
        row.mean_negative().is_some_and(active),
        row.closest_negative().is_some_and(|closest| active(closest.similarity())),
    )
}

/// The candidates that are no negatives of anchor `row` of a batch.
fn left_out(batch: Batch<'_>, row: usize) -> Vec<usize> {
    not_negative(row, batch.candidates(), batch.positives(), batch.exclusions())
}

/// What an active hinge of weight `weight` on the mean negative of anchor `row` adds to the derivative by each of the
/// negatives' similarities.
fn share_of(weight: f64, batch: Batch<'_>, row: usize) -> f64 {
    weight / (batch.candidates() - left_out(batch, row).len()).max(1) as f64
}

/// The gradients that [`crate::Forward::backward`] writes, with respect to anchors, candidates and positives that are
/// no candidates (nothing, where they are), bit for bit: in its algebra and its order. `rows` are the statistics of the
/// anchors, and each has a weight. The weights that a reduction implies are 1 for the sum, and 1/m for the mean.
///
/// This is the definition of the bits; [`backward`] tells how near they are to the truth.
///
/// # Panics
/// There are not as many statistics and weights as the batch has anchors.
#[must_use]
pub fn gradients(batch: Batch<'_>, rows: &[RowStats], margin: f32, weights: &[f64]) -> [Vec<f32>; 3] {
    assert!(rows.len() == batch.rows() && weights.len() == batch.rows(), "one for each anchor");
    let dim = batch.dim();
    let (anchors, candidates) = (batch.anchor_rows().data(), batch.candidate_rows().data());
    // The derivative of the loss by the similarities of a row is its share, the same number for all candidates, and
    // more for the positive and the closest negative.
    let (mut shares, mut of_positives, mut of_closest) = (Vec::new(), Vec::new(), Vec::new());
    for (row, stats) in rows.iter().enumerate() {
        let (mean, closest) = active_hinges(stats, margin);
        let mean = if mean { weights[row] } else { 0.0 };
        let closest = if closest { weights[row] } else { 0.0 };
        shares.push(share_of(mean, batch, row));
        of_positives.push(mean + closest);
        of_closest.push(closest);
    }
    // Then the derivatives by the rows of norm 1: the sum of all, but for the rows of the own label, ..
    let ones = vec![1.0; candidates.len() / dim];
    let all: Vec<usize> = (0..ones.len()).collect();
    let candidate_sum = weighted_sum(candidates, dim, &ones, &all);
    let mut by_anchors = Vec::new();
    for (row, &share) in shares.iter().enumerate() {
        let mut sum = candidate_sum.clone();
        subtract(&mut sum, &weighted_sum(candidates, dim, &ones, &label_group(batch, row)));
        sum.iter_mut().for_each(|sum| *sum = if share == 0.0 { 0.0 } else { *sum * share });
        by_anchors.push(sum);
    }
    let all: Vec<usize> = (0..rows.len()).collect();
    let anchor_sum = weighted_sum(anchors, dim, &shares, &all);
    let mut by_candidates = Vec::new();
    for candidate in 0..ones.len() {
        let mut sum = anchor_sum.clone();
        subtract(&mut sum, &weighted_sum(anchors, dim, &shares, &label_users(batch, candidate)));
        by_candidates.push(sum);
    }
    let row_of = |rows: &[f32], index: usize, norm: f64| scaled_row(&rows[index * dim..][..dim], norm);
    let mut by_positives = vec![vec![0.0; dim]; outside(batch).len() / dim];
    for (row, stats) in rows.iter().enumerate() {
        // .. of which what is no negative is taken away again, ..
        let (index, group) = (positive_index(batch.positives(), row), label_group(batch, row));
        let mut pairs = Vec::new();
        if let Some(index) = index {
            let of_group = if group.contains(&index) { 0.0 } else { shares[row] };
            pairs.push((index, -(of_positives[row] + of_group)));
        } else if of_positives[row] != 0.0 {
            add(&mut by_anchors[row], &row_of(outside(batch), row, -of_positives[row]));
            add(&mut by_positives[row], &row_of(anchors, row, -of_positives[row]));
        }
        if let Some(negative) = stats.closest_negative() {
            pairs.push((negative.index(), of_closest[row]));
        }
        for other in left_out(batch, row) {
            if Some(other) != index && !group.contains(&other) {
                pairs.push((other, -shares[row]));
            }
        }
        for (index, derivative) in pairs.into_iter().filter(|pair| pair.1 != 0.0) {
            add(&mut by_anchors[row], &row_of(candidates, index, derivative));
            add(&mut by_candidates[index], &row_of(anchors, row, derivative));
        }
    }
    // .. and by the rows as they are.
    let sides = [(anchors, by_anchors), (candidates, by_candidates), (outside(batch), by_positives)];
    sides.map(|(rows, by_units)| pull_back(rows, dim, &by_units))
}

/// The sum of those of the rows that `indices` names, each scaled to a norm of its own.
fn weighted_sum(rows: &[f32], dim: usize, norms: &[f64], indices: &[usize]) -> Vec<f64> {
    let rows: Vec<Vec<f64>> = indices.iter().map(|&row| scaled_row(&rows[row * dim..][..dim], norms[row])).collect();
    if rows.is_empty() { vec![0.0; dim] } else { tree_sum(&rows, CANDIDATE_BLOCK) }
}

/// Subtracts vector `terms` from vector `sum`.
fn subtract(sum: &mut [f64], terms: &[f64]) {
    for (sum, term) in sum.iter_mut().zip(terms) {
        *sum -= term;
    }
}

/// The derivatives by rows, from those by the rows scaled to norm 1.
fn pull_back(rows: &[f32], dim: usize, by_units: &[Vec<f64>]) -> Vec<f32> {
    let mut gradient = Vec::new();
    for (row, by_unit) in rows.chunks(dim).zip(by_units) {
        let scale = inverse_norm(row);
        let along = wide_dot(&wide(row), by_unit) * scale * scale;
        for (&value, by_unit) in row.iter().zip(by_unit) {
            let by_value = (by_unit - f64::from(value) * along) * scale;
            gradient.push(if scale == 0.0 { 0.0 } else { by_value as f32 });
        }
    }
    gradient
}

/// The derivative of the weighted sum of the rows' losses by each similarity, with a row for each of the statistics: by
/// those with all candidates, and with the positive at the end, if it is no candidate.
///
/// # Panics
/// There are not as many statistics and weights as the batch has anchors.
#[must_use]
pub fn similarity_gradients(batch: Batch<'_>, rows: &[RowStats], margin: f32, weights: &[f64]) -> Vec<Vec<f64>> {
    assert!(rows.len() == batch.rows() && weights.len() == batch.rows(), "one for each anchor");
    let columns = batch.candidates() + usize::from(!outside(batch).is_empty());
    let mut gradients = vec![vec![0.0; columns]; rows.len()];
    for (row, (gradient, stats)) in gradients.iter_mut().zip(rows).enumerate() {
        let positive = positive_index(batch.positives(), row).unwrap_or(batch.candidates());
        let weight = weights[row];
        let (mean, closest) = active_hinges(stats, margin);
        if mean {
            let (share, left_out) = (share_of(weight, batch, row), left_out(batch, row));
            let negatives = (0..batch.candidates()).filter(|candidate| !left_out.contains(candidate));
            negatives.for_each(|candidate| gradient[candidate] += share);
            gradient[positive] = -weight;
        }
        if let Some(negative) = stats.closest_negative().filter(|_| closest) {
            gradient[negative.index()] += weight;
            gradient[positive] -= weight;
        }
    }
    gradients
}

/// A dot product, nearly as if it were rounded once: what products and sums lose by rounding is added up beside them.
fn accurate_dot(x: &[f64], y: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for (x, y) in x.iter().zip(y) {
        let (product, before) = (x * y, sum);
        sum += product;
        let added = sum - before;
        lost += (before - (sum - added)) + (product - added) + x.mul_add(*y, -product);
    }
    sum + lost
}

/// The norm of a row, without the roundings of a sum.
fn accurate_norm(row: &[f32]) -> f64 {
    accurate_dot(&wide(row), &wide(row)).sqrt()
}

/// A row scaled to norm 1, without the roundings of a sum.
fn accurate_unit_row(row: &[f32]) -> Vec<f64> {
    let (mut unit, norm) = (wide(row), accurate_norm(row));
    unit.iter_mut().for_each(|value| *value = if norm == 0.0 { 0.0 } else { *value / norm });
    unit
}

/// Each row scaled to norm 1, without the roundings of a sum.
fn accurate_unit_rows(rows: &[f32], dim: usize) -> Vec<Vec<f64>> {
    rows.chunks(dim).map(accurate_unit_row).collect()
}

/// The derivative by one row of a loss whose derivatives by the similarities with `others`, rows of norm 1, are given:
/// the chain rule through `s_j = (row / |row|) . v_j`.
fn row_gradient(row: &[f32], by_similarity: &[f64], others: &[Vec<f64>]) -> Vec<f64> {
    let (unit, norm) = (accurate_unit_row(row), accurate_norm(row));
    let mut by_unit = Vec::new();
    for k in 0..row.len() {
        let elements: Vec<f64> = others.iter().map(|other| other[k]).collect();
        by_unit.push(accurate_dot(by_similarity, &elements));
    }
    let along = accurate_dot(&by_unit, &unit);
    for (by_unit, unit) in by_unit.iter_mut().zip(&unit) {
        *by_unit = if norm == 0.0 { 0.0 } else { (*by_unit - along * unit) / norm };
    }
    by_unit
}

/// The true gradients of the loss with respect to anchors, candidates and positives that are no candidates (nothing,
/// where they are), with a weight for each row: pair by pair, in sums that lose next to nothing, so that they are right
/// to a few units of 1e-16 of the sum of the magnitudes that add up to them. The weights that a reduction implies are 1
/// for the sum, and 1/m for the mean.
///
/// It shares neither the algebra nor the order of the fast path, nor its bits: those are what [`gradients`] defines.
///
/// # Errors
/// A row is not finite.
///
/// # Panics
/// There are not as many weights as the batch has anchors.
pub fn backward(batch: Batch<'_>, margin: f32, negatives: Negatives, weights: &[f64]) -> Result<[Vec<f64>; 3], Error> {
    let by_anchor = similarity_gradients(batch, &row_stats(batch, negatives)?, margin, weights);
    let (dim, outside) = (batch.dim(), outside(batch));
    let (anchors, candidates) = (batch.anchor_rows().data(), batch.candidate_rows().data());
    let unit_anchors = accurate_unit_rows(anchors, dim);
    let unit_positives = accurate_unit_rows(outside, dim);
    let [mut of_anchors, mut of_candidates, mut of_positives] = [const { Vec::new() }; 3];
    // The candidates, and then the positive, if it is none of them.
    let mut others = accurate_unit_rows(candidates, dim);
    for (row, anchor) in anchors.chunks(dim).enumerate() {
        others.truncate(batch.candidates());
        others.extend(unit_positives.get(row).cloned());
        of_anchors.extend(row_gradient(anchor, &by_anchor[row], &others));
    }
    for (column, candidate) in candidates.chunks(dim).enumerate() {
        let by_similarity: Vec<f64> = by_anchor.iter().map(|row| row[column]).collect();
        of_candidates.extend(row_gradient(candidate, &by_similarity, &unit_anchors));
    }
    for (row, positive) in outside.chunks(dim).enumerate() {
        of_positives.extend(row_gradient(positive, &by_anchor[row][batch.candidates()..], &unit_anchors[row..=row]));
    }
    Ok([of_anchors, of_candidates, of_positives])
}
