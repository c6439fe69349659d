//! What the subcommands print and measure alike.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Where a report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The standard output.
    Output,
    /// The standard error, where the standard output has a table.
    Error,
}

/// Prints one `key: value` a line. A reader that has seen enough (`hardneg score ... | head -4`) is no error.
pub fn print_lines(to: To, lines: &[(&str, &dyn Display)]) -> Result<(), String> {
    let (mut out, name): (Box<dyn Write>, _) = match to {
        To::Output => (Box::new(io::stdout().lock()), "standard output"),
        To::Error => (Box::new(io::stderr().lock()), "standard error"),
    };
    let written = lines.iter().try_for_each(|(key, value)| writeln!(out, "{key}: {value}")).and_then(|()| out.flush());
    unless_closed(written).map_err(|error| format!("{name}: {error}"))
}

/// No error where the reader of a stream has left.
pub(crate) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A text of a file in a message: its first signs, and none that changes the line.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).take(60).collect()
}

/// Seconds as they are printed.
pub fn milliseconds(seconds: f64) -> String {
    format!("{:.4}", 1e3 * seconds)
}

/// The middle value, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}
