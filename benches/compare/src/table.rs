//! Markdown tables and the numbers in them.

/// Prints the first two lines of a table: the names of its columns, of which all but the first are numbers.
pub(crate) fn header(names: &[&str]) {
    println!("\n| {} |\n|---|{}", names.join(" | "), "---:|".repeat(names.len() - 1));
}

/// Prints a line of a table.
pub(crate) fn line(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// A number in a unit that gives it one to three digits before the point.
fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut scaled = value;
    let mut index = 0;
    while scaled >= step && index + 1 < units.len() {
        scaled /= step;
        index += 1;
    }
    let digits = if scaled >= 100.0 || index == 0 && value.fract() == 0.0 { 0 } else { 1 + usize::from(scaled < 10.0) };
    format!("{scaled:.digits$} {}", units[index])
}

pub(crate) fn seconds(value: f64) -> String {
    scaled(value * 1e9, 1e3, &["ns", "us", "ms", "s"])
}

pub(crate) fn bytes(value: usize) -> String {
    scaled(value as f64, 1024.0, &["B", "KiB", "MiB", "GiB"])
}

pub(crate) fn percent(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{:.1} %", 100.0 * value) }
}

/// An error: 0 where there is none at all.
pub(crate) fn error(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.0e}") }
}
