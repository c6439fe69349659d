//! Reads the arrays of the `.npz` archives in `tests/data`, which are not compressed.
#![allow(dead_code)] // Every test crate uses a part of it.

#[path = "../../examples/common/npy.rs"]
mod npy;

pub(crate) use npy::sample;

use std::fs;
use std::io::Read;
use std::path::Path;

use rawzip::{CompressionMethod, ZipArchive};

/// An archive, as its bytes.
pub(crate) struct Npz(Vec<u8>);

impl Npz {
    /// Opens a file in `tests/data`.
    pub(crate) fn open(file: &str) -> Npz {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
        Npz(fs::read(path).unwrap())
    }

    /// The array of this name, flat.
    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.array(name, "<f4", f32::from_le_bytes)
    }

    /// The array of this name, flat.
    pub(crate) fn f64(&self, name: &str) -> Vec<f64> {
        self.array(name, "<f8", f64::from_le_bytes)
    }

    /// The array of this name, flat.
    pub(crate) fn i64(&self, name: &str) -> Vec<i64> {
        self.array(name, "<i8", i64::from_le_bytes)
    }

    /// The array of this name, flat.
    pub(crate) fn u64(&self, name: &str) -> Vec<u64> {
        self.array(name, "<u8", u64::from_le_bytes)
    }

    fn array<T, const N: usize>(&self, name: &str, descr: &str, decode: fn([u8; N]) -> T) -> Vec<T> {
        let array = npy::array(&self.entry(&format!("{name}.npy")), descr, decode);
        array.unwrap_or_else(|| panic!("{name} is no array of {descr}")).1
    }

    /// The bytes of a file in the archive, which its checksum confirms.
    fn entry(&self, name: &str) -> Vec<u8> {
        let archive = ZipArchive::from_slice(&self.0).unwrap();
        let mut entries = archive.entries();
        while let Some(entry) = entries.next_entry().unwrap() {
            if entry.file_path().as_ref() == name.as_bytes() {
                assert_eq!(entry.compression_method(), CompressionMethod::STORE, "{name}");
                let entry = archive.get_entry(entry.wayfinder()).unwrap();
                let mut bytes = Vec::new();
                entry.verifying_reader(entry.data()).read_to_end(&mut bytes).unwrap();
                return bytes;
            }
        }
        panic!("no {name} in the archive");
    }
}
