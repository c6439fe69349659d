//! The names of option values: what `Display` writes and `FromStr` reads, the same for every option.

use core::error;
use core::fmt;
#[cfg(feature = "serde")]
use core::marker::PhantomData;
use core::str::FromStr;

use crate::arch::Backend;
use crate::parallel::Threads;
use crate::reduction::Reduction;
use crate::row_stats::Negatives;
use crate::screen::Screen;

/// Why a text is not a value of an option.
///
/// ```
/// use hardneg::Negatives;
///
/// assert_eq!("at-or-below".parse(), Ok(Negatives::AtOrBelow));
/// let error = "above".parse::<Negatives>().unwrap_err();
/// assert_eq!(error.to_string(), "negatives: expected below, at-or-below or any");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseOptionError {
    /// No value of the option has this name.
    Unknown {
        /// The option.
        option: &'static str,
        /// The names that its values have.
        names: &'static [&'static str],
    },
    /// This CPU does not have the instruction set.
    Unavailable {
        /// The name of the [`Backend`].
        backend: &'static str,
    },
}

impl fmt::Display for ParseOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ParseOptionError::Unknown { option, names } => {
                write!(f, "{option}: expected ")?;
                for (index, name) in names.iter().enumerate() {
                    let before = if index == 0 {
                        ""
                    } else if index + 1 == names.len() {
                        " or "
                    } else {
                        ", "
                    };
                    write!(f, "{before}{name}")?;
                }
                Ok(())
            }
            ParseOptionError::Unavailable { backend } => write!(f, "backend {backend}: this CPU does not have it"),
        }
    }
}

impl error::Error for ParseOptionError {}

/// An option whose values have names.
trait Named: Copy + PartialEq + 'static {
    const OPTION: &'static str;
    const NAMES: &'static [&'static str];
    /// The values, in the order of the names.
    const VALUES: &'static [Self];

    fn write_name(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::VALUES.iter().zip(Self::NAMES).find(|(value, _)| **value == self);
        f.pad(named.map_or("unnamed", |(_, name)| name))
    }

    fn from_name(name: &str) -> Result<Self, ParseOptionError> {
        let unknown = ParseOptionError::Unknown { option: Self::OPTION, names: Self::NAMES };
        Self::NAMES.iter().position(|&known| known == name).map(|index| Self::VALUES[index]).ok_or(unknown)
    }
}

impl Named for Negatives {
    const OPTION: &'static str = "negatives";
    const NAMES: &'static [&'static str] = &["below", "at-or-below", "any"];
    const VALUES: &'static [Negatives] = &[Negatives::Below, Negatives::AtOrBelow, Negatives::Any];
}

impl Named for Reduction {
    const OPTION: &'static str = "reduction";
    const NAMES: &'static [&'static str] = &["sum", "mean"];
    const VALUES: &'static [Reduction] = &[Reduction::Sum, Reduction::Mean];
}

impl Named for Threads {
    const OPTION: &'static str = "threads";
    const NAMES: &'static [&'static str] = &["serial", "rayon"];
    const VALUES: &'static [Threads] = &[Threads::Serial, Threads::Rayon];
}

impl Named for Screen {
    const OPTION: &'static str = "screen";
    const NAMES: &'static [&'static str] = &["auto", "f32", "i16", "i8", "off"];
    const VALUES: &'static [Screen] = &Screen::ALL;
}

/// `Display` and `FromStr` by name. A macro, as no generic implementation of another crate's trait is allowed.
macro_rules! as_text {
    ($($option:ty),*) => {$(
        impl fmt::Display for $option {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.write_name(f)
            }
        }

        impl FromStr for $option {
            type Err = ParseOptionError;

            fn from_str(name: &str) -> Result<$option, ParseOptionError> {
                <$option>::from_name(name)
            }
        }
    )*};
}

as_text!(Negatives, Reduction, Threads, Screen);

/// `Serialize` and `Deserialize` by name.
#[cfg(feature = "serde")]
macro_rules! as_serde {
    ($($option:ty),*) => {$(
        impl serde::Serialize for $option {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $option {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$option, D::Error> {
                deserializer.deserialize_str(NameVisitor(PhantomData))
            }
        }
    )*};
}

#[cfg(feature = "serde")]
as_serde!(Negatives, Reduction, Threads, Screen, Backend);

/// Reads the name of an option.
#[cfg(feature = "serde")]
struct NameVisitor<T>(PhantomData<T>);

#[cfg(feature = "serde")]
impl<T: FromStr<Err = ParseOptionError>> serde::de::Visitor<'_> for NameVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an option")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<T, E> {
        name.parse().map_err(E::custom)
    }
}

impl FromStr for Backend {
    type Err = ParseOptionError;

    /// The backend of this name, if this CPU has it; `auto` is [`Backend::detect`].
    fn from_str(name: &str) -> Result<Backend, ParseOptionError> {
        if name == Backend::AUTO {
            return Ok(Backend::detect());
        }
        let names = Backend::NAMES;
        let name = names.iter().copied().find(|&known| known == name);
        let backend = name.ok_or(ParseOptionError::Unknown { option: "backend", names })?;
        let available = Backend::available().find(|available| available.name() == backend);
        available.ok_or(ParseOptionError::Unavailable { backend })
    }
}
