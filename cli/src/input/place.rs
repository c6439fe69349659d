//! Where the bytes of an array are.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::bytes::{At, BUFFER, Bytes, Stored};

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Place {
    pub file: File,
    pub start: u64,
    /// The bytes in the file.
    pub stored: u64,
    /// The bytes of the array with its header.
    pub length: u64,
    pub is_deflated: bool,
    /// The checksum of an archive.
    pub crc: Option<u32>,
}

impl Place {
    /// The bytes from the first on.
    pub(crate) fn bytes(&self) -> io::Result<Bytes<'_>> {
        let at = At { file: &self.file, place: self.start };
        let stored = if self.is_deflated {
            let decoder = DeflateDecoder::new(at.take(self.stored));
            Stored::Deflated(BufReader::with_capacity(BUFFER, decoder))
        } else {
            Stored::Plain(BufReader::with_capacity(BUFFER, at))
        };
        Ok(Bytes { stored, position: 0, length: self.length, crc: self.crc.map(|crc| (crc, Crc::new())) })
    }

    /// The same bytes in a file without a name, where any of them can be read at once.
    pub(crate) fn unpacked(&self) -> Result<Place, String> {
        let file = super::source::copy_all(&mut self.bytes().map_err(|error| error.to_string())?)?;
        Ok(Place { file, start: 0, stored: self.length, length: self.length, is_deflated: false, crc: None })
    }
}
