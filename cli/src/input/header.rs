//! Headers of `.npy` files, as NumPy writes them and has ever written them: a dictionary of Python with three keys.
//!
//! The values are read as they are wanted and not as any expression, so that a header costs no more than its length.

use std::io::{ErrorKind, Read};

use super::element::Element;
use crate::report::shown;

/// The longest header that is read, which is NumPy's limit, too. Headers of arrays of numbers have some 100 bytes.
const LONGEST: usize = 10_000;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub element: Element,
    /// Whether the first index runs fastest.
    pub is_fortran: bool,
    pub shape: Vec<u64>,
    /// The bytes before the elements.
    pub length: u64,
}

impl Header {
    /// How many bytes the elements have, if `u64` can tell.
    pub(crate) fn data_bytes(&self) -> Option<u64> {
        self.shape.iter().try_fold(self.element.size as u64, |bytes, &size| bytes.checked_mul(size))
    }

    /// Fails unless a file has as many bytes as this header says.
    pub(crate) fn check_length(&self, file: u64) -> Result<(), String> {
        let shape = self.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        let fits = self.data_bytes().filter(|&bytes| bytes <= isize::MAX as u64);
        let bytes = fits.ok_or_else(|| format!("{shape} elements do not fit into memory"))?;
        match file.saturating_sub(self.length) {
            there if there == bytes => Ok(()),
            there => Err(format!(
                "its header promises {shape} elements of {}, {bytes} bytes, but {there} bytes follow",
                self.element
            )),
        }
    }
}

/// Reads a header, and nothing after it. What is none is refused at its first bytes.
pub(crate) fn read(file: &mut impl Read) -> Result<Header, String> {
    let mut read = |bytes: &mut [u8]| {
        file.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => "not an npy file: it ends inside its header".to_owned(),
            _ => error.to_string(),
        })
    };
    let mut start = [0; 8];
    read(&mut start)?;
    let [magic @ .., major, _] = start;
    if magic != *b"\x93NUMPY" {
        return Err("not an npy file or npz archive, which numpy.save and numpy.savez write".to_owned());
    }
    let mut length = [0; 4];
    let length_bytes = match major {
        1 => 2,
        2 | 3 => 4,
        _ => return Err(format!("not an npy file of version 1, 2 or 3, but of version {major}")),
    };
    read(&mut length[..length_bytes])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(format!("its header has {length} bytes, where that of an array of numbers has a hundred"));
    }
    let mut text = vec![0; length];
    read(&mut text)?;
    let parsed = parse(&String::from_utf8_lossy(&text))?;
    Ok(Header { length: (8 + length_bytes + length) as u64, ..parsed })
}

/// The dictionary. The last of several values of a key counts, as in Python.
fn parse(text: &str) -> Result<Header, String> {
    let (mut rest, mut descr, mut order, mut shape) = (Rest(text), None, None, None);
    let unreadable = || "not an npy file: its header is no dictionary of descr, fortran_order and shape".to_owned();
    rest.eat('{').ok_or_else(unreadable)?;
    while rest.eat('}').is_none() {
        let key = rest.string().ok_or_else(unreadable)?;
        rest.eat(':').ok_or_else(unreadable)?;
        match key {
            "descr" => descr = Some(rest.element()?),
            "fortran_order" => order = Some(rest.boolean().ok_or_else(unreadable)?),
            "shape" => shape = Some(rest.tuple().ok_or_else(unreadable)?),
            _ => return Err(unreadable()),
        }
        if rest.eat(',').is_none() && !rest.0.trim_start().starts_with('}') {
            return Err(unreadable());
        }
    }
    match (descr, order, shape, rest.0.trim()) {
        (Some(element), Some(is_fortran), Some(shape), "") => Ok(Header { element, is_fortran, shape, length: 0 }),
        _ => Err(unreadable()),
    }
}

/// What is left of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn eat(&mut self, sign: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(sign)?;
        Some(())
    }

    /// A string without escapes; `u` may stand before it, as Python 2 writes it.
    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let text = text.strip_prefix(['u', 'U']).unwrap_or(text);
        let quote = text.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
        let (string, rest) = text[1..].split_once(quote)?;
        self.0 = rest;
        Some(string).filter(|string| !string.contains('\\'))
    }

    fn boolean(&mut self) -> Option<bool> {
        let text = self.0.trim_start();
        let values = [("True", true), ("False", false)];
        let (rest, value) = values.into_iter().find_map(|(name, value)| Some((text.strip_prefix(name)?, value)))?;
        self.0 = rest;
        Some(value)
    }

    /// A tuple of sizes.
    fn tuple(&mut self) -> Option<Vec<u64>> {
        self.eat('(')?;
        let (mut sizes, mut has_comma) = (Vec::new(), true);
        while self.eat(')').is_none() {
            sizes.push(if has_comma { self.size()? } else { return None });
            has_comma = self.eat(',').is_some();
        }
        // `(6)` is a number.
        (sizes.len() != 1 || has_comma).then_some(sizes)
    }

    /// A number, with the `L` of Python 2's long ones.
    fn size(&mut self) -> Option<u64> {
        let text = self.0.trim_start();
        let end = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        self.0 = rest.strip_prefix('L').unwrap_or(rest);
        digits.parse().ok()
    }

    /// The type of the elements. What is no name of a type is a list of fields.
    fn element(&mut self) -> Result<Element, String> {
        let Some(descr) = self.string() else {
            return Err("its elements are records of several fields: save one field alone".to_owned());
        };
        Element::of(descr).ok_or_else(|| match descr.trim_start_matches(['<', '>', '|', '=']) {
            "O" | "object" => "its elements are Python objects: save array.astype('float32')".to_owned(),
            _ => format!(
                "its elements are of the type '{}', which is not read: save array.astype('float32')",
                shown(descr)
            ),
        })
    }
}
