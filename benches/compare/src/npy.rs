//! Arrays for the contenders in Python.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// An element of an array.
pub(crate) trait Element: Copy {
    /// Its type in the header.
    const NAME: &'static str;

    /// Its little-endian bytes.
    fn bytes(self) -> impl AsRef<[u8]>;
}

impl Element for f32 {
    const NAME: &'static str = "<f4";

    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl Element for f64 {
    const NAME: &'static str = "<f8";

    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl Element for i64 {
    const NAME: &'static str = "<i8";

    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

/// Writes rows of so many elements, or with 0 a list.
pub(crate) fn write<T: Element>(path: &Path, values: &[T], columns: usize) -> Result<(), String> {
    let shape = match columns {
        0 => format!("({},)", values.len()),
        _ => format!("({}, {columns})", values.len() / columns),
    };
    let header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}", T::NAME);
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(length as u16).to_le_bytes())?;
        writeln!(file, "{header:<0$}", length - 1)?;
        values.iter().try_for_each(|value| file.write_all(value.bytes().as_ref()))?;
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
        write(&path, &[1.0_f32, -2.5, 0.0, 4.0, 5.0, 6.0], 3).expect("a folder for files");
        let read = hardneg_cli::npy::read(&path).expect("an array of floats");
        std::fs::remove_file(&path).expect("the file");
        assert_eq!((read.rows, read.dim, read.values), (2, 3, vec![1.0, -2.5, 0.0, 4.0, 5.0, 6.0]));
    }
}
