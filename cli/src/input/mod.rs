//! Arrays that are read: of `.npy` files, of `.npz` archives, from files, pipes and the standard input.

mod archive;
mod bytes;
mod element;
mod header;
mod place;
mod shared;
mod source;

use std::path::Path;

pub(crate) use bytes::{At, Bytes};
pub(crate) use element::{Element, Kind};
pub(crate) use header::Header;
pub(crate) use place::Place;
pub use shared::{copy_of, empty_copy, stand_in};
pub use source::{check, is_pipe, is_standard};
pub(crate) use source::{file_of, is_there, open_text};

use source::Source;

/// Which arrays of an archive are meant where none is named, and their name in the plural for messages.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub is_wanted: fn(&Header) -> bool,
    pub name: &'static str,
}

/// An array whose header was read.
#[derive(Debug)]
pub(crate) struct Array {
    pub header: Header,
    pub place: Place,
}

impl Array {
    /// Opens the array that a path names. The error does not name the path.
    pub(crate) fn open(path: &Path, wanted: Wanted) -> Result<Array, String> {
        let source = Source::open(path)?;
        let place = match &source.magic[..] {
            [b'P', b'K', ..] => archive::find(&source, wanted)?,
            _ => source.whole()?,
        };
        let header = header::read(&mut place.bytes().map_err(|error| error.to_string())?)?;
        header.check_length(place.length)?;
        Ok(Array { header, place })
    }

    /// The bytes of its elements.
    pub(crate) fn elements(&self) -> std::io::Result<Bytes<'_>> {
        let mut bytes = self.place.bytes()?;
        bytes.read_over(self.header.length)?;
        Ok(bytes)
    }
}
