//! Lines of tables.

use std::io::{self, Write};

use csv::{ErrorKind, Writer};

/// Writes a line. The error is that of the file, whose kind says that a reader has left.
pub(crate) fn write<T: AsRef<[u8]>>(
    writer: &mut Writer<impl Write>,
    fields: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    writer.write_record(fields).map_err(|error| match error.into_kind() {
        ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    })
}
