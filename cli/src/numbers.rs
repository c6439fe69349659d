//! Numbers as tables and lines of JSON have them.

use std::fmt::{self, Display, Formatter};

/// A float in the shortest digits that give the same bits back, with a fraction always (`0.0`): readers that guess the
/// type of a column from its first rows take `0` for an integer, and fail at the first `0.7` after it.
pub(crate) struct Float<T>(pub T);

impl Display for Float<f32> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(f, self.0, self.0.fract() == 0.0)
    }
}

impl Display for Float<f64> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(f, self.0, self.0.fract() == 0.0)
    }
}

fn write(f: &mut Formatter<'_>, value: impl Display, is_whole: bool) -> fmt::Result {
    write!(f, "{value}{}", if is_whole { ".0" } else { "" })
}
