//! The arrays of an `.npz` archive.

use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder};

use super::Wanted;
use super::header::{self, Header};
use super::place::Place;
use super::source::Source;
use crate::memory;
use crate::report::shown;

/// Names in a message are no more than these.
const MOST_NAMES: usize = 8;

/// An entry of an archive.
struct Entry {
    name: String,
    wayfinder: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
    length: u64,
    crc: u32,
}

/// The array that is named, or the only one that is wanted.
pub(super) fn find(source: &Source, wanted: Wanted) -> Result<Place, String> {
    let archive = Archive::open(source)?;
    if let Some(name) = &source.array {
        let entry = archive.entries.iter().find(|entry| entry.name == *name || entry.array() == Some(name));
        let names = || {
            archive.entries.iter().filter_map(Entry::array).take(MOST_NAMES).map(shown).collect::<Vec<_>>().join(", ")
        };
        return archive.place(entry.ok_or_else(|| format!("the archive has no array of this name, but: {}", names()))?);
    }
    let mut arrays = Vec::new();
    for entry in archive.entries.iter().filter(|entry| entry.array().is_some()) {
        memory::push(&mut arrays, (entry, archive.header(entry)), "arrays of an archive")?;
    }
    let is_wanted = |header: &Result<Header, String>| header.as_ref().is_ok_and(wanted.is_wanted);
    let mut found = arrays.iter().filter(|(_, header)| is_wanted(header)).map(|&(entry, _)| entry);
    match (found.next(), found.next()) {
        (Some(entry), None) => archive.place(entry),
        (None, _) => Err(format!("the archive has no {}, but: {}", wanted.name, describe(&arrays))),
        (Some(first), Some(second)) => {
            let names = [first, second].into_iter().chain(found).filter_map(Entry::array).take(MOST_NAMES).map(shown);
            Err(format!(
                "the archive has several {}: name one of them as FILE.npz:NAME ({})",
                wanted.name,
                names.collect::<Vec<_>>().join(", ")
            ))
        }
    }
}

/// What is in an archive, in a few words.
fn describe(arrays: &[(&Entry, Result<Header, String>)]) -> String {
    let each = arrays.iter().take(MOST_NAMES).filter_map(|(entry, header)| {
        let what = match header {
            Ok(Header { element, shape, .. }) => format!("{element}, shape {shape:?}"),
            Err(what) => what.clone(),
        };
        Some(format!("{} ({what})", shown(entry.array()?)))
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { "nothing that numpy.savez writes".to_owned() } else { each.join(", ") }
}

struct Archive<'a> {
    source: &'a Source,
    archive: ZipArchive<FileReader>,
    entries: Vec<Entry>,
}

impl Archive<'_> {
    fn open(source: &Source) -> Result<Archive<'_>, String> {
        let text = |error: rawzip::Error| format!("not an npz file: {error}");
        let file = source.file.try_clone().map_err(|error| error.to_string())?;
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(text)?;
        let (mut found, mut entries) = (Vec::new(), archive.entries(&mut buffer));
        while let Some(entry) = entries.next_entry().map_err(text)? {
            let entry = Entry {
                name: String::from_utf8_lossy(entry.file_path().as_ref()).into_owned(),
                wayfinder: entry.wayfinder(),
                method: entry.compression_method(),
                length: entry.uncompressed_size_hint(),
                crc: entry.crc32(),
            };
            memory::push(&mut found, entry, "entries of an archive")?;
        }
        Ok(Archive { source, archive, entries: found })
    }

    fn place(&self, entry: &Entry) -> Result<Place, String> {
        let is_deflated = entry.method == CompressionMethod::DEFLATE;
        if entry.method != CompressionMethod::STORE && !is_deflated {
            return Err("its array is compressed in a way that is not read: numpy.savez_compressed deflates".to_owned());
        }
        let text = |error: rawzip::Error| format!("not an npz file: {error}");
        let (start, end) = self.archive.get_entry(entry.wayfinder).map_err(text)?.compressed_data_range();
        let file = self.source.file.try_clone().map_err(|error| error.to_string())?;
        let stored = end.saturating_sub(start);
        Ok(Place { file, start, stored, length: entry.length, is_deflated, crc: Some(entry.crc) })
    }

    /// The header of an array. An archive may have more arrays than a process may have open files, so that none stays
    /// open.
    fn header(&self, entry: &Entry) -> Result<Header, String> {
        header::read(&mut self.place(entry)?.bytes().map_err(|error| error.to_string())?)
    }
}

impl Entry {
    /// The name that NumPy has for it.
    fn array(&self) -> Option<&str> {
        self.name.strip_suffix(".npy")
    }
}
