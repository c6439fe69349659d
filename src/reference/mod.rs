//! The definition of everything this crate computes, as the shortest readable code: the oracle of its tests.
//!
//! It is as slow as it looks, allocates freely, and shares nothing with the fast path but the types of arguments and
//! results, so that agreement, bit for bit, means something. The constants are part of the definition.
//!
//! As nothing here has to be fast, it is loops over vectors, and what is called from many places is not inlined: with
//! iterators of its own in each function it was a tenth of the library's code.

mod backward;

use crate::{
    Batch, ClosestNegative, Error, Exclusions, Loss, Miner, MiningBatch, Negatives, Neighbour, Positives, Reduction,
    RowStats, Side, SimilarityMatrix,
};

pub use backward::{backward, gradients, similarity_gradients};

/// Element `k` of a row is added in lane `k % LANES`.
const LANES: usize = 16;
/// Candidates that are summed one after the other before blocks are combined.
const CANDIDATE_BLOCK: usize = 192;
/// Row losses that are summed one after the other before blocks are combined.
const ROW_BLOCK: usize = 256;

/// The values as `f64`.
#[inline(never)]
fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Adds vector `terms` to vector `sum`.
fn add(sum: &mut [f64], terms: &[f64]) {
    for (sum, term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

/// The sum of `terms`: element `k` in lane `k % LANES`, and the lanes folded by halves.
#[inline(never)]
fn lane_sum(terms: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for terms in terms.chunks(LANES) {
        add(&mut lanes, terms);
    }
    let mut lanes = &mut lanes[..];
    while lanes.len() > 1 {
        let (low, high) = lanes.split_at_mut(lanes.len() / 2);
        add(low, high);
        lanes = low;
    }
    lanes[0]
}

/// The sum of vectors, in ascending order.
fn sum_in_order(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors[0].len()];
    for vector in vectors {
        add(&mut sum, vector);
    }
    sum
}

/// The sum of vectors: blocks of `block` in ascending order, then neighbouring blocks, then neighbours of those. (Each
/// sum begins with 0, which changes none of the sums that it is added to: they are never -0.)
#[inline(never)]
fn tree_sum(vectors: &[Vec<f64>], block: usize) -> Vec<f64> {
    let mut sums: Vec<Vec<f64>> = vectors.chunks(block).map(sum_in_order).collect();
    while sums.len() > 1 {
        sums = sums.chunks(2).map(sum_in_order).collect();
    }
    sums.remove(0)
}

/// The dot product of vectors whose products are rounded to `f64`, if they are not exact.
#[inline(never)]
fn wide_dot(x: &[f64], y: &[f64]) -> f64 {
    let products: Vec<f64> = x.iter().zip(y).map(|(x, y)| x * y).collect();
    lane_sum(&products)
}

/// See [`crate::Backend::dot`].
#[must_use]
pub fn dot(x: &[f32], y: &[f32]) -> f64 {
    wide_dot(&wide(x), &wide(y))
}

/// See [`crate::Backend::norm`].
#[must_use]
#[inline(never)]
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
#[inline(never)]
pub fn cosine_similarity(x: &[f32], y: &[f32]) -> f32 {
    cosine64(x, y) as f32
}

/// `1 / norm`, and 0 for a zero row.
fn inverse_norm(row: &[f32]) -> f64 {
    if norm(row) == 0.0 { 0.0 } else { 1.0 / norm(row) }
}

/// A row scaled to the norm `target`, before it is rounded to `f32`.
#[inline(never)]
fn scaled_row(row: &[f32], target: f64) -> Vec<f64> {
    let (mut row, scale) = (wide(row), target * inverse_norm(row));
    row.iter_mut().for_each(|value| *value *= scale);
    row
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
    let mut matrix = Vec::new();
    for anchor in anchors.chunks(dim) {
        for candidate in candidates.chunks(dim) {
            matrix.push(cosine_similarity(anchor, candidate));
        }
    }
    matrix
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
#[inline(never)]
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

/// Fails with the first row that is not finite.
fn check_finite(sides: &[(Side, &[f32])], dim: usize) -> Result<(), Error> {
    for &(side, rows) in sides {
        if let Some(index) = rows.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { side, row: index / dim });
        }
    }
    Ok(())
}

/// The mean of so many similarities, rounded to `f32`.
fn mean_of(sum: f64, count: usize) -> Option<f32> {
    (count > 0).then(|| (sum / count as f64) as f32)
}

/// The elements of positives that are no candidates, or nothing.
fn outside(batch: Batch<'_>) -> &[f32] {
    if let Positives::Outside(rows) = batch.positives() { rows } else { &[] }
}

/// The candidates with the label of anchor `row`, in ascending order, if there are labels.
#[inline(never)]
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
    check_finite(
        &[(Side::Anchors, anchors), (batch.candidate_side(), candidates), (Side::Positives, outside(batch))],
        dim,
    )?;
    let units = candidates.chunks(dim).map(|row| scaled_row(row, 1.0)).collect::<Vec<_>>();
    let sum = tree_sum(&units, CANDIDATE_BLOCK);
    let matrix = similarity_matrix(anchors, candidates, dim);
    let mut rows = Vec::new();
    for (row, (anchor, similarities)) in anchors.chunks(dim).zip(matrix.chunks(units.len())).enumerate() {
        let positive = cosine_similarity(anchor, positive_row(batch, row));
        let left_out = not_negative(row, units.len(), batch.positives(), batch.exclusions());
        // A label is taken away as the sum of its candidates, everything else candidate by candidate.
        let group = label_group(batch, row);
        let mut total = wide_dot(&wide(anchor), &sum);
        if !group.is_empty() {
            let of_group: Vec<Vec<f64>> = group.iter().map(|&candidate| units[candidate].clone()).collect();
            total -= wide_dot(&wide(anchor), &tree_sum(&of_group, CANDIDATE_BLOCK));
        }
        let mut others = 0.0;
        for candidate in left_out.iter().filter(|candidate| !group.contains(candidate)) {
            others += cosine64(anchor, &candidates[candidate * dim..][..dim]);
        }
        let negative_sum = if norm(anchor) == 0.0 { 0.0 } else { total / norm(anchor) } - others;
        let mean = mean_of(negative_sum, units.len() - left_out.len());
        let closest = closest_negative(similarities, positive, &left_out, negatives);
        rows.push(RowStats::new(positive, mean, closest).expect("finite similarities"));
    }
    Ok(rows)
}

/// The statistics that [`crate::ForwardFromSimilarities::row_stats`] returns.
///
/// # Panics
/// A similarity is not finite.
#[must_use]
pub fn row_stats_from_similarities(matrix: SimilarityMatrix<'_>, negatives: Negatives) -> Vec<RowStats> {
    let mut rows = Vec::new();
    for (row, similarities) in matrix.data().chunks(matrix.columns()).enumerate() {
        let limit = match (matrix.positives(), positive_index(matrix.positives(), row)) {
            (Positives::Outside(given), _) => given[row],
            (_, index) => similarities[index.expect("a column")],
        };
        let left_out = not_negative(row, similarities.len(), matrix.positives(), matrix.exclusions());
        // The runs of negatives, which end at those that are left out.
        let (mut sum, mut start) = (0.0, 0);
        for &end in &left_out {
            sum += lane_sum(&wide(&similarities[start..end]));
            start = end + 1;
        }
        sum += lane_sum(&wide(&similarities[start..]));
        let mean = mean_of(sum, similarities.len() - left_out.len());
        let closest = closest_negative(similarities, limit, &left_out, negatives);
        rows.push(RowStats::new(limit, mean, closest).expect("finite similarities"));
    }
    rows
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
    let sides = [(Side::Queries, queries), (Side::Candidates, candidates), (Side::Positives, outside)];
    check_finite(&sides, batch.dim())?;
    let matrix = similarity_matrix(queries, candidates, batch.dim());
    let mut lists = Vec::new();
    for (query, similarities) in matrix.chunks(batch.candidates()).enumerate() {
        lists.push(neighbours(miner, batch, query, similarities));
    }
    Ok(lists)
}

/// The list of one query.
fn neighbours(miner: &Miner, batch: MiningBatch<'_>, query: usize, similarities: &[f32]) -> Vec<Neighbour> {
    let row = &batch.sides().anchors.data()[query * batch.dim()..][..batch.dim()];
    let (mut known, mut smallest) = (Vec::new(), None::<f32>);
    batch.each_known(query, &mut |index| known.push(index));
    batch.each_positive(query, &mut |positive| {
        let similarity = cosine_similarity(row, positive);
        smallest = Some(smallest.map_or(similarity, |smallest| smallest.min(similarity)));
    });
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
    let mut list: Vec<Neighbour> = Vec::new();
    for (index, &similarity) in similarities.iter().enumerate() {
        if qualifies(similarity.into()) && !is_out(index) {
            // Behind those that are as similar, so that the lower index stands first on a tie.
            let place = list.partition_point(|other| other.similarity >= similarity);
            list.insert(place, Neighbour { index, similarity });
            list.truncate(miner.skip.saturating_add(miner.k));
        }
    }
    list.drain(..miner.skip.min(list.len()));
    list
}
