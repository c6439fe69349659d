//! The sum of each group's rows, each scaled to norm 1 and perhaps weighted: what a label takes away from the sum of
//! all.
//!
//! A sum is made of blocks of 192 rows, in ascending order, which are combined as a tree, as the sum of all rows is.
//! The sums of all groups might take twice the memory of the rows, where all labels differ. So they are kept for groups
//! only that have several rows on both sides: at most for one row in four. A sum of a few rows, or for a few rows, is
//! added up anew for each row that needs it, which takes O(rows * dim) in all.

use super::groups::Members;
use crate::arch::Backend;
use crate::error::{Error, Side};
use crate::exact::{SUM_BLOCK, combine_blocks};
use crate::kernels::{MOST_TERMS, Term, add_terms, dot_scaled, dot_sum, inverse, prefetch_row};
use crate::memory::{bytes_of, grow};
use crate::parallel::{Chunks, Join, for_each_block};
use crate::rows::Rows;

/// The most rows on either side of a group whose sum is added up anew for each row that needs it.
const MOST_UNKEPT: usize = 3;

/// The place of a sum that is not kept.
const NOT_KEPT: usize = usize::MAX;

/// The memory of the sums that are kept.
#[derive(Debug, Default)]
pub(crate) struct SumMemory {
    /// For each group its first block.
    places: Vec<usize>,
    /// Where the rows of each block begin and end among the rows of all groups.
    blocks: Vec<(usize, usize)>,
    /// The sum of each block, and in the place of a group's first block the sum of the group.
    sums: Vec<f64>,
}

/// The rows that are added up.
#[derive(Clone, Copy)]
pub(crate) struct Summands<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) norms: &'a [f64],
    /// A factor for each row, or none for factors of 1.
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) members: Members<'a>,
}

/// The sums of all groups.
#[derive(Clone, Copy)]
pub(crate) struct GroupSums<'a> {
    summands: Summands<'a>,
    places: &'a [usize],
    sums: &'a [f64],
}

impl SumMemory {
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.places) + bytes_of(&self.blocks) + bytes_of(&self.sums)
    }

    /// Adds up the groups whose sums are to be kept, for the rows of the other side, `users`.
    pub(crate) fn fill<'a>(
        &'a mut self,
        backend: Backend,
        join: Join,
        summands: Summands<'a>,
        users: Members<'_>,
    ) -> Result<GroupSums<'a>, Error> {
        let (side, dim) = (Side::AnchorLabels, summands.rows.dim());
        let (rows, users_count) = (summands.rows.count(), users.rows().len());
        let most_blocks = rows.min(users_count) / (MOST_UNKEPT + 1) + 2 * rows.div_ceil(SUM_BLOCK);
        let places = grow(&mut self.places, side, rows.max(users_count), 1)?;
        let blocks = grow(&mut self.blocks, side, most_blocks, 1)?;
        let sums = grow(&mut self.sums, side, most_blocks, dim)?;
        let count = place_blocks(summands.members, users, places, blocks);
        let (blocks, places) = (&blocks[..count], &*places);
        for_each_block(join, Chunks::new(&mut sums[..count * dim], dim), &|block, sum| {
            let (start, end) = blocks[block];
            summands.add_up(backend, &summands.members.rows()[start..end], sum.slice);
        });
        for group in 0..summands.members.count() {
            let length = summands.members.of(group).len().div_ceil(SUM_BLOCK);
            if places[group] != NOT_KEPT && length > 1 {
                combine_blocks(&mut sums[places[group] * dim..][..length * dim], dim);
            }
        }
        Ok(GroupSums { summands, places, sums })
    }

    /// The sums that were added up last, of these rows.
    pub(crate) fn of<'a>(&'a self, summands: Summands<'a>) -> GroupSums<'a> {
        GroupSums { summands, places: &self.places, sums: &self.sums }
    }
}

/// Chooses the groups whose sums are kept, and writes their blocks; how many blocks there are.
fn place_blocks(
    members: Members<'_>,
    users: Members<'_>,
    places: &mut [usize],
    blocks: &mut [(usize, usize)],
) -> usize {
    let mut count = 0;
    for (group, place) in places[..members.count()].iter_mut().enumerate() {
        let (range, users) = (members.range(group), users.of(group).len());
        let is_large = range.len() > SUM_BLOCK && users > 0;
        if !is_large && (range.len() <= MOST_UNKEPT || users <= MOST_UNKEPT) {
            *place = NOT_KEPT;
            continue;
        }
        *place = count;
        for start in range.clone().step_by(SUM_BLOCK) {
            blocks[count] = (start, range.end.min(start + SUM_BLOCK));
            count += 1;
        }
    }
    count
}

impl GroupSums<'_> {
    /// Whether a group has no rows, so that its sum is 0.
    pub(crate) fn is_empty(&self, group: usize) -> bool {
        self.summands.members.of(group).is_empty()
    }

    /// The sum of a group that is not empty, which may be put into `scratch`.
    pub(crate) fn of<'s>(&'s self, backend: Backend, group: usize, scratch: &'s mut [f64]) -> &'s [f64] {
        let dim = scratch.len();
        let place = self.places[group];
        if place != NOT_KEPT {
            return &self.sums[place * dim..][..dim];
        }
        self.summands.add_up(backend, self.summands.members.of(group), scratch);
        scratch
    }

    /// The dot product of a row of the other side with the sum of a group, for which there is `scratch`.
    pub(crate) fn dot(&self, backend: Backend, row: &[f32], group: usize, scratch: &mut [f64]) -> f64 {
        let Summands { rows, norms, weights, members } = self.summands;
        match (members.of(group), weights) {
            ([], _) => 0.0,
            // A vector of one row need not be written down.
            (&[single], None) => dot_scaled(backend, row, rows.row(single), inverse(norms[single])),
            _ => dot_sum(backend, row, self.of(backend, group, scratch)),
        }
    }
}

impl Summands<'_> {
    /// Adds up some of the rows, in their order, those without weight left out.
    fn add_up(self, backend: Backend, members: &[usize], sum: &mut [f64]) {
        let Summands { rows, norms, weights, .. } = self;
        let mut terms: [Term<'_>; MOST_TERMS] = [(&[], 0.0); MOST_TERMS];
        sum.fill(0.0);
        for members in members.chunks(MOST_TERMS) {
            let mut count = 0;
            for &row in members {
                let weight = weights.map_or(1.0, |weights| weights[row]);
                if weight != 0.0 {
                    prefetch_row(rows.row(row));
                    terms[count] = (rows.row(row), weight * inverse(norms[row]));
                    count += 1;
                }
            }
            add_terms(backend, None, &terms[..count], sum);
        }
    }
}
