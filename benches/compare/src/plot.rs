//! Plots of the tables, as SVG.

use std::fs;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Colours that are told apart by everyone (after Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(220, 220, 220);
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A line of a chart.
pub(crate) struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn new(name: &str) -> Series {
        Series { name: name.to_owned(), points: Vec::new() }
    }
}

/// Lines on two logarithmic axes, under roofs, which are lines over the whole width.
pub(crate) struct Chart {
    pub file: &'static str,
    pub title: String,
    pub x_label: &'static str,
    pub y_label: &'static str,
    pub series: Vec<Series>,
    pub roofs: Vec<(String, f64)>,
}

/// The times of a batch's contenders as multiples of this crate's.
pub(crate) struct Bars {
    pub label: String,
    pub bars: Vec<(String, f64)>,
}

/// Makes the directory and draws a file in it.
fn draw(directory: &Path, file: &str, size: (u32, u32), body: impl FnOnce(&Area<'_>) -> Drawn) -> Result<(), String> {
    let path = directory.join(format!("{file}.svg"));
    let drawn = || -> Drawn {
        fs::create_dir_all(directory)?;
        let area = SVGBackend::new(&path, size).into_drawing_area();
        area.fill(&WHITE)?;
        body(&area)?;
        Ok(area.present()?)
    };
    drawn().map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\nDrawn: {}", path.display());
    Ok(())
}

fn text(size: u32, colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    (FONT, size).into_font().color(&colour).pos(Pos::new(horizontal, vertical))
}

/// Draws a chart.
pub(crate) fn lines(directory: &Path, chart: &Chart) -> Result<(), String> {
    draw(directory, chart.file, (860, 500), |area| draw_lines(area, chart))
}

/// A logarithmic axis.
struct Axis {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Axis {
    /// An axis from a little below the least of the values to a little above the largest.
    fn new(values: impl Iterator<Item = f64> + Clone, room: f64, ticks: impl Iterator<Item = f64>) -> Axis {
        let least = values.clone().fold(f64::MAX, f64::min);
        let range = least / room..values.fold(f64::MIN, f64::max) * room;
        Axis { ticks: ticks.filter(|tick| range.contains(tick)).collect(), range }
    }
}

/// The powers of 2.
fn powers() -> impl Iterator<Item = f64> {
    (0..32).map(|exponent| 2.0_f64.powi(exponent))
}

/// 1, 2 and 5 in every decade.
fn decades() -> impl Iterator<Item = f64> {
    (-9..9).flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10.0_f64.powi(decade)))
}

impl Ranged for Axis {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value / self.range.start).ln() / (self.range.end / self.range.start).ln();
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        plain(*value)
    }
}

/// A number without more digits than it needs.
fn plain(value: f64) -> String {
    let digits = if value >= 0.95 { 0 } else { (-value.log10().floor()) as usize };
    format!("{value:.digits$}")
}

fn draw_lines(area: &Area<'_>, chart: &Chart) -> Drawn {
    let points = chart.series.iter().flat_map(|series| &series.points).copied();
    let x_axis = Axis::new(points.clone().map(|(x, _)| x), 1.1, powers());
    let heights = points.map(|(_, y)| y).chain(chart.roofs.iter().map(|&(_, y)| y));
    let y_axis = Axis::new(heights, 1.3, decades());
    let (left, right) = (x_axis.range.start, x_axis.range.end);
    let (area, legend) = area.split_horizontally(620);
    let mut context = ChartBuilder::on(&area)
        .caption(&chart.title, text(17, INK, HPos::Left, VPos::Top))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(58)
        .build_cartesian_2d(x_axis, y_axis)?;
    context
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 14).into_font().color(&INK))
        .x_desc(chart.x_label)
        .y_desc(chart.y_label)
        .draw()?;
    for (name, height) in &chart.roofs {
        let line = [(left, *height), (right, *height)];
        context.draw_series(DashedLineSeries::new(line, 7, 4, INK.stroke_width(1)))?;
        let label = format!("{name}: {}", plain(*height));
        let style = text(12, INK, HPos::Left, VPos::Bottom);
        context.draw_series([Text::new(label, (left * 1.05, height * 1.01), style)])?;
    }
    for (series, colour) in chart.series.iter().zip(COLOURS.iter().cycle()) {
        context.draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?;
        context.draw_series(series.points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
    }
    draw_legend(&legend, chart)
}

/// The names of the lines, beside the chart.
fn draw_legend(area: &Area<'_>, chart: &Chart) -> Drawn {
    for (index, (series, colour)) in chart.series.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let y = 60 + 22 * index as i32;
        area.draw(&PathElement::new(vec![(0, y), (18, y)], colour.stroke_width(2)))?;
        area.draw(&Circle::new((9, y), 3, colour.filled()))?;
        area.draw(&Text::new(series.name.as_str(), (25, y), text(13, INK, HPos::Left, VPos::Center)))?;
    }
    Ok(())
}

/// The geometry of the bars, in pixels.
const WIDTH: u32 = 860;
const TOP: i32 = 64;
const BAR: i32 = 17;
const GROUP: i32 = 30;
const LEFT: i32 = 200;
const RIGHT: i32 = 800;
/// The ratios at the left and at the right end, on a logarithmic axis.
const AXIS: Range<f64> = 0.5..64.0;

fn pixel(ratio: f64) -> i32 {
    let share = (ratio.clamp(AXIS.start, AXIS.end) / AXIS.start).ln() / (AXIS.end / AXIS.start).ln();
    LEFT + (share * f64::from(RIGHT - LEFT)) as i32
}

/// Draws the rivals' times against this crate's.
pub(crate) fn ratios(directory: &Path, groups: &[Bars]) -> Result<(), String> {
    let height = TOP + groups.iter().map(|group| GROUP + BAR * group.bars.len() as i32).sum::<i32>() + 24;
    draw(directory, "compare", (WIDTH, height as u32), |area| draw_ratios(area, groups, height))
}

fn draw_ratios(area: &Area<'_>, groups: &[Bars], height: i32) -> Drawn {
    let title = "Time of the whole job on one thread, as a multiple of hardneg's (to the right: slower than hardneg)";
    area.draw(&Text::new(title, (14, 14), text(16, INK, HPos::Left, VPos::Top)))?;
    let mut tick = AXIS.start;
    while tick <= AXIS.end {
        let (x, bold) = (pixel(tick), tick == 1.0);
        let colour = if bold { INK } else { FAINT };
        area.draw(&PathElement::new(vec![(x, TOP - 6), (x, height - 14)], colour.stroke_width(1)))?;
        area.draw(&Text::new(tick.to_string(), (x, TOP - 8), text(12, INK, HPos::Center, VPos::Bottom)))?;
        tick *= 2.0;
    }
    let mut names: Vec<&str> = Vec::new();
    let mut y = TOP;
    for group in groups {
        area.draw(&Text::new(group.label.as_str(), (14, y + 6), text(13, INK, HPos::Left, VPos::Top)))?;
        y += GROUP - 4;
        for (name, ratio) in &group.bars {
            let colour = names.iter().position(|&known| known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            draw_bar(area, y, name, *ratio, COLOURS[colour % COLOURS.len()])?;
            y += BAR;
        }
        y += 4;
    }
    Ok(())
}

fn draw_bar(area: &Area<'_>, y: i32, name: &str, ratio: f64, colour: RGBColor) -> Drawn {
    let (from, to) = (pixel(1.0).min(pixel(ratio)), pixel(1.0).max(pixel(ratio)));
    area.draw(&Text::new(name, (LEFT - 8, y + BAR / 2), text(12, INK, HPos::Right, VPos::Center)))?;
    area.draw(&Rectangle::new([(from, y + 2), (to, y + BAR - 3)], colour.filled()))?;
    let value = (to + 5, y + BAR / 2);
    area.draw(&Text::new(format!("{ratio:.2}"), value, text(12, INK, HPos::Left, VPos::Center)))?;
    Ok(())
}
