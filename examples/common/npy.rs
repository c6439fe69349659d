//! Reads the sample, and any other `.npy` file of version 1.0 as NumPy writes it, with nothing but the standard
//! library.

use std::fs;
use std::path::Path;

/// A batch of embeddings, one a row, in row-major order.
pub(crate) struct Embeddings {
    pub values: Vec<f32>,
    pub dim: usize,
}

impl Embeddings {
    pub(crate) fn rows(&self) -> usize {
        self.values.len() / self.dim
    }
}

/// One of the two files in `examples/data`: `anchors` or `positives`.
pub(crate) fn sample(name: &str) -> Result<Embeddings, String> {
    // From a package inside of the library's, too.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = package.ancestors().map(|folder| folder.join("examples/data")).find(|folder| folder.is_dir());
    let path = data.unwrap_or_else(|| package.join("examples/data")).join(name).with_extension("npy");
    let file = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    embeddings(&file).ok_or_else(|| format!("{}: expected an npy file of rows of little-endian f32", path.display()))
}

fn embeddings(file: &[u8]) -> Option<Embeddings> {
    let (shape, values) = array(file, "<f4", f32::from_le_bytes)?;
    match shape[..] {
        [_, dim] if dim > 0 => Some(Embeddings { values, dim }),
        _ => None,
    }
}

/// The shape and the elements of an array in C order whose elements are of the type `descr`, such as `<f4`: `N` bytes
/// each, which `decode` makes a number.
pub(crate) fn array<T, const N: usize>(
    file: &[u8],
    descr: &str,
    decode: fn([u8; N]) -> T,
) -> Option<(Vec<usize>, Vec<T>)> {
    let (length, rest) = file.strip_prefix(b"\x93NUMPY\x01\x00")?.split_first_chunk()?;
    let (header, data) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let start = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (");
    let (shape, _) = str::from_utf8(header).ok()?.strip_prefix(&start)?.split_once(')')?;
    // A shape of one number ends with a comma.
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    let (elements, rest) = data.as_chunks::<N>();
    let count = shape.iter().try_fold(1, |count: usize, &size| count.checked_mul(size))?;
    let is_whole = rest.is_empty() && elements.len() == count;
    is_whole.then(|| (shape, elements.iter().map(|&bytes| decode(bytes)).collect()))
}
