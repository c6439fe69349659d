//! How the pairs of a block of anchors are computed.

use core::fmt;

use super::quantize::MAX_DIM;
use crate::kernels::Format;

/// How the pairs of a block are computed, in ascending order of the time that a pair takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    /// A screen in this format rules out most of them, and what it leaves is computed exactly.
    Screen(Format),
    /// All of them are computed exactly, in tiles.
    Exact,
}

impl Default for Method {
    fn default() -> Method {
        Method::Screen(Format::Float32)
    }
}

impl Method {
    /// The format of the screen, if it is one.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Method::Screen(format) => Some(format),
            Method::Exact => None,
        }
    }
}

/// The methods that a call may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Methods(u8);

impl Methods {
    pub(crate) const NONE: Methods = Methods(0);

    const ALL: [Method; 4] =
        [Method::Screen(Format::Int8), Method::Screen(Format::Int16), Method::Screen(Format::Float32), Method::Exact];

    const fn bit(method: Method) -> u8 {
        match method {
            Method::Screen(format) => 1 << format as u8,
            Method::Exact => 1 << 3,
        }
    }

    pub(crate) const fn only(method: Method) -> Methods {
        Methods(Methods::bit(method))
    }

    /// The screen in one format.
    pub(crate) const fn screen(format: Format) -> Methods {
        Methods::only(Method::Screen(format))
    }

    /// All methods from `first` to `last`.
    pub(crate) fn range(first: Method, last: Method) -> Methods {
        let within = Methods::ALL.into_iter().filter(|method| (first..=last).contains(method));
        within.fold(Methods::NONE, Methods::with)
    }

    /// The screens for which rows of `dim` elements are packed in place of these: the longest are not rounded.
    pub(crate) fn for_rows_of(self, dim: usize) -> Methods {
        if dim <= MAX_DIM || self == Methods::NONE { self } else { Methods::screen(Format::Float32) }
    }

    /// These and one more.
    pub(crate) fn with(self, method: Method) -> Methods {
        Methods(self.0 | Methods::bit(method))
    }

    /// These less one.
    pub(crate) fn without(self, method: Method) -> Methods {
        Methods(self.0 & !Methods::bit(method))
    }

    pub(crate) fn contains(self, method: Method) -> bool {
        self.0 & Methods::bit(method) != 0
    }

    /// All of them, the one whose pairs take the least time first.
    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = Method> {
        Methods::ALL.into_iter().filter(move |&method| self.contains(method))
    }

    /// The formats of the screens among them, the coarsest first.
    pub(crate) fn formats(self) -> impl Iterator<Item = Format> {
        self.iter().filter_map(Method::format)
    }

    /// Whether one of them is a screen of rows that are rounded to integers.
    pub(crate) fn round_rows(self) -> bool {
        self.formats().any(|format| format < Format::Float32)
    }

    pub(crate) fn first(self) -> Method {
        self.iter().next().unwrap_or(Method::Exact)
    }

    pub(crate) fn last(self) -> Method {
        self.iter().next_back().unwrap_or(Method::Exact)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
