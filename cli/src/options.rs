//! Options of the library by the names that it gives to their values.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use hardneg::{Backend, ParseOptionError};

/// What the command line calls the best backend of this CPU.
pub(crate) const BEST_BACKEND: &str = "auto";

/// The parser of an option, which lists the names of its values in the help and in errors.
pub(crate) fn named<T>() -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = ParseOptionError> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names::<T>()).try_map(|name| name.parse::<T>())
}

/// The parser of a backend, which must be one that this CPU has.
pub(crate) fn backend() -> impl TypedValueParser<Value = Backend> {
    named::<Backend>()
}

/// The names of an option's values. The library tells them to those who ask for a value without a name.
fn names<T: FromStr<Err = ParseOptionError>>() -> &'static [&'static str] {
    match "".parse::<T>() {
        Err(ParseOptionError::Unknown { names, .. }) => names,
        _ => &[],
    }
}
