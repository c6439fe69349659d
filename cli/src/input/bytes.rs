//! The bytes of an array, read one after the other.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// The bytes that are read at a time.
pub(crate) const BUFFER: usize = 1 << 18;

/// Reads a file from a place on, which is its own: several of them read one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub file: &'a File,
    pub place: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let count = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.place)?;
        #[cfg(windows)]
        let count = std::os::windows::fs::FileExt::seek_read(self.file, buffer, self.place)?;
        self.place += count as u64;
        Ok(count)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.place.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.place = place.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.place)
    }
}

/// The bytes of an array with its header, from the first on.
#[derive(Debug)]
pub(crate) struct Bytes<'a> {
    pub(super) stored: Stored<'a>,
    pub(super) position: u64,
    pub(super) length: u64,
    /// The checksum that is expected and that so far, unless bytes were skipped.
    pub(super) crc: Option<(u32, Crc)>,
}

#[derive(Debug)]
pub(super) enum Stored<'a> {
    Plain(BufReader<At<'a>>),
    Deflated(BufReader<DeflateDecoder<io::Take<At<'a>>>>),
}

impl Bytes<'_> {
    /// Goes on by so many bytes. What is passed over in a file that is not compressed is not in the checksum.
    pub(crate) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let Stored::Plain(file) = &mut self.stored else { return self.read_over(bytes) };
        file.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)?;
        self.position += bytes;
        self.crc = None;
        Ok(())
    }

    /// Reads so many bytes, and forgets them.
    pub(crate) fn read_over(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.take(bytes), &mut io::sink())?;
        if passed < bytes { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let count = match &mut self.stored {
            Stored::Plain(file) => file.read(&mut buffer[..most])?,
            Stored::Deflated(file) => file.read(&mut buffer[..most])?,
        };
        self.position += count as u64;
        if let Some((expected, crc)) = &mut self.crc {
            crc.update(&buffer[..count]);
            if self.position == self.length && crc.sum() != *expected {
                return Err(io::Error::new(ErrorKind::InvalidData, "the checksum of the archive does not match"));
            }
        }
        Ok(count)
    }
}
