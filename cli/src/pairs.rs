//! Tables of pairs of rows of two files, with the header `query,index`.

use std::io::{self, Read};
use std::path::Path;

use crate::{input, memory};

/// The bytes of the longest line that is read: that of a pair has some twenty.
const LONGEST: usize = 1 << 16;

/// Reads the pairs as compressed lists: for each of so many queries the indices, in the order of the table. The error
/// is one line that begins with the path.
pub(crate) fn read(path: &Path, queries: usize, rows: usize) -> Result<(Vec<usize>, Vec<usize>), String> {
    let file = input::open_text(path)?;
    read_pairs(file, queries, rows)
        .and_then(|pairs| lists(&pairs, queries))
        .map_err(|what| format!("{}: {what}", path.display()))
}

fn read_pairs(file: impl Read, queries: usize, rows: usize) -> Result<Vec<(usize, usize)>, String> {
    let mut table = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(Lines { file, length: 0 });
    let header = table.headers().map_err(|error| error.to_string())?;
    if header != ["query", "index"].as_slice() {
        let found: Vec<&str> = header.iter().take(4).collect();
        return Err(format!("expected the header query,index, found {}", found.join(",")));
    }
    let mut pairs = Vec::new();
    for record in table.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let number = |field: usize, what: &str, end: usize| {
            let number = record[field].parse::<usize>().ok().filter(|&number| number < end);
            number.ok_or_else(|| format!("line {line}: {what} {:?} is no row number below {end}", &record[field]))
        };
        let pair = (number(0, "query", queries)?, number(1, "index", rows)?);
        memory::push(&mut pairs, pair, "pairs")?;
    }
    Ok(pairs)
}

/// A file whose lines are short: a line is kept in memory.
struct Lines<R> {
    file: R,
    /// The bytes of the last line so far.
    length: usize,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let end = buffer[..count].iter().rposition(|byte| b"\r\n".contains(byte));
        self.length = end.map_or(self.length + count, |end| count - end - 1);
        if self.length > LONGEST {
            return Err(io::Error::other("not a table of pairs: a line has more than 65536 bytes"));
        }
        Ok(count)
    }
}

/// Sorts the pairs by queries.
fn lists(pairs: &[(usize, usize)], queries: usize) -> Result<(Vec<usize>, Vec<usize>), String> {
    let mut offsets = memory::filled(queries + 1, 0, "offsets")?;
    for &(query, _) in pairs {
        offsets[query + 1] += 1;
    }
    for query in 0..queries {
        offsets[query + 1] += offsets[query];
    }
    // Each list is filled from its end, and its offset, which ends as its begin, counts down.
    let mut indices = memory::filled(pairs.len(), 0, "pairs")?;
    for &(query, index) in pairs.iter().rev() {
        offsets[query + 1] -= 1;
        indices[offsets[query + 1]] = index;
    }
    offsets.remove(0);
    offsets.push(pairs.len());
    Ok((offsets, indices))
}
