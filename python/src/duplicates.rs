//! Candidates whose rows are equal, bit for bit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};

/// For each candidate the first one with the same row.
pub(crate) struct Duplicates {
    first: Vec<usize>,
}

/// A row that is compared by its bits.
struct Bits<'a>(&'a [f32]);

impl Bits<'_> {
    fn words(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|value| value.to_bits())
    }
}

impl PartialEq for Bits<'_> {
    fn eq(&self, other: &Bits<'_>) -> bool {
        self.words().eq(other.words())
    }
}

impl Eq for Bits<'_> {}

impl Hash for Bits<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.words().for_each(|word| state.write_u32(word));
    }
}

impl Duplicates {
    /// Those among rows of `dim` elements.
    pub(crate) fn among(rows: &[f32], dim: usize) -> Duplicates {
        let mut seen = HashMap::new();
        let rows = rows.chunks_exact(dim.max(1)).enumerate();
        let first = rows.map(|(index, row)| match seen.entry(Bits(row)) {
            Entry::Occupied(earlier) => *earlier.get(),
            Entry::Vacant(place) => *place.insert(index),
        });
        Duplicates { first: first.collect() }
    }

    /// Whether a candidate repeats an earlier one, or the row of one of the known positives.
    pub(crate) fn excludes(&self, candidate: usize, mut positives: impl Iterator<Item = usize>) -> bool {
        let first = self.first[candidate];
        first != candidate || positives.any(|positive| self.first[positive] == first)
    }
}
