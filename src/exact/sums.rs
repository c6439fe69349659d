//! Sums over rows: blocks in ascending order, combined as a tree that depends on the number of blocks alone.

use core::ops::Range;

use crate::error::{Error, Side};
use crate::memory::{Growth, reserve, try_copy};

/// The rows in a block of the candidates' sum, and of the anchors' sum in a backward pass. It is part of the definition
/// of the mean negative. It is a multiple of every panel width, so that a block of candidates owns whole panels.
pub(crate) const SUM_BLOCK: usize = 192;

/// The row losses in a block.
const LOSS_BLOCK: usize = 256;

/// Combines `blocks` blocks, neighbours first, then neighbours of neighbours: `block` is asked for each, in ascending
/// order, and `add` combines two.
fn combine<T>(blocks: usize, block: &mut impl FnMut() -> T, add: &impl Fn(T, T) -> T) -> T {
    if blocks == 1 {
        return block();
    }
    // The left side takes the largest power of two of blocks that leaves the right side some.
    let left = blocks.next_power_of_two() / 2;
    let (first, second) = (combine(left, block, add), combine(blocks - left, block, add));
    add(first, second)
}

/// Adds up blocks of `dim` elements, at least one, into the first of them.
pub(crate) fn combine_blocks(sums: &mut [f64], dim: usize) {
    let mut blocks = sums.chunks_exact_mut(dim);
    let count = blocks.len();
    combine(count, &mut || blocks.next().expect("as many blocks as were counted"), &|left: &mut [f64], right| {
        for (left, right) in left.iter_mut().zip(right) {
            *left += *right;
        }
        left
    });
}

/// A sum over rows that stays known while rows come, change and go: every node of the tree that [`combine_blocks`]
/// walks. Node `i` of a level is the sum of nodes `2 i` and `2 i + 1` of the level below, or a copy of the only one.
#[derive(Debug, Default)]
pub(crate) struct SumTree {
    dim: usize,
    /// The nodes of each level, `dim` elements each: the blocks first, the whole sum last.
    levels: Vec<Vec<f64>>,
}

impl SumTree {
    /// The tree of no rows of `dim` elements.
    pub(crate) fn new(dim: usize) -> SumTree {
        SumTree { dim, levels: Vec::new() }
    }

    /// Gets the memory for `blocks` blocks, so that [`SumTree::resize`] needs none.
    pub(crate) fn reserve(&mut self, growth: Growth, side: Side, blocks: usize) -> Result<(), Error> {
        let (mut nodes, mut level) = (blocks, 0);
        while nodes > 0 {
            if level == self.levels.len() {
                reserve(&mut self.levels, Growth::Doubling, side, level + 1, 1)?;
                self.levels.push(Vec::new());
            }
            reserve(&mut self.levels[level], growth, side, nodes, self.dim)?;
            (nodes, level) = if nodes > 1 { (nodes.div_ceil(2), level + 1) } else { (0, level) };
        }
        Ok(())
    }

    /// A copy, with memory for no more blocks.
    pub(crate) fn try_clone(&self, side: Side) -> Result<SumTree, Error> {
        let mut levels = Vec::new();
        reserve(&mut levels, Growth::Exact, side, self.levels.len(), 1)?;
        for level in &self.levels {
            levels.push(try_copy(level, side)?);
        }
        Ok(SumTree { dim: self.dim, levels })
    }

    /// Sets the number of blocks. New ones are to be summed.
    pub(crate) fn resize(&mut self, blocks: usize) {
        let (mut nodes, fewer) = (blocks, blocks * self.dim < self.blocks().len());
        for level in &mut self.levels {
            level.resize(nodes * self.dim, 0.0);
            nodes = if nodes > 1 { nodes.div_ceil(2) } else { 0 };
        }
        if fewer && blocks > 0 {
            self.update(blocks - 1..blocks);
        }
    }

    /// The blocks, to be summed anew; [`SumTree::update`] follows.
    pub(crate) fn blocks(&mut self) -> &mut [f64] {
        self.levels.first_mut().map_or(&mut [], |blocks| blocks)
    }

    /// Adds up the nodes above blocks that changed.
    pub(crate) fn update(&mut self, blocks: Range<usize>) {
        let (dim, mut changed) = (self.dim, blocks);
        for level in 1..self.levels.len() {
            let (below, nodes) = self.levels.split_at_mut(level);
            changed = changed.start / 2..changed.end.div_ceil(2);
            let pairs = below[level - 1].chunks(2 * dim).zip(nodes[0].chunks_exact_mut(dim));
            for (pair, node) in pairs.take(changed.end).skip(changed.start) {
                let (first, second) = pair.split_at(dim);
                node.copy_from_slice(first);
                for (node, second) in node.iter_mut().zip(second) {
                    *node += second;
                }
            }
        }
    }

    /// The sum of all blocks; empty without any.
    pub(crate) fn total(&self) -> &[f64] {
        self.levels.iter().rev().find(|level| !level.is_empty()).map_or(&[], |top| top)
    }

    /// The bytes of all nodes.
    pub(crate) fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.capacity() * size_of::<f64>()).sum()
    }
}

/// A sum over rows that come in runs of any length, in the order and the tree of [`combine_blocks`]. It holds the block
/// that is not full yet, and a stack of the sums of the full ones: node after node of the tree, each of half as many
/// blocks as the one below it or fewer, as the bits of the number of blocks say.
#[derive(Debug, Default)]
pub(crate) struct SumStack {
    dim: usize,
    rows: usize,
    /// The nodes, `dim` elements each, the oldest first, and then the block that is not full.
    nodes: Vec<f64>,
}

impl SumStack {
    /// The sum of no rows of `dim` elements.
    pub(crate) fn new(dim: usize) -> SumStack {
        SumStack { dim, rows: 0, nodes: Vec::new() }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Gets the memory for `rows` rows in all, so that adding them needs none.
    pub(crate) fn reserve(&mut self, side: Side, rows: usize) -> Result<(), Error> {
        let blocks = rows / SUM_BLOCK;
        // As many nodes as there are bits in any number of blocks up to these, and the block that is not full.
        let nodes = (blocks.checked_ilog2().map_or(0, |bits| bits + 1) + 1) as usize;
        reserve(&mut self.nodes, Growth::Doubling, side, nodes, self.dim)
    }

    /// How many rows the block takes that is not full.
    pub(crate) fn missing(&self) -> usize {
        SUM_BLOCK - self.rows % SUM_BLOCK
    }

    /// Adds `rows` rows, at most those that the block takes that is not full: `add` adds them to it.
    pub(crate) fn add(&mut self, rows: usize, add: impl FnOnce(&mut [f64])) {
        debug_assert!(0 < rows && rows <= self.missing());
        if self.rows.is_multiple_of(SUM_BLOCK) {
            self.nodes.resize(self.nodes.len() + self.dim, 0.0);
        }
        let block = self.nodes.len() - self.dim;
        add(&mut self.nodes[block..]);
        self.rows += rows;
        if self.rows.is_multiple_of(SUM_BLOCK) {
            // A node is complete when its second half is; that half may complete others.
            for _ in 0..(self.rows / SUM_BLOCK).trailing_zeros() {
                self.join_last();
            }
        }
    }

    /// Replaces the last two nodes by their sum.
    fn join_last(&mut self) {
        let last = self.nodes.len() - self.dim;
        let (nodes, node) = self.nodes.split_at_mut(last);
        for (sum, node) in nodes[last - self.dim..].iter_mut().zip(node) {
            *sum += *node;
        }
        self.nodes.truncate(last);
    }

    /// Writes the sum of all rows, of which there is one at least, into `total`.
    pub(crate) fn total(&self, total: &mut [f64]) {
        let mut nodes = self.nodes.chunks_exact(self.dim).rev();
        total.copy_from_slice(nodes.next().unwrap_or_default());
        for node in nodes {
            for (total, node) in total.iter_mut().zip(node) {
                *total += node;
            }
        }
    }
}

/// The sum over all items, of which there may be none, in blocks of [`LOSS_BLOCK`]: `of` sums up a block, and `add` adds
/// two sums.
pub(crate) fn sum_in_order<T, S>(items: &[T], of: &impl Fn(&[T]) -> S, add: &impl Fn(S, S) -> S) -> S {
    if items.len() <= LOSS_BLOCK {
        return of(items);
    }
    let mut blocks = items.chunks(LOSS_BLOCK);
    combine(blocks.len(), &mut || of(blocks.next().unwrap_or_default()), add)
}
