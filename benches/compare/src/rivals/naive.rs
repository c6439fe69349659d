//! The first version that anybody writes: scalar loops, in `f32`. Nothing is vectorised, since a sum of `f32` may not
//! be reordered.

use super::entrant::{Entrant, Rival};
use crate::common::OwnedBatch;
use crate::row::Row;
use crate::shapes::Case;

struct Naive {
    anchors: Vec<f32>,
    candidates: Vec<f32>,
    rows: Vec<Row>,
}

pub(super) fn entrant() -> Entrant {
    let build = |&Case { rows, candidates, dim, .. }: &Case| Naive {
        anchors: vec![0.0; rows * dim],
        candidates: vec![0.0; candidates * dim],
        rows: vec![Row::default(); rows],
    };
    // Beyond this a call takes seconds.
    Entrant { most_work: 1 << 30, ..Entrant::new("scalar loops", 1, build) }
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn normalize(rows: &[f32], dim: usize, output: &mut [f32]) {
    for (row, output) in rows.chunks_exact(dim).zip(output.chunks_exact_mut(dim)) {
        let norm = dot(row, row).sqrt();
        output.iter_mut().zip(row).for_each(|(output, value)| *output = value / norm);
    }
}

impl Rival for Naive {
    fn run(&mut self, pairs: &OwnedBatch) -> f64 {
        normalize(&pairs.anchors, pairs.dim, &mut self.anchors);
        normalize(&pairs.candidates, pairs.dim, &mut self.candidates);
        let negatives = (self.candidates.len() / pairs.dim - 1) as f32;
        let mut loss = 0.0;
        for (i, anchor) in self.anchors.chunks_exact(pairs.dim).enumerate() {
            let positive = dot(anchor, &self.candidates[i * pairs.dim..][..pairs.dim]);
            let (mut sum, mut closest) = (0.0, None);
            for (j, candidate) in self.candidates.chunks_exact(pairs.dim).enumerate().filter(|&(j, _)| j != i) {
                let similarity = dot(anchor, candidate);
                sum += similarity;
                if similarity < positive && closest.is_none_or(|(_, largest)| similarity > largest) {
                    closest = Some((j, similarity));
                }
            }
            let mean_negative = sum / negatives;
            self.rows[i] = Row { positive, mean_negative, closest };
            loss += self.rows[i].loss();
        }
        loss
    }

    fn run_into(&mut self, pairs: &OwnedBatch, rows: &mut [Row]) {
        self.run(pairs);
        rows.copy_from_slice(&self.rows);
    }
}
