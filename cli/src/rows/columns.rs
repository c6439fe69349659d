//! Rows of an array in Fortran order, which stores column after column.

use std::io::Read;
use std::ops::Range;

use super::{RowFile, beyond};
use crate::input::At;
use crate::memory::{filled, reserved};

/// The elements of a block: long pieces of each column, and little beside the rows of a corpus.
const BLOCK: usize = 1 << 22;

/// A block of rows, put together from a piece of each column.
#[derive(Debug, Default)]
pub(super) struct Columns {
    block: Vec<f32>,
    rows: Range<usize>,
}

impl Columns {
    /// Appends some rows of the file.
    pub(super) fn read(&mut self, file: &RowFile, rows: Range<usize>, values: &mut Vec<f32>) -> Result<(), String> {
        let mut next = rows.start;
        while next < rows.end {
            if !self.rows.contains(&next) {
                let length = (BLOCK / file.dim).max(1);
                self.load(file, next..next.saturating_add(length).min(file.rows))?;
            }
            let end = self.rows.end.min(rows.end);
            let within = |row: usize| (row - self.rows.start) * file.dim;
            values.extend_from_slice(&self.block[within(next)..within(end)]);
            next = end;
        }
        Ok(())
    }

    fn load(&mut self, file: &RowFile, rows: Range<usize>) -> Result<(), String> {
        let named = |what: String| format!("{}: {what}", file.path.display());
        let (size, place) = (file.numbers.size(), &file.array.place);
        // The last block goes before there is a new one.
        self.block = Vec::new();
        self.block = filled(rows.len() * file.dim, 0.0, "elements").map_err(named)?;
        let mut bytes = filled(rows.len() * size, 0, "bytes").map_err(named)?;
        let mut column = reserved(rows.len(), "elements").map_err(named)?;
        for index in 0..file.dim {
            let element = index as u64 * file.rows as u64 + rows.start as u64;
            let place = place.start + file.array.header.length + element * size as u64;
            let mut at = At { file: &file.array.place.file, place };
            at.read_exact(&mut bytes).map_err(|error| file.describe(&error, rows.start))?;
            column.clear();
            file.numbers
                .append(&bytes, &mut column)
                .map_err(|at| format!("{}: {}", file.path.display(), beyond(rows.start + at)))?;
            let into = self.block.iter_mut().skip(index).step_by(file.dim);
            into.zip(&column).for_each(|(into, &value)| *into = value);
        }
        self.rows = rows;
        Ok(())
    }
}
