//! Plots as SVG: on a transparent ground, with colours that are seen on a light and on a dark page, and as wide as a
//! phone.

use super::part::Line;
use super::text::multiple;
use crate::results::Role;

/// Colours that are told apart by everyone (after Okabe and Ito), of middle lightness.
const COLOURS: [&str; 8] = ["#d55e00", "#0088cc", "#009e73", "#cc79a7", "#c08a00", "#56a0e9", "#8a8a8a", "#8a63c9"];
const STYLE: &str = "<style>text{font:12px sans-serif;fill:#333}.l{stroke:#d0d0d0}.a{stroke:#555;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.l{stroke:#444}.a{stroke:#bbb}}</style>";

/// In pixels, of which a phone has as many.
const WIDTH: usize = 400;
/// The axis.
const LEFT: f64 = 14.0;
const RIGHT: f64 = 386.0;
/// The lines of a case: its label, and below it a mark for each contender.
const CASE: usize = 36;
const LEGEND: usize = 18;
/// The powers of two at the ends of the axis.
const AXIS: (i32, i32) = (-3, 7);

/// The times of others as multiples of this crate's, on a logarithmic axis; nothing where there are no others.
pub(super) fn rivals(title: &str, lines: &[Line<'_>]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for rival in lines.iter().flat_map(|line| &line.all).filter(|other| other.role == Role::Rival) {
        if !names.contains(&rival.contender.as_str()) {
            names.push(&rival.contender);
        }
    }
    if names.is_empty() {
        return None;
    }
    let lines: Vec<&Line<'_>> = lines.iter().filter(|line| line.fastest_rival().is_some()).collect();
    let top = 44 + LEGEND * names.len().div_ceil(2);
    let bottom = top + CASE * lines.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {0}\" width=\"{WIDTH}\" height=\"{0}\">\n{STYLE}\n",
        bottom + 10
    );
    svg += &text(LEFT, 16, &format!("{title}: times as multiples of hardneg's"));
    for (index, name) in names.iter().enumerate() {
        let (x, y) = (LEFT + 205.0 * (index % 2) as f64, 34 + LEGEND * (index / 2));
        svg += &mark(index, x + 5.0, y as f64 - 4.0, name);
        svg += &text(x + 16.0, y, name);
    }
    for power in AXIS.0..=AXIS.1 {
        let (x, class) = (place(2.0_f64.powi(power)), if power == 0 { "a" } else { "l" });
        // Nothing crosses the labels.
        let pieces: String = (0..lines.len()).map(|index| format!("M{x:.1} {}v16", top + CASE * index + 18)).collect();
        svg += &format!("<path class=\"{class}\" d=\"{pieces}\"/>\n");
        let label = if power < 0 { format!("1/{}", 1 << -power) } else { format!("{}", 1 << power) };
        svg += &format!("<text text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>\n", top - 6);
    }
    for (index, line) in lines.iter().enumerate() {
        let y = top + CASE * index;
        svg += &text(LEFT, y + 14, &line.label);
        for rival in line.all.iter().filter(|other| other.role == Role::Rival) {
            let colour = names.iter().position(|&name| name == rival.contender).unwrap_or_default();
            let said = format!("{} {}", rival.contender, multiple(rival.ratio));
            svg += &mark(colour, place(rival.ratio), y as f64 + 25.0, &said);
        }
    }
    Some(svg + "</svg>\n")
}

/// Where a multiple is on the axis, or at its ends.
fn place(value: f64) -> f64 {
    let share = (value.log2() - f64::from(AXIS.0)) / f64::from(AXIS.1 - AXIS.0);
    LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

/// A disc, a square or a diamond, so that colours come round without two marks that are alike.
fn mark(index: usize, x: f64, y: f64, said: &str) -> String {
    let colour = COLOURS[index % COLOURS.len()];
    let shape = match index / COLOURS.len() {
        0 => format!("circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\""),
        1 => format!("rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"", x - 4.0, y - 4.0),
        _ => format!("path d=\"M{x:.1} {:.1}l5 5-5 5-5-5z\"", y - 5.0),
    };
    let tag = shape.split(' ').next().unwrap_or_default();
    format!("<{shape} fill=\"{colour}\"><title>{}</title></{tag}>\n", escaped(said))
}

fn text(x: f64, y: usize, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y}\">{}</text>\n", escaped(words))
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;
    use crate::tables::part::lines;

    #[test]
    fn a_plot_has_a_mark_for_each_rival() {
        let results = sample();
        let svg = rivals("Batches", &lines(&results, "batches")).expect("rivals");
        assert_eq!(svg.matches("<circle").count(), 3 + 2, "three times and two names");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.contains("<title>gemm 3.30 x</title>") && svg.contains("prefers-color-scheme:dark"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(rivals("Mining", &lines(&results, "mining")).is_none());
    }

    #[test]
    fn places_stay_on_the_axis() {
        assert_eq!([place(1e9), place(1e-9)], [RIGHT, LEFT]);
        assert!((place(1.0) - (LEFT + 0.3 * (RIGHT - LEFT))).abs() < 1e-9);
    }

    #[test]
    fn names_cannot_break_the_file() {
        assert_eq!(escaped("a<b & c"), "a&lt;b &amp; c");
    }
}
