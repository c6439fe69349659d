//! The gradients of the loss, as two `.npy` files of the shapes of the embeddings.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use npyz::WriterBuilder;

use super::chunks::Work;
use crate::output::Output;

/// With respect to the anchors and to the positives.
pub type Values = [Vec<f32>; 2];

/// Opens the files `PREFIX_anchors.npy` and `PREFIX_positives.npy`.
pub(crate) fn open(prefix: &Path) -> Result<[Output; 2], String> {
    let open = |suffix| {
        let mut path = OsString::from(prefix);
        path.push(suffix);
        Output::open(PathBuf::from(path))
    };
    Ok([open("_anchors.npy")?, open("_positives.npy")?])
}

/// Room for the gradients of both sides.
pub(crate) fn zeros(work: &Work<'_>) -> Values {
    [work.anchors, work.candidates].map(|side| vec![0.0; side.values.len()])
}

/// Writes both sides, in rows of `dim` elements.
pub(crate) fn write(files: &[Output; 2], values: &Values, dim: usize) -> Result<(), String> {
    files.iter().zip(values).try_for_each(|(file, values)| file.replace(|file| write_rows(file, values, dim)))
}

fn write_rows(file: &File, values: &[f32], dim: usize) -> io::Result<()> {
    let mut buffer = BufWriter::new(file);
    let shape = [values.len() / dim, dim].map(|size| size as u64);
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
    let mut writer = options.writer(&mut buffer).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    buffer.flush()
}
