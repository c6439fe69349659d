//! The rows of a file that have the bits of no earlier one.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::memory::{filled, push, reserved};
use crate::rows::{RowFile, RowReader};

/// The rows that are hashed at a time.
const BLOCK: usize = 1024;
/// The bytes of the rows that others are compared with at a time.
const COMPARED: usize = 1 << 26;

/// Which rows of a file are copies of others.
#[derive(Debug, PartialEq, Eq)]
pub struct Distinct {
    /// For each row the first one with its bits.
    first: Vec<usize>,
    /// The rows that are the first ones, ascending.
    kept: Vec<usize>,
}

/// A row that may be a copy of an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    earlier: usize,
    row: usize,
}

impl Distinct {
    /// Reads all rows of a file for their hashes, and rows with the same hash once more, to compare their bits.
    pub fn of(file: &RowFile) -> Result<Distinct, String> {
        let key = RandomState::new();
        let hash = |row: &[f32]| {
            let mut hasher = key.build_hasher();
            row.iter().for_each(|value| hasher.write_u32(value.to_bits()));
            hasher.finish()
        };
        Distinct::by_hash(file, hash, COMPARED)
    }

    /// The same by another hash, whose quality changes the time alone, and with this number of bytes of rows that others
    /// are compared with at a time.
    pub fn by_hash(file: &RowFile, hash: impl Fn(&[f32]) -> u64, compared: usize) -> Result<Distinct, String> {
        let mut claims = same_hash(&hashes(file, hash)?)?;
        let mut first = reserved(file.rows, "rows")?;
        first.extend(0..file.rows);
        let compared_rows = (compared / (file.dim * size_of::<f32>())).max(1);
        while !claims.is_empty() {
            claims.sort_unstable();
            claims = unproven(file, &mut claims, compared_rows, &mut first)?;
        }
        Distinct::from_first(first)
    }

    /// From the first row with the bits of each.
    pub fn from_first(first: Vec<usize>) -> Result<Distinct, String> {
        let mut kept = reserved(first.len(), "rows")?;
        kept.extend((0..first.len()).filter(|&row| first[row] == row));
        Ok(Distinct { first, kept })
    }

    /// For each row the first one with its bits.
    #[must_use]
    pub fn into_first(self) -> Vec<usize> {
        self.first
    }

    /// For each row the first one with its bits.
    #[must_use]
    pub fn first(&self) -> &[usize] {
        &self.first
    }

    /// The rows that are the first ones with their bits, ascending.
    pub(crate) fn kept(&self) -> &[usize] {
        &self.kept
    }
}

/// The hash of each row, in ascending order.
fn hashes(file: &RowFile, hash: impl Fn(&[f32]) -> u64) -> Result<Vec<(u64, usize)>, String> {
    let (mut hashes, mut rows, mut reader) = (reserved(file.rows, "hashes of rows")?, Vec::new(), file.reader()?);
    while hashes.len() < file.rows {
        rows.clear();
        reader.read(BLOCK.min(file.rows - hashes.len()), &mut rows)?;
        for row in rows.chunks_exact(file.dim) {
            hashes.push((hash(row), hashes.len()));
        }
    }
    hashes.sort_unstable();
    Ok(hashes)
}

/// Each row with the first one that has its hash, where that is another one.
fn same_hash(hashes: &[(u64, usize)]) -> Result<Vec<Claim>, String> {
    let groups = || hashes.chunk_by(|(x, _), (y, _)| x == y);
    let mut claims = reserved(hashes.len() - groups().count(), "rows")?;
    for group in groups() {
        claims.extend(group[1..].iter().map(|&(_, row)| Claim { earlier: group[0].1, row }));
    }
    Ok(claims)
}

/// Writes the earlier row of each claim that is true. Of rows with the same hash whose claim is false, the first one has
/// the bits of no earlier row; what the others may be copies of is that one, in the claims that are returned. The claims
/// are in ascending order.
fn unproven(
    file: &RowFile,
    claims: &mut [Claim],
    compared_rows: usize,
    first: &mut [usize],
) -> Result<Vec<Claim>, String> {
    let (mut open, mut rest): (Vec<Claim>, _) = (Vec::new(), claims);
    while !rest.is_empty() {
        let groups = rest.chunk_by(|x, y| x.earlier == y.earlier);
        let length = groups.take(compared_rows).map(<[Claim]>::len).sum();
        let batch;
        (batch, rest) = rest.split_at_mut(length);
        let mut refuted = compare(file, batch, first)?;
        refuted.sort_unstable();
        for group in refuted.chunk_by(|x, y| x.earlier == y.earlier) {
            for claim in &group[1..] {
                push(&mut open, Claim { earlier: group[0].row, ..*claim }, "rows")?;
            }
        }
    }
    Ok(open)
}

/// Reads the rows of some claims. Writes the earlier row of each claim that is true, and returns the others.
fn compare(file: &RowFile, claims: &mut [Claim], first: &mut [usize]) -> Result<Vec<Claim>, String> {
    let mut earlier = filled(claims.len(), 0, "rows")?;
    earlier.iter_mut().zip(&*claims).for_each(|(row, claim)| *row = claim.earlier);
    earlier.dedup();
    let (mut reader, mut values) = (OneByOne::new(file)?, reserved(earlier.len() * file.dim, "elements")?);
    for &row in &earlier {
        values.extend_from_slice(reader.row(row)?);
    }
    // Rows are read in their order.
    claims.sort_unstable_by_key(|claim| claim.row);
    let (mut reader, mut refuted) = (OneByOne::new(file)?, Vec::new());
    for claim in claims {
        let place = earlier.partition_point(|&row| row < claim.earlier) * file.dim;
        if have_same_bits(reader.row(claim.row)?, &values[place..][..file.dim]) {
            first[claim.row] = claim.earlier;
        } else {
            push(&mut refuted, *claim, "rows")?;
        }
    }
    Ok(refuted)
}

fn have_same_bits(x: &[f32], y: &[f32]) -> bool {
    x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// Reads some rows of a file in their order.
struct OneByOne<'a> {
    reader: RowReader<'a>,
    next: usize,
    row: Vec<f32>,
}

impl<'a> OneByOne<'a> {
    fn new(file: &'a RowFile) -> Result<OneByOne<'a>, String> {
        Ok(OneByOne { reader: file.reader()?, next: 0, row: Vec::new() })
    }

    fn row(&mut self, row: usize) -> Result<&[f32], String> {
        self.row.clear();
        self.reader.skip(row - self.next)?;
        self.reader.read(1, &mut self.row)?;
        self.next = row + 1;
        Ok(&self.row)
    }
}
