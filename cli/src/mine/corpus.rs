//! The rows that are mined: those of a file, or the first of its rows with the same bits.

use std::ops::Range;

use super::distinct::Distinct;
use super::known::Known;
use crate::memory::reserved;
use crate::rows::{RowFile, RowReader};
use crate::score::Excluded;

/// A file of rows, and which of them are mined.
pub struct Corpus {
    file: RowFile,
    distinct: Option<Distinct>,
}

impl Corpus {
    /// All rows of a file, or only `distinct` ones.
    #[must_use]
    pub fn new(file: RowFile, distinct: Option<Distinct>) -> Corpus {
        Corpus { file, distinct }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &RowFile {
        &self.file
    }

    /// How many rows are mined.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.distinct_rows().unwrap_or(self.file.rows)
    }

    /// How many rows are mined, where it matters that they are distinct.
    #[must_use]
    pub fn distinct_rows(&self) -> Option<usize> {
        self.distinct.as_ref().map(|distinct| distinct.kept().len())
    }

    /// The number in the file of a row that is mined.
    #[must_use]
    pub fn in_file(&self, row: usize) -> usize {
        self.distinct.as_ref().map_or(row, |distinct| distinct.kept()[row])
    }

    /// Known positives of the file as such of the rows that are mined: a copy of a positive is one.
    #[must_use]
    pub fn known(&self, known: Known) -> Known {
        known.map(|row| Some(self.with_bits_of(row)))
    }

    /// What is excluded of the file's rows, of the rows that are mined.
    pub fn excluded(&self, excluded: Excluded) -> Result<Excluded, String> {
        if self.distinct.is_none() {
            return Ok(excluded);
        }
        Ok(match excluded {
            Excluded::Nothing => Excluded::Nothing,
            Excluded::Labels { anchors, candidates } => {
                let mut labels = reserved(self.rows(), "labels")?;
                labels.extend((0..self.rows()).map(|row| candidates[self.in_file(row)]));
                Excluded::Labels { anchors, candidates: labels }
            }
            Excluded::Lists { offsets, indices } => {
                let Known { offsets, indices } = Known { offsets, indices }.map(|row| self.mined(row));
                Excluded::Lists { offsets, indices }
            }
        })
    }

    /// The row that is mined and has the bits of one of the file.
    fn with_bits_of(&self, row: usize) -> usize {
        let Some(distinct) = &self.distinct else { return row };
        distinct.kept().partition_point(|&kept| kept < distinct.first()[row])
    }

    /// Which row is mined for one of the file, if it is itself.
    fn mined(&self, row: usize) -> Option<usize> {
        let mined = self.with_bits_of(row);
        (self.in_file(mined) == row).then_some(mined)
    }

    /// A reader of the first row that is mined and those after it.
    pub fn reader(&self) -> Result<CorpusReader<'_>, String> {
        Ok(CorpusReader { corpus: self, reader: self.file.reader()?, next: 0 })
    }
}

/// Reads the rows that are mined in order.
pub struct CorpusReader<'a> {
    corpus: &'a Corpus,
    reader: RowReader<'a>,
    /// The row of the file that is read next.
    next: usize,
}

impl CorpusReader<'_> {
    /// Appends some rows, none before one that was read.
    pub fn read(&mut self, rows: Range<usize>, values: &mut Vec<f32>) -> Result<(), String> {
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
