//! The definition of everything this crate computes, as the shortest readable code: the oracle of its tests.
//!
//! It is as slow as it looks, allocates freely, and shares nothing with the fast path but the types of arguments and
//! results, so that agreement, bit for bit, means something. The constants are part of the definition.

use crate::{
    Batch, ClosestNegative, Error, Exclusions, Loss, Miner, MiningBatch, Negatives, Neighbour, Positives, Reduction,
    RowStats, Side, SimilarityMatrix,
};

/// Element `k` of a row is added in lane `k % LANES`.
const LANES: usize = 16;
/// Candidates that are summed one after the other before blocks are combined.
const CANDIDATE_BLOCK: usize = 192;
/// Row losses that are summed one after the other before blocks are combined.
const ROW_BLOCK: usize = 256;

/// The sum of `terms` in lanes, folded by halves.
fn lane_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut lanes = vec![0.0; LANES];
    for (k, term) in terms.enumerate() {
        lanes[k % LANES] += term;
    }
    while lanes.len() > 1 {
        let upper = lanes.split_off(lanes.len() / 2);
        lanes = lanes.iter().zip(upper).map(|(low, high)| low + high).collect();
    }
    lanes[0]
}

/// The sum of vectors: blocks of `block` in ascending order, then neighbouring blocks, then neighbours of those.
fn tree_sum(vectors: &[Vec<f64>], block: usize) -> Vec<f64> {
    let add = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f64>>();
    let zero = vec![0.0; vectors[0].len()];
    let mut sums: Vec<Vec<f64>> =
        vectors.chunks(block).map(|block| block.iter().fold(zero.clone(), |sum, vector| add(&sum, vector))).collect();
    while sums.len() > 1 {
        sums = sums
            .chunks(2)
            .map(|pair| if pair.len() == 2 { add(&pair[0], &pair[1]) } else { pair[0].clone() })
            .collect();
    }
    sums.remove(0)
}

/// See [`crate::Backend::dot`].
#[must_use]
pub fn dot(x: &[f32], y: &[f32]) -> f64 {
    lane_sum(x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)))
}

/// See [`crate::Backend::norm`].
#[must_use]
pub fn norm(x: &[f32]) -> f64 {
    dot(x, x).sqrt()
}

/// The cosine similarity before it is rounded to `f32`.
fn cosine64(x: &[f32], y: &[f32]) -> f64 {
    let norms = norm(x) * norm(y);
    if norms == 0.0 { 0.0 } else { dot(x, y) / norms }
}

/// See [`crate::Backend::cosine_similarity`].
#[must_use]
pub fn cosine_similarity(x: &[f32], y: &[f32]) -> f32 {
    cosine64(x, y) as f32
}

/// `1 / norm`, and 0 for a zero row.
fn inverse_norm(row: &[f32]) -> f64 {
    if norm(row) == 0.0 { 0.0 } else { 1.0 / norm(row) }
}

/// A row scaled to the norm `target`, before it is rounded to `f32`.
fn scaled_row(row: &[f32], target: f64) -> Vec<f64> {
    let scale = target * inverse_norm(row);
    row.iter().map(|&value| f64::from(value) * scale).collect()
}

/// See [`crate::Backend::normalize_into`].
#[must_use]
pub fn normalize(row: &[f32]) -> Vec<f32> {
    scaled_row(row, 1.0).into_iter().map(|value| value as f32).collect()
}

/// See [`crate::Backend::similarity_matrix_into`].
///
/// # Panics
/// `dim` is 0.
#[must_use]
pub fn similarity_matrix(anchors: &[f32], candidates: &[f32], dim: usize) -> Vec<f32> {
    let row = |anchor| candidates.chunks(dim).map(move |candidate| cosine_similarity(anchor, candidate));
    anchors.chunks(dim).flat_map(row).collect()
}

/// Whether a candidate is excluded for anchor `row`.
fn is_excluded(exclusions: Exclusions<'_>, row: usize, candidate: usize) -> bool {
    match exclusions {
        Exclusions::None => false,
        Exclusions::Labels { anchors, candidates } => anchors[row] == candidates[candidate],
        Exclusions::Lists { offsets, indices } => indices[offsets[row]..offsets[row + 1]].contains(&candidate),
        Exclusions::Shared(indices) => indices.contains(&candidate),
        Exclusions::SharedU32(indices) => indices.iter().any(|&index| index as usize == candidate),
    }
}

/// The candidates, of so many, that are no negatives of anchor `row`, in ascending order: its positive, if it is one of
/// them, and the excluded.
fn not_negative(row: usize, candidates: usize, positives: Positives<'_>, exclusions: Exclusions<'_>) -> Vec<usize> {
    let positive = positive_index(positives, row);
    let is_out = |&candidate: &usize| positive == Some(candidate) || is_excluded(exclusions, row, candidate);
    (0..candidates).filter(is_out).collect()
}

/// The closest negative of a row of similarities, whose positive has similarity `limit`, among those that are not
/// `left_out`.
fn closest_negative(
    similarities: &[f32],
    limit: f32,
    left_out: &[usize],
    negatives: Negatives,
) -> Option<ClosestNegative> {
    let mut closest: Option<ClosestNegative> = None;
    for (index, &similarity) in similarities.iter().enumerate() {
        let qualifies = match negatives {
            Negatives::Below => similarity < limit,
            Negatives::AtOrBelow => similarity <= limit,
            Negatives::Any => true,
        };
        if !left_out.contains(&index) && qualifies && closest.is_none_or(|closest| similarity > closest.similarity()) {
            closest = Some(ClosestNegative::new(index, similarity).expect("a finite similarity"));
        }
    }
    closest
}

/// The candidate that is the positive of anchor `row`, if one is.
fn positive_index(positives: Positives<'_>, row: usize) -> Option<usize> {
    match positives {
        Positives::Identity => Some(row),
        Positives::Offset(offset) => Some(offset + row),
        Positives::Indices(indices) => Some(indices[row]),
        Positives::IndicesU32(indices) => Some(indices[row] as usize),
        Positives::IndicesI64(indices) => Some(indices[row] as usize),
        Positives::Outside(_) => None,
    }
}

/// The positive of anchor `row`.
fn positive_row(batch: Batch<'_>, row: usize) -> &[f32] {
    let (rows, index) = match (batch.positives(), positive_index(batch.positives(), row)) {
        (Positives::Outside(rows), _) => (rows, row),
        (_, index) => (batch.candidate_rows().data(), index.expect("a candidate")),
    };
    &rows[index * batch.dim()..][..batch.dim()]
}

/// The elements of positives that are no candidates, or nothing.
fn outside(batch: Batch<'_>) -> &[f32] {
    if let Positives::Outside(rows) = batch.positives() { rows } else { &[] }
}

/// The candidates with the label of anchor `row`, in ascending order, if there are labels.
fn label_group(batch: Batch<'_>, row: usize) -> Vec<usize> {
    match batch.exclusions() {
        Exclusions::Labels { anchors, candidates } => {
            (0..candidates.len()).filter(|&candidate| candidates[candidate] == anchors[row]).collect()
        }
        _ => Vec::new(),
    }
}

/// The anchors with the label of candidate `candidate`, in ascending order, if there are labels.
fn label_users(batch: Batch<'_>, candidate: usize) -> Vec<usize> {
    match batch.exclusions() {
        Exclusions::Labels { anchors, candidates } => {
            (0..anchors.len()).filter(|&row| anchors[row] == candidates[candidate]).collect()
        }
        _ => Vec::new(),
    }
}

/// The statistics that [`crate::Forward::row_stats`] returns.
///
/// # Errors
/// A row is not finite.
pub fn row_stats(batch: Batch<'_>, negatives: Negatives) -> Result<Vec<RowStats>, Error> {
    let (anchors, candidates) = (batch.anchor_rows().data(), batch.candidate_rows().data());
    let dim = batch.dim();
    for (side, rows) in
        [(Side::Anchors, anchors), (batch.candidate_side(), candidates), (Side::Positives, outside(batch))]
    {
        if let Some(index) = rows.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { side, row: index / dim });
        }
    }
    let units: Vec<Vec<f64>> = candidates.chunks(dim).map(|row| scaled_row(row, 1.0)).collect();
    let sum = tree_sum(&units, CANDIDATE_BLOCK);
    let matrix = similarity_matrix(anchors, candidates, dim);
    let rows = anchors.chunks(dim).zip(matrix.chunks(units.len())).enumerate();
    Ok(rows
        .map(|(row, (anchor, similarities))| {
            let positive = cosine_similarity(anchor, positive_row(batch, row));
            let left_out = not_negative(row, units.len(), batch.positives(), batch.exclusions());
            let count = units.len() - left_out.len();
            let dot_sum = |sum: &[f64]| lane_sum(anchor.iter().zip(sum).map(|(&a, sum)| f64::from(a) * sum));
            let by_norm = |total: f64| if norm(anchor) == 0.0 { 0.0 } else { total / norm(anchor) };
            // A label is taken away as the sum of its candidates, everything else candidate by candidate.
            let group = label_group(batch, row);
            let of_group: Vec<Vec<f64>> = group.iter().map(|&candidate| units[candidate].clone()).collect();
            let of_group = if group.is_empty() { 0.0 } else { dot_sum(&tree_sum(&of_group, CANDIDATE_BLOCK)) };
            let others = left_out.iter().filter(|candidate| !group.contains(candidate));
            let others = others.map(|&candidate| cosine64(anchor, &candidates[candidate * dim..][..dim]));
            let negative_sum = by_norm(dot_sum(&sum) - of_group) - others.fold(0.0, |sum, similarity| sum + similarity);
            let mean = (count > 0).then(|| (negative_sum / count as f64) as f32);
            let closest = closest_negative(similarities, positive, &left_out, negatives);
            RowStats::new(positive, mean, closest).expect("finite similarities")
        })
        .collect())
}

/// The statistics that [`crate::ForwardFromSimilarities::row_stats`] returns.
///
/// # Panics
/// A similarity is not finite.
#[must_use]
pub fn row_stats_from_similarities(matrix: SimilarityMatrix<'_>, negatives: Negatives) -> Vec<RowStats> {
    let rows = matrix.data().chunks(matrix.columns()).enumerate();
    rows.map(|(row, similarities)| {
        let positive = positive_index(matrix.positives(), row);
        let limit = match (matrix.positives(), positive) {
            (Positives::Outside(given), _) => given[row],
            (_, index) => similarities[index.expect("a column")],
        };
        let left_out = not_negative(row, similarities.len(), matrix.positives(), matrix.exclusions());
        // The runs of negatives, which end at those that are left out.
        let (starts, ends) = ([0].into_iter().chain(left_out.iter().map(|&index| index + 1)), left_out.iter().copied());
        let runs = starts.zip(ends.chain([similarities.len()])).map(|(start, end)| &similarities[start..end]);
        let sum = runs.fold(0.0, |sum, run| sum + lane_sum(run.iter().map(|&value| f64::from(value))));
        let count = similarities.len() - left_out.len();
        let mean = (count > 0).then(|| (sum / count as f64) as f32);
        let closest = closest_negative(similarities, limit, &left_out, negatives);
        RowStats::new(limit, mean, closest).expect("finite similarities")
    })
    .collect()
}

/// The loss that [`crate::TripletLoss::reduce`] computes of at least one row.
///
/// # Panics
/// There are no rows.
pub fn loss(rows: &[RowStats], margin: f32, reduction: Reduction) -> Loss {
    let hinge = |similarity: f32, positive: f32| {
        let violation = f64::from(similarity) - f64::from(positive) + f64::from(margin);
        if violation <= 0.0 { 0.0 } else { violation }
    };
    let terms = |row: &RowStats| {
        let mean = row.mean_negative().map_or(0.0, |mean| hinge(mean, row.positive()));
        let closest = row.closest_negative().map_or(0.0, |closest| hinge(closest.similarity(), row.positive()));
        vec![mean, closest]
    };
    let terms: Vec<Vec<f64>> = rows.iter().map(terms).collect();
    let sums = tree_sum(&terms, ROW_BLOCK);
    let divisor = match reduction {
        Reduction::Sum => 1.0,
        Reduction::Mean => rows.len() as f64,
    };
    let (mean_term, closest_term) = (sums[0] / divisor, sums[1] / divisor);
    Loss {
        loss: mean_term + closest_term,
        mean_term,
        closest_term,
        rows: rows.len(),
        active_mean: terms.iter().filter(|term| term[0] > 0.0).count(),
        active_closest: terms.iter().filter(|term| term[1] > 0.0).count(),
        without_closest_negative: rows.iter().filter(|row| row.closest_negative().is_none()).count(),
        without_negatives: rows.iter().filter(|row| row.mean_negative().is_none()).count(),
        zero_anchors: None,
        zero_candidates: None,
        zero_positives: None,
    }
}

/// The result of [`crate::TripletLoss::forward`], with the statistics of the rows.
///
/// # Errors
/// A row is not finite.
pub fn forward(
    batch: Batch<'_>,
    margin: f32,
    negatives: Negatives,
    reduction: Reduction,
) -> Result<(Loss, Vec<RowStats>), Error> {
    let rows = row_stats(batch, negatives)?;
    let zeros = |rows: &[f32]| rows.chunks(batch.dim()).filter(|row| row.iter().all(|&value| value == 0.0)).count();
    let zero_anchors = Some(zeros(batch.anchor_rows().data()));
    let zero_candidates = Some(zeros(batch.candidate_rows().data()));
    let zero_positives = Some(zeros(outside(batch)));
    Ok((Loss { zero_anchors, zero_candidates, zero_positives, ..loss(&rows, margin, reduction) }, rows))
}

/// The lists that [`crate::Miner::mine`] returns, one for each query.
///
/// # Errors
/// A row is not finite.
pub fn mine(miner: &Miner, batch: MiningBatch<'_>) -> Result<Vec<Vec<Neighbour>>, Error> {
    let (queries, candidates) = (batch.sides().anchors.data(), batch.sides().candidates.data());
    let outside = batch.outside_rows().map_or(&[][..], |rows| rows.data());
    for (side, rows) in [(Side::Queries, queries), (Side::Candidates, candidates), (Side::Positives, outside)] {
        if let Some(index) = rows.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { side, row: index / batch.dim() });
        }
    }
    let matrix = similarity_matrix(queries, candidates, batch.dim());
    let rows = matrix.chunks(batch.candidates()).enumerate();
    Ok(rows.map(|(query, similarities)| neighbours(miner, batch, query, similarities)).collect())
}

/// The list of one query.
fn neighbours(miner: &Miner, batch: MiningBatch<'_>, query: usize, similarities: &[f32]) -> Vec<Neighbour> {
    let known: Vec<usize> = batch.known_of(query).collect();
    let row = &batch.sides().anchors.data()[query * batch.dim()..][..batch.dim()];
    let smallest = batch.positive_rows(query).map(|positive| cosine_similarity(row, positive)).reduce(f32::min);
    let positive = batch.given_similarities().map_or(smallest, |similarities| similarities[query]).map(f64::from);
    let qualifies = |similarity: f64| {
        let is_below = |p: f64| match miner.negatives {
            Negatives::Below => similarity < p,
            Negatives::AtOrBelow => similarity <= p,
            Negatives::Any => true,
        };
        let has_margin = |p: f64| {
            miner.absolute_margin.is_none_or(|margin| similarity + margin <= p)
                && miner.relative_margin.is_none_or(|margin| similarity <= p - p.abs() * margin)
        };
        positive.is_none_or(|p| is_below(p) && has_margin(p))
            && miner.max_similarity.is_none_or(|most| similarity <= f64::from(most as f32))
            && miner.min_similarity.is_none_or(|least| similarity >= f64::from(least as f32))
            && similarity >= f64::from(batch.floor(query))
    };
    let is_out = |index: usize| {
        known.contains(&index)
            || is_excluded(batch.exclusions(), query, index)
            || batch.predicate().is_some_and(|is_out| is_out(query, index))
    };
    let all = similarities.iter().enumerate().map(|(index, &similarity)| Neighbour { index, similarity });
    let mut list: Vec<Neighbour> =
        all.filter(|pair| qualifies(pair.similarity.into()) && !is_out(pair.index)).collect();
    // Stable, so that the lower index stands first on a tie.
    list.sort_by(|x, y| y.similarity.partial_cmp(&x.similarity).expect("finite similarities"));
    list.into_iter().skip(miner.skip).take(miner.k).collect()
}

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
    let anchors: Vec<&[f32]> = batch.anchor_rows().data().chunks(batch.dim()).collect();
    let candidates: Vec<&[f32]> = batch.candidate_rows().data().chunks(batch.dim()).collect();
    let positives: Vec<&[f32]> = outside(batch).chunks(batch.dim()).collect();
    let add = |sum: &mut Vec<f64>, terms: &[f64]| sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    let sum_of = |rows: &[&[f32]], norms: &[f64]| {
        let rows: Vec<Vec<f64>> = rows.iter().zip(norms).map(|(row, &norm)| scaled_row(row, norm)).collect();
        tree_sum(&rows, CANDIDATE_BLOCK)
    };
    // The derivative of the loss by the similarities of a row is its share, the same number for all candidates, and
    // more for the positive and the closest negative.
    let weight = |is_active: bool, row: usize| if is_active { weights[row] } else { 0.0 };
    let mean = |row: usize| weight(active_hinges(&rows[row], margin).0, row);
    let closest = |row: usize| weight(active_hinges(&rows[row], margin).1, row);
    let shares: Vec<f64> = (0..rows.len()).map(|row| share_of(mean(row), batch, row)).collect();
    // Then the derivatives by the rows of norm 1, ..
    let candidate_sum = sum_of(&candidates, &vec![1.0; candidates.len()]);
    // .. the sum of all, but for the rows of the own label, ..
    let without = |all: &[f64], others: &[&[f32]], weights: &[f64], label_group: &[usize]| {
        let rows: Vec<&[f32]> = label_group.iter().map(|&row| others[row]).collect();
        let weights: Vec<f64> = label_group.iter().map(|&row| weights[row]).collect();
        let of_label = if rows.is_empty() { vec![0.0; all.len()] } else { sum_of(&rows, &weights) };
        all.iter().zip(of_label).map(|(all, of_label)| all - of_label).collect::<Vec<f64>>()
    };
    let start = |(row, &share): (usize, &f64)| {
        let sum = without(&candidate_sum, &candidates, &vec![1.0; candidates.len()], &label_group(batch, row));
        sum.iter().map(|sum| if share == 0.0 { 0.0 } else { sum * share }).collect()
    };
    let mut by_anchors: Vec<Vec<f64>> = shares.iter().enumerate().map(start).collect();
    let anchor_sum = sum_of(&anchors, &shares);
    let of_candidate = |candidate| without(&anchor_sum, &anchors, &shares, &label_users(batch, candidate));
    let mut by_candidates: Vec<Vec<f64>> = (0..candidates.len()).map(of_candidate).collect();
    let mut by_positives = vec![vec![0.0; batch.dim()]; positives.len()];
    for (row, stats) in rows.iter().enumerate() {
        let index = positive_index(batch.positives(), row);
        // .. of which what is no negative is taken away again, ..
        let group = label_group(batch, row);
        let of_positive = |index| if group.contains(&index) { 0.0 } else { shares[row] };
        let positive = index.map(|index| (index, -(mean(row) + closest(row) + of_positive(index))));
        let outside = -(mean(row) + closest(row));
        if index.is_none() && outside != 0.0 {
            add(&mut by_anchors[row], &scaled_row(positives[row], outside));
            add(&mut by_positives[row], &scaled_row(anchors[row], outside));
        }
        let negative = stats.closest_negative().map(|negative| (negative.index(), closest(row)));
        let listed = left_out(batch, row).into_iter().filter(|&other| Some(other) != index && !group.contains(&other));
        let pairs = [positive, negative].into_iter().flatten().chain(listed.map(|other| (other, -shares[row])));
        for (index, derivative) in pairs.filter(|pair| pair.1 != 0.0) {
            add(&mut by_anchors[row], &scaled_row(candidates[index], derivative));
            add(&mut by_candidates[index], &scaled_row(anchors[row], derivative));
        }
    }
    // .. and by the rows as they are.
    let side = |rows: &[&[f32]], by_units: &[Vec<f64>]| {
        let by_row = |(row, by_unit): (&&[f32], &Vec<f64>)| {
            let scale = inverse_norm(row);
            let along = lane_sum(row.iter().zip(by_unit).map(|(&value, by_unit)| f64::from(value) * by_unit));
            let along = along * scale * scale;
            let element = |(&value, by_unit): (&f32, &f64)| ((by_unit - f64::from(value) * along) * scale) as f32;
            let gradient: Vec<f32> = row.iter().zip(by_unit).map(element).collect();
            if scale == 0.0 { vec![0.0; row.len()] } else { gradient }
        };
        rows.iter().zip(by_units).flat_map(by_row).collect()
    };
    [side(&anchors, &by_anchors), side(&candidates, &by_candidates), side(&positives, &by_positives)]
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

/// The sum of the products of pairs, nearly as if it were rounded once: what products and sums lose by rounding is
/// added up beside them.
fn accurate_dot(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for (x, y) in pairs {
        let (product, before) = (x * y, sum);
        sum += product;
        let added = sum - before;
        lost += (before - (sum - added)) + (product - added) + x.mul_add(y, -product);
    }
    sum + lost
}

/// The norm of a row, without the roundings of a sum.
fn accurate_norm(row: &[f32]) -> f64 {
    accurate_dot(row.iter().map(|&value| (value.into(), value.into()))).sqrt()
}

/// A row scaled to norm 1, without the roundings of a sum.
fn accurate_unit_row(row: &[f32]) -> Vec<f64> {
    let norm = accurate_norm(row);
    row.iter().map(|&value| if norm == 0.0 { 0.0 } else { f64::from(value) / norm }).collect()
}

/// The derivative by one row of a loss whose derivatives by the similarities with `others`, rows of norm 1, are given:
/// the chain rule through `s_j = (row / |row|) . v_j`.
fn row_gradient<'a>(
    row: &[f32],
    by_similarity: &[f64],
    others: impl Iterator<Item = &'a Vec<f64>> + Clone,
) -> Vec<f64> {
    let (unit, norm) = (accurate_unit_row(row), accurate_norm(row));
    let by_element = |k| {
        accurate_dot(by_similarity.iter().zip(others.clone()).map(|(&by_similarity, other)| (by_similarity, other[k])))
    };
    let by_unit: Vec<f64> = (0..row.len()).map(by_element).collect();
    let along = accurate_dot(by_unit.iter().copied().zip(unit.iter().copied()));
    let project = |(by_unit, unit): (&f64, &f64)| if norm == 0.0 { 0.0 } else { (by_unit - along * unit) / norm };
    by_unit.iter().zip(&unit).map(project).collect()
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
    let by_candidate: Vec<Vec<f64>> =
        (0..batch.candidates()).map(|column| by_anchor.iter().map(|row| row[column]).collect()).collect();
    let units = |rows: &[f32]| rows.chunks(batch.dim()).map(accurate_unit_row).collect::<Vec<_>>();
    let (anchors, candidates) = (batch.anchor_rows().data(), batch.candidate_rows().data());
    let (unit_anchors, unit_candidates, unit_positives) = (units(anchors), units(candidates), units(outside(batch)));
    let of_anchors =
        anchors.chunks(batch.dim()).zip(&by_anchor).enumerate().flat_map(|(row, (anchor, by_similarity))| {
            let others = unit_candidates.iter().chain(unit_positives.get(row));
            row_gradient(anchor, by_similarity, others)
        });
    let of_candidates = candidates.chunks(batch.dim()).zip(&by_candidate);
    let of_candidates = of_candidates
        .flat_map(|(candidate, by_similarity)| row_gradient(candidate, by_similarity, unit_anchors.iter()));
    let of_positives = outside(batch).chunks(batch.dim()).enumerate().flat_map(|(row, positive)| {
        row_gradient(positive, &by_anchor[row][batch.candidates()..], unit_anchors[row..=row].iter())
    });
    Ok([of_anchors.collect(), of_candidates.collect(), of_positives.collect()])
}
