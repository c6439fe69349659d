//! The rows that are mined: those of a file, or the first of its rows with the same bits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

use crate::memory::reserved;
use crate::rows::{RowFile, RowReader};

/// The rows that are hashed at a time.
const BLOCK: usize = 1024;

/// A file of rows, and which of them are mined.
pub(crate) struct Corpus {
    file: RowFile,
    distinct: Option<Distinct>,
}

impl Corpus {
    /// All rows of a file, or only `distinct` ones.
    pub(crate) fn new(file: RowFile, distinct: bool) -> Result<Corpus, String> {
        let distinct = distinct.then(|| Distinct::of(&file)).transpose()?;
        Ok(Corpus { file, distinct })
    }

    pub(crate) fn file(&self) -> &RowFile {
        &self.file
    }

    /// How many rows are mined.
    pub(crate) fn rows(&self) -> usize {
        self.distinct.as_ref().map_or(self.file.rows, |distinct| distinct.kept.len())
    }

    /// How many rows are mined, where it matters that they are distinct.
    pub(crate) fn distinct_rows(&self) -> Option<usize> {
        self.distinct.as_ref().map(|distinct| distinct.kept.len())
    }

    /// The number in the file of a row that is mined.
    pub(crate) fn in_file(&self, row: usize) -> usize {
        self.distinct.as_ref().map_or(row, |distinct| distinct.kept[row])
    }

    /// The row that is mined and has the bits of one of the file.
    pub(crate) fn with_bits_of(&self, row: usize) -> usize {
        let Some(Distinct { first, kept }) = &self.distinct else { return row };
        kept.partition_point(|&kept| kept < first[row])
    }

    /// Which row is mined for one of the file, if it is itself.
    pub(crate) fn mined(&self, row: usize) -> Option<usize> {
        let mined = self.with_bits_of(row);
        (self.in_file(mined) == row).then_some(mined)
    }

    pub(crate) fn reader(&self) -> Result<CorpusReader<'_>, String> {
        Ok(CorpusReader { corpus: self, reader: self.file.reader()?, next: 0 })
    }
}

/// The rows of a file that have the bits of no earlier one.
struct Distinct {
    /// For each row the first one with its bits.
    first: Vec<usize>,
    /// The rows that are the first ones, ascending.
    kept: Vec<usize>,
}

impl Distinct {
    /// Rows are told apart by hashes of 128 bits with keys of this run: two of 2^32 different rows have the same one in a
    /// run of 2^65.
    fn of(file: &RowFile) -> Result<Distinct, String> {
        let keys = [RandomState::new(), RandomState::new()];
        let (mut hashes, mut rows) = (reserved(file.rows, "hashes of rows")?, Vec::new());
        let mut reader = file.reader()?;
        while hashes.len() < file.rows {
            rows.clear();
            reader.read(BLOCK.min(file.rows - hashes.len()), &mut rows)?;
            for row in rows.chunks_exact(file.dim) {
                hashes.push((keys.each_ref().map(|key| hash(key, row)), hashes.len()));
            }
        }
        hashes.sort_unstable();
        let mut first = crate::memory::filled(file.rows, 0, "rows")?;
        for group in hashes.chunk_by(|(x, _), (y, _)| x == y) {
            group.iter().for_each(|&(_, row)| first[row] = group[0].1);
        }
        let mut kept = reserved(file.rows, "rows")?;
        kept.extend((0..file.rows).filter(|&row| first[row] == row));
        Ok(Distinct { first, kept })
    }
}

fn hash(key: &RandomState, row: &[f32]) -> u64 {
    let mut hasher = key.build_hasher();
    row.iter().for_each(|value| hasher.write_u32(value.to_bits()));
    hasher.finish()
}

/// Reads the rows that are mined in order.
pub(crate) struct CorpusReader<'a> {
    corpus: &'a Corpus,
    reader: RowReader<'a>,
    /// The row of the file that is read next.
    next: usize,
}

impl CorpusReader<'_> {
    /// Appends some rows, none before one that was read.
    pub(crate) fn read(&mut self, rows: Range<usize>, values: &mut Vec<f32>) -> Result<(), String> {
        let mut row = rows.start;
        while row < rows.end {
            let begin = self.corpus.in_file(row);
            let run = (row..rows.end).take_while(|&other| self.corpus.in_file(other) - begin == other - row).count();
            self.reader.skip(begin - self.next)?;
            self.reader.read(run, values)?;
            self.next = begin + run;
            row += run;
        }
        Ok(())
    }
}
