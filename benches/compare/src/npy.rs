//! Arrays for the contenders in Python.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes elements of a type, as NumPy names it, in rows of so many, or with 0 as a list.
pub(crate) fn write<const N: usize>(
    path: &Path,
    name: &str,
    values: impl ExactSizeIterator<Item = [u8; N]>,
    columns: usize,
) -> Result<(), String> {
    let count = values.len();
    let rows = count.checked_div(columns);
    let shape = rows.map_or_else(|| format!("({count},)"), |rows| format!("({rows}, {columns})"));
    let header = format!("{{'descr': '{name}', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(length as u16).to_le_bytes())?;
        writeln!(file, "{header:<0$}", length - 1)?;
        values.into_iter().try_for_each(|value| file.write_all(&value))?;
        file.flush()
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let path = std::env::temp_dir().join(format!("hardneg-compare-{}.npy", std::process::id()));
        write(&path, "<f4", [1.0_f32, -2.5, 0.0, 4.0, 5.0, 6.0].map(f32::to_le_bytes).into_iter(), 3)
            .expect("a folder for files");
        let read = hardneg_cli::npy::read(&path).expect("an array of floats");
        std::fs::remove_file(&path).expect("the file");
        assert_eq!((read.rows, read.dim, read.values), (2, 3, vec![1.0, -2.5, 0.0, 4.0, 5.0, 6.0]));
    }
}
