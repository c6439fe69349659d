//! Tables of pairs of rows of two files, with the header `query,index`.

use std::io::{self, Read};
use std::path::Path;

use csv::StringRecord;

use crate::report::shown;
use crate::{input, memory};

/// The bytes after which a line that has no end is refused: that of a pair has some twenty.
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
    let mut table = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(Limited { file, length: 0 });
    let header = table.headers().map_err(|error| error.to_string())?;
    if header != ["query", "index"].as_slice() {
        let found: Vec<String> = header.iter().take(4).map(shown).collect();
        return Err(format!("expected the header query,index, found {}", found.join(",")));
    }
    let (mut pairs, mut record) = (Vec::new(), StringRecord::new());
    loop {
        table.get_mut().length = 0;
        if !table.read_record(&mut record).map_err(|error| error.to_string())? {
            return Ok(pairs);
        }
        let line = record.position().map_or(0, csv::Position::line);
        let number = |field: usize, what: &str, end: usize| {
            let number = record[field].parse::<usize>().ok().filter(|&number| number < end);
            number
                .ok_or_else(|| format!("line {line}: {what} {:?} is no row number below {end}", shown(&record[field])))
        };
        let pair = (number(0, "query", queries)?, number(1, "index", rows)?);
        memory::push(&mut pairs, pair, "pairs")?;
    }
}

/// A file whose lines are short: crate csv keeps a line in memory, and a field in quotes may have line ends.
struct Limited<R> {
    file: R,
    /// The bytes that were read since the last line was complete.
    length: usize,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.length > LONGEST {
            return Err(io::Error::other("not a table of pairs: a line has more than 65536 bytes"));
        }
        let count = self.file.read(buffer)?;
        self.length += count;
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
