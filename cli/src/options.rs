//! Options of the library by the names that it gives to their values.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use hardneg::{Backend, ParseOptionError};

use crate::input;

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

/// The parser of a file to read, whose name may begin with a hyphen: `-:NAME` is an array of the standard input. It also
/// gets what clap knows as no option, so that a name with a hyphen must be that of a file.
pub(crate) fn input() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let is_option = path.as_os_str().as_encoded_bytes().starts_with(b"-") && !input::is_there(&path);
        if is_option { Err("there is no such file, and no such option here") } else { Ok(path) }
    })
}

/// The names of an option's values. The library tells them to those who ask for a value without a name.
fn names<T: FromStr<Err = ParseOptionError>>() -> &'static [&'static str] {
    match "".parse::<T>() {
        Err(ParseOptionError::Unknown { names, .. }) => names,
        _ => &[],
    }
}
