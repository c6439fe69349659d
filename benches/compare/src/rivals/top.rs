//! The least that mining needs with a matrix product: both sides are normalised, tiles of the product are computed by
//! the crate `gemm`, and each row of a tile is looked through for what is larger than the least of a query's list.

use super::buffer::Buffer;
use super::gemm::multiply;
use super::reduce::normalize;
use super::vectorised::{Loop, dot, vectorised};

/// Queries and candidates of a tile: a tile stays in the second-level cache until it was looked through.
const QUERIES: usize = 256;
const CANDIDATES: usize = 512;

/// The candidates are the rows of a corpus; candidate `i` is the positive of query `i`.
pub(crate) struct Top {
    dim: usize,
    k: usize,
    queries: Buffer,
    corpus: Buffer,
    tile: Buffer,
    /// The best of each query of a strip, most similar first.
    lists: Vec<Vec<(f32, usize)>>,
    limits: Vec<f32>,
}

impl Top {
    pub(crate) fn new(k: usize, candidates: usize, dim: usize) -> Top {
        let lists = (0..QUERIES).map(|_| Vec::with_capacity(k + 1)).collect();
        let [queries, corpus, tile] = [QUERIES * dim, candidates * dim, QUERIES * CANDIDATES].map(Buffer::new);
        Top { dim, k, queries, corpus, tile, lists, limits: vec![0.0; QUERIES] }
    }

    /// Hands the most similar candidates of each query to `take`; `limit` makes the largest similarity that a candidate
    /// may have of that of the positive.
    pub(crate) fn mine(
        &mut self,
        queries: &[f32],
        corpus: &[f32],
        limit: impl Fn(f32) -> f32,
        mut take: impl FnMut(usize, &[(f32, usize)]),
    ) {
        normalize(corpus, self.dim, &mut self.corpus);
        for (strip, queries) in queries.chunks(QUERIES * self.dim).enumerate() {
            let first = strip * QUERIES;
            self.mine_strip(queries, first, &limit);
            let lists = &self.lists[..queries.len() / self.dim];
            lists.iter().enumerate().for_each(|(index, list)| take(first + index, list));
        }
    }

    fn mine_strip(&mut self, queries: &[f32], first: usize, limit: impl Fn(f32) -> f32) {
        let Top { dim, k, queries: unit, corpus, tile, lists, limits } = self;
        let (dim, rows) = (*dim, queries.len() / *dim);
        normalize(queries, dim, unit);
        for (index, query) in unit[..queries.len()].chunks_exact(dim).enumerate() {
            let positive = &corpus[(first + index) * dim..][..dim];
            limits[index] = limit(vectorised(Dot(query, positive)));
            lists[index].clear();
        }
        for (block, candidates) in corpus.chunks(CANDIDATES * dim).enumerate() {
            let columns = candidates.len() / dim;
            let tile = &mut tile[..rows * columns];
            multiply(dim, &unit[..queries.len()], candidates, tile);
            for (index, row) in tile.chunks_exact(columns).enumerate() {
                let list = &mut lists[index];
                vectorised(Look {
                    row,
                    first: block * CANDIDATES,
                    positive: first + index,
                    limit: limits[index],
                    k: *k,
                    list,
                });
            }
        }
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Loop for Dot<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f32 {
        dot::<FMA>(self.0, self.1)
    }
}

/// Puts what qualifies of a row into the list.
struct Look<'a> {
    row: &'a [f32],
    first: usize,
    positive: usize,
    limit: f32,
    k: usize,
    list: &'a mut Vec<(f32, usize)>,
}

impl Loop for Look<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        const LANES: usize = 32;
        let mut floor = self.floor();
        for (block, values) in self.row.chunks(LANES).enumerate() {
            // Most blocks have none.
            if !values.iter().fold(false, |any, &value| any | (value > floor && value <= self.limit)) {
                continue;
            }
            for (lane, &value) in values.iter().enumerate() {
                if value > floor && value <= self.limit {
                    floor = self.insert(value, self.first + block * LANES + lane);
                }
            }
        }
    }
}

impl Look<'_> {
    /// What a similarity must exceed.
    fn floor(&self) -> f32 {
        if self.list.len() < self.k { f32::NEG_INFINITY } else { self.list[self.k - 1].0 }
    }

    fn insert(&mut self, value: f32, candidate: usize) -> f32 {
        if candidate != self.positive {
            let place = self.list.partition_point(|&(other, _)| other >= value);
            self.list.insert(place, (value, candidate));
            self.list.truncate(self.k);
        }
        self.floor()
    }
}
