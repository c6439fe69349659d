//! The gradients of the loss, as `.npy` files of the shapes of the embeddings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::chunks::Work;
use crate::memory::filled;
use crate::output::{Output, write_array};

/// With respect to the anchors, to the candidates, and to positives that are no candidates (nothing, where they are).
pub type Values = [Vec<f32>; 3];

/// Opens the files `PREFIX_anchors.npy` and `PREFIX_positives.npy`; where the positives are `outside` of the
/// candidates, `PREFIX_candidates.npy` between them.
pub(crate) fn open(prefix: &Path, outside: bool) -> Result<Vec<Output>, String> {
    let open = |suffix: &&str| {
        let mut path = OsString::from(prefix);
        path.push(suffix);
        Output::open(PathBuf::from(path))
    };
    let sides: &[&str] = if outside {
        &["_anchors.npy", "_candidates.npy", "_positives.npy"]
    } else {
        &["_anchors.npy", "_positives.npy"]
    };
    sides.iter().map(open).collect()
}

/// Room for the gradients of all sides.
pub(crate) fn zeros(work: &Work<'_>) -> Result<Values, String> {
    let outside = work.positives.map_or(0, |positives| positives.values.len());
    let room = |length| filled(length, 0.0, "elements of gradients");
    Ok([room(work.anchors.values.len())?, room(work.candidates.values.len())?, room(outside)?])
}

/// Writes the sides that there are files for, in rows of `dim` elements, each also where another could not be written.
pub(crate) fn write(files: &mut [Output], values: &Values, dim: usize) -> Result<(), String> {
    let sides = files.iter_mut().zip(values).map(|(file, values)| {
        let shape = [values.len() / dim, dim];
        file.replace(|file| write_array(file, shape, values.iter().copied()))
    });
    sides.fold(Ok(()), Result::and)
}
