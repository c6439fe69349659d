//! What the subcommands print and measure alike.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints one `key: value` a line to the standard output. A reader that has seen enough (`hardneg score ... | head -4`)
/// is no error.
pub fn print_lines(lines: &[(&str, &dyn Display)]) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = lines.iter().try_for_each(|(key, value)| writeln!(out, "{key}: {value}")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
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
