//! Numbers as tables have them, and lines of Markdown.

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

pub(super) fn seconds(value: f64) -> String {
    scaled(value * 1e9, 1e3, &["ns", "us", "ms", "s"])
}

pub(super) fn bytes(value: u64) -> String {
    scaled(value as f64, 1024.0, &["B", "KiB", "MiB", "GiB"])
}

pub(super) fn percent(value: f64) -> String {
    format!("{:.0} %", 100.0 * value)
}

/// A multiple of a time.
pub(super) fn multiple(value: f64) -> String {
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} x")
}

/// A table whose first column is text.
pub(super) fn table(heads: &[String], lines: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(heads.len() - 1));
    lines.iter().for_each(|cells| text += &format!("| {} |\n", cells.join(" | ")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_so() {
        let times = [3.24e-7, 1.5e-6, 0.0277, 123.4, 4e-9].map(seconds);
        assert_eq!(times, ["324 ns", "1.50 us", "27.7 ms", "123 s", "4 ns"]);
        assert_eq!([0, 1536, 3 << 20].map(bytes), ["0 B", "1.50 KiB", "3.00 MiB"]);
        assert_eq!([0.256, 12.34, 102.0].map(multiple), ["0.26 x", "12.3 x", "102 x"]);
        assert_eq!(percent(2.154), "215 %");
    }

    #[test]
    fn a_table_in_markdown() {
        let text = table(&["a".to_owned(), "b".to_owned()], &[vec!["x".to_owned(), "1".to_owned()]]);
        assert_eq!(text, "| a | b |\n|---|---:|\n| x | 1 |\n");
    }
}
