//! Queries and candidates in several parts.

use hardneg::{Backend, KnownPositives, Miner, MiningBatch, Negatives, Neighbour, Workspace, reference};

use super::Input;
use crate::common::ALL_DATA;

/// Mines the candidates in parts, with their similarities to positives computed beforehand, and merges the lists.
pub(super) fn mine_in_parts(
    miner: Miner,
    input: &Input,
    sizes: &[usize],
    workspace: &mut Workspace,
) -> Vec<Vec<Neighbour>> {
    let dim = input.dim;
    let known = |query: usize| &input.indices[input.offsets[query]..input.offsets[query + 1]];
    let smallest = |query: usize| {
        let row = &input.queries[query * dim..][..dim];
        let similarity =
            |&index: &usize| miner.backend.cosine_similarity(row, &input.candidates[index * dim..][..dim]).unwrap();
        known(query).iter().map(similarity).reduce(f32::min)
    };
    let similarities: Vec<Option<f32>> = (0..input.rows()).map(smallest).collect();
    let kept = miner.k + miner.skip;
    let mut lists = vec![Vec::new(); input.rows()];
    let (mut first, mut sizes) = (0, sizes.iter().cycle());
    while first < input.columns() {
        let size = (*sizes.next().unwrap()).min(input.columns() - first);
        let (mut offsets, mut indices) = (vec![0], Vec::new());
        for query in 0..input.rows() {
            let here = known(query).iter().filter(|&&index| (first..first + size).contains(&index));
            indices.extend(here.map(|index| index - first));
            offsets.push(indices.len());
        }
        let part = MiningBatch::new(&input.queries, &input.candidates[first * dim..][..size * dim], dim).unwrap();
        let known = KnownPositives::Lists { offsets: &offsets, indices: &indices };
        let part = part.known_positives(known).unwrap().positive_similarities(&similarities).unwrap();
        // What a full list holds already need not be found again.
        let floors: Vec<f32> = lists
            .iter()
            .map(|list: &Vec<Neighbour>| list.get(kept - 1).map_or(f32::NEG_INFINITY, |last| last.similarity))
            .collect();
        let part = if first % 3 == 0 { part } else { part.floors(&floors).unwrap() };
        let mined = miner.skip(0).k(kept).mine(part, workspace).unwrap();
        for (list, found) in lists.iter_mut().zip(mined.rows()) {
            let found: Vec<Neighbour> =
                found.iter().map(|pair| Neighbour { index: first + pair.index, ..*pair }).collect();
            let mut merged = vec![Neighbour::default(); kept];
            // In either order.
            let count = if first % 2 == 0 {
                Neighbour::merge(list, &found, &mut merged)
            } else {
                Neighbour::merge(&found, list, &mut merged)
            };
            merged.truncate(count);
            *list = merged;
        }
        first += size;
    }
    lists.iter().map(|list| list.iter().skip(miner.skip).copied().collect()).collect()
}

#[test]
fn candidates_in_parts_merge_to_the_same_lists() {
    let mut workspace = Workspace::new();
    for (turn, data) in ALL_DATA.into_iter().enumerate() {
        let input = Input::new(data, 11 + turn as u64, 30, 170, 20);
        for miner in input.thresholds(Miner::new().k(6).skip(2)) {
            let expected = reference::mine(&miner, input.batch()).unwrap();
            for sizes in [&[1][..], &[50], &[7, 100, 3], &[170]] {
                let miner = miner.backend(Backend::available().last().unwrap());
                let actual = mine_in_parts(miner, &input, sizes, &mut workspace);
                assert_eq!(expected, actual, "{data:?}, parts of {sizes:?}, {miner:?}");
            }
        }
    }
}

#[test]
fn queries_in_parts_give_the_same_lists() {
    let mut workspace = Workspace::new();
    for data in ALL_DATA {
        let input = Input::new(data, 13, 60, 170, 20);
        let miner = Miner::new().k(5).negatives(Negatives::Below);
        let expected = reference::mine(&miner, input.batch()).unwrap();
        for size in [1, 7, 40] {
            let mut lists = Vec::new();
            for first in (0..input.rows()).step_by(size) {
                let rows = size.min(input.rows() - first);
                let offsets = &input.offsets[first..=first + rows];
                let indices = &input.indices[offsets[0]..offsets[rows]];
                let offsets: Vec<usize> = offsets.iter().map(|offset| offset - offsets[0]).collect();
                let queries = &input.queries[first * input.dim..][..rows * input.dim];
                let batch = MiningBatch::new(queries, &input.candidates, input.dim).unwrap();
                let batch = batch.known_positives(KnownPositives::Lists { offsets: &offsets, indices }).unwrap();
                lists.extend(miner.mine(batch, &mut workspace).unwrap().rows().map(<[Neighbour]>::to_vec));
            }
            assert_eq!(expected, lists, "{data:?}, {size} queries a call");
        }
    }
}
