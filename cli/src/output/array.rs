//! Arrays of two dimensions, as `.npy` files of version 1.0.

use std::io::{self, Write};

/// A file's bytes before the elements are a multiple of these, so that elements in memory are aligned.
const ALIGNMENT: usize = 64;

/// A type of elements.
pub(crate) trait Number: Copy {
    /// NumPy's name of the type.
    const DESCR: &str;

    /// Writes an element, the lowest byte first.
    fn write(self, file: &mut dyn Write) -> io::Result<()>;
}

impl Number for f32 {
    const DESCR: &str = "<f4";

    fn write(self, file: &mut dyn Write) -> io::Result<()> {
        file.write_all(&self.to_le_bytes())
    }
}

impl Number for i64 {
    const DESCR: &str = "<i8";

    fn write(self, file: &mut dyn Write) -> io::Result<()> {
        file.write_all(&self.to_le_bytes())
    }
}

/// Writes an array in C order, whose `shape` has as many elements as there are.
pub(crate) fn write_array<T: Number>(
    file: &mut dyn Write,
    shape: [usize; 2],
    elements: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    let [rows, columns] = shape;
    let header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}", T::DESCR);
    // The magic bytes, the version, the length of the header, and a line feed at its end.
    let padding = (header.len() + 11).next_multiple_of(ALIGNMENT) - 11;
    let length = u16::try_from(padding + 1).map_err(io::Error::other)?;
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&length.to_le_bytes())?;
    writeln!(file, "{header:padding$}")?;
    elements.into_iter().try_for_each(|element| element.write(file))
}
