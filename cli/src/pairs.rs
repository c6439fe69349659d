//! Tables of pairs of rows of two files, with the header `query,index`.

use std::path::Path;

/// Reads the pairs as compressed lists: for each of so many queries the indices, in the order of the table. The error
/// is one line that begins with the path.
pub(crate) fn read(path: &Path, queries: usize, rows: usize) -> Result<(Vec<usize>, Vec<usize>), String> {
    let pairs = read_pairs(path, queries, rows).map_err(|what| format!("{}: {what}", path.display()))?;
    Ok(lists(&pairs, queries))
}

fn read_pairs(path: &Path, queries: usize, rows: usize) -> Result<Vec<(usize, usize)>, String> {
    let mut table =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|error| error.to_string())?;
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
        pairs.push((number(0, "query", queries)?, number(1, "index", rows)?));
    }
    Ok(pairs)
}

/// Sorts the pairs by queries.
fn lists(pairs: &[(usize, usize)], queries: usize) -> (Vec<usize>, Vec<usize>) {
    let mut offsets = vec![0; queries + 1];
    for &(query, _) in pairs {
        offsets[query + 1] += 1;
    }
    for query in 0..queries {
        offsets[query + 1] += offsets[query];
    }
    let (mut next, mut indices) = (offsets.clone(), vec![0; pairs.len()]);
    for &(query, index) in pairs {
        indices[next[query]] = index;
        next[query] += 1;
    }
    (offsets, indices)
}
