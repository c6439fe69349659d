//! A few rows at once against scalar code, bit for bit.

use super::scalar::{LENGTHS, add_scaled, bits, bits32, dot, dot_sum, inverse, norm, rows};
use crate::arch::Backend;
use crate::common::Random;
use crate::kernels::{FewMeasures, FewRows, MOST_FEW, measure_few};
use crate::rows::Rows;

fn cosine(dot: f64, norms: f64) -> f64 {
    if norms == 0.0 { 0.0 } else { dot / norms }
}

#[test]
fn all_that_is_computed_of_a_few_rows() {
    // What an earlier call has left does not matter, nor does it whether that had more rows.
    let mut measured = FewMeasures::default();
    for backend in Backend::available() {
        for (length, count) in LENGTHS.into_iter().flat_map(|length| (2..=MOST_FEW).map(move |count| (length, count))) {
            let what = format!("{backend}, {count} x {length}");
            let mut random = Random((length * count) as u64);
            // Of several rows the last one is zero, which hides what is not done to it: every other time it is left out.
            let all = count + length % 2;
            let [mut anchors, mut candidates] = [(); 2].map(|()| rows(&mut random, all, length));
            anchors.truncate(count * length);
            candidates.truncate(count * length);
            let mut positives = [0; MOST_FEW];
            positives[..count].fill_with(|| random.below(count));
            let [a, c] = [&anchors, &candidates].map(|rows| Rows::known(rows, length));
            // What the sum held does not matter.
            let mut sum = vec![0.5; length];
            measure_few(backend, &FewRows { anchors: a, candidates: c, count, positives }, &mut sum, &mut measured);

            let [norms, others]: [Vec<f64>; 2] = [a, c].map(|rows| rows.iter().map(norm).collect());
            let mut expected = vec![0.0; length];
            c.iter().zip(&others).for_each(|(row, &norm)| add_scaled(row, inverse(norm), &mut expected));
            assert_eq!(bits(&sum), bits(&expected), "the sum, {what}");
            assert_eq!(bits(&measured.anchor_norms[..count]), bits(&norms), "{what}");
            assert_eq!(bits(&measured.candidate_norms[..count]), bits(&others), "{what}");
            for (row, (x, norm)) in a.iter().zip(norms).enumerate() {
                let cosines: Vec<f64> =
                    c.iter().zip(&others).map(|(y, &other)| cosine(dot(x, y), norm * other)).collect();
                let similarities: Vec<f32> = cosines.iter().map(|&cosine| cosine as f32).collect();
                assert_eq!(bits32(&measured.similarities[row][..count]), bits32(&similarities), "row {row}, {what}");
                let rest = dot_sum(x, &expected) / norm - cosines[positives[row]];
                let mean = if norm == 0.0 { 0.0 } else { rest / (count - 1) as f64 };
                assert_eq!(bits(&[measured.means[row]]), bits(&[mean]), "the mean of row {row}, {what}");
            }
        }
    }
}
