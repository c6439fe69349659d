//! Types of elements, by the names that NumPy gives to them.

use std::fmt::{self, Display, Formatter};

/// The type of the elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub kind: Kind,
    /// The bytes of an element.
    pub size: usize,
    pub is_big_endian: bool,
}

/// How the bits of an element are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Signed,
    Unsigned,
    /// Two bytes without a type, as which NumPy writes the `bfloat16` of others.
    Untyped,
}

/// The letters that NumPy knows types by, with the names of the same types. `long` has 8 bytes, as on Unix.
const NAMES: [(Kind, usize, &[&str]); 11] = [
    (Kind::Float, 2, &["f2", "e", "float16", "half"]),
    (Kind::Float, 4, &["f4", "f", "float32", "single"]),
    (Kind::Float, 8, &["f8", "d", "float64", "double", "float"]),
    (Kind::Signed, 1, &["i1", "b", "int8", "byte"]),
    (Kind::Signed, 2, &["i2", "h", "int16", "short"]),
    (Kind::Signed, 4, &["i4", "i", "int32", "intc"]),
    (Kind::Signed, 8, &["i8", "l", "q", "p", "int64", "int", "int_", "intp", "long", "longlong"]),
    (Kind::Unsigned, 1, &["u1", "B", "b1", "?", "uint8", "ubyte", "bool"]),
    (Kind::Unsigned, 2, &["u2", "H", "uint16", "ushort"]),
    (Kind::Unsigned, 4, &["u4", "I", "uint32", "uintc"]),
    (Kind::Unsigned, 8, &["u8", "L", "Q", "P", "uint64", "uint", "uintp", "ulong", "ulonglong"]),
];

impl Element {
    /// The type of a `descr`. A byte order stands before letters alone; without one it is that of this machine, as NumPy
    /// has it.
    pub(crate) fn of(descr: &str) -> Option<Element> {
        let (order, name) = match descr.strip_prefix(['<', '>', '=', '|']) {
            Some(name) if name.len() <= 2 => (descr.as_bytes()[0], name),
            Some(_) => return None,
            None => (b'=', descr),
        };
        let is_big_endian = match order {
            b'<' => false,
            b'>' => true,
            _ => cfg!(target_endian = "big"),
        };
        let known = NAMES.into_iter().find(|(_, _, names)| names.contains(&name));
        let untyped = (name == "V2").then_some((Kind::Untyped, 2, &[][..]));
        known.or(untyped).map(|(kind, size, _)| Element { kind, size, is_big_endian })
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self.kind, Kind::Signed | Kind::Unsigned)
    }
}

impl Display for Element {
    /// NumPy's name.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Float => "float",
            Kind::Signed => "int",
            Kind::Unsigned => "uint",
            Kind::Untyped => "void",
        };
        write!(f, "{kind}{}", 8 * self.size)
    }
}
