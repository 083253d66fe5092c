//! Processor time and lost removals against the number of cgroups, as SVG.
//!
//! Each panel has one line a rival. Names stand at the ends of the lines, moved apart where lines
//! end at the same place.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, anyhow};
use field::Run;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Native;

const SIZE: (u32, u32) = (1120, 470);
/// For the names beside the last number of cgroups.
const NAMES: u32 = 130;
const LINE: i32 = 15;
/// As on paper, whatever surrounds it.
const PAPER: RGBColor = WHITE;
/// Distinguishable without red and green, the first for cgwatch.
const COLORS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
    RGBColor(0, 0, 0),
];

/// The points of one rival.
struct Line<'r> {
    name: &'r str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Nothing, if there are not two numbers of cgroups to draw a line between.
pub(super) fn draw(results: &Native) -> Result<Option<String>> {
    let numbers: Vec<f64> = results.alone.iter().map(|&(number, _)| number as f64).collect();
    let [first, .., last] = numbers[..] else { return Ok(None) };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&PAPER).map_err(error)?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        let x = || (first * 0.8..last * 1.25).log_scale();

        let cpu = lines(results, |run| run.cpu.max(1e-3));
        let values = || cpu.iter().flat_map(|line| &line.points).map(|point| point.1);
        let (least, most) = (values().fold(0.1, f64::min), values().fold(0.1, f64::max));
        let caption = "Processor time for the script, in seconds";
        panel(
            &left,
            caption,
            x(),
            (least / 1.5..most * 1.5).log_scale(),
            &cpu,
            &numbers,
            &seconds,
        )?;

        let lost = lines(results, |run| {
            let [old, young] = [run.score.removals, run.score.newborn_removals];
            100.0 * (old.missed() + young.missed()) as f64 / (old.of + young.of).max(1) as f64
        });
        let percent = |value: &f64| format!("{value:.0} %");
        let caption = "Removals lost";
        panel(&right, caption, x(), Range { start: -2.0, end: 102.0 }, &lost, &numbers, &percent)?;
        root.present().map_err(error)?;
    }
    Ok(Some(svg))
}

fn lines(results: &Native, value: impl Fn(&Run) -> f64) -> Vec<Line<'_>> {
    let mut found: Vec<Line<'_>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &results.entries {
        let Ok(run) = &entry.result else { continue };
        let place = *places.entry(&entry.rival).or_insert_with(|| {
            let color = COLORS[found.len() % COLORS.len()];
            found.push(Line { name: &entry.rival, color, points: Vec::new() });
            found.len() - 1
        });
        found[place].points.push((entry.cgroups as f64, value(run)));
    }
    found
}

fn panel<X, Y>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    caption: &str,
    x: X,
    y: Y,
    lines: &[Line<'_>],
    numbers: &[f64],
    format: &dyn Fn(&f64) -> String,
) -> Result<()>
where
    X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    Y: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .margin_right(NAMES)
        .caption(caption, ("sans-serif", 17))
        .x_label_area_size(38)
        .y_label_area_size(52)
        .build_cartesian_2d(x, y)
        .map_err(error)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(PAPER)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("cgroups")
        .x_labels(numbers.len() + 2)
        .x_label_formatter(&|number| format!("{number:.0}"))
        .y_label_formatter(format)
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(error)?;
    let mut names = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        // cgwatch is what the eye should find first.
        let width = if place == 0 { 3 } else { 1 };
        let style = line.color.stroke_width(width);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style)).map_err(error)?;
        let dots = line.points.iter().map(|&point| Circle::new(point, 3, line.color.filled()));
        chart.draw_series(dots).map_err(error)?;
        if let Some(end) = line.points.last() {
            let (x, y) = chart.backend_coord(end);
            names.push((y, x, line));
        }
    }
    names.sort_by_key(|&(y, _, _)| y);
    let (_, bottom) = area.get_base_pixel();
    let bottom = bottom + SIZE.1.cast_signed() - 62;
    let (left, top) = area.get_base_pixel();
    for ((y, x, line), at) in names.iter().zip(apart(names.iter().map(|name| name.0), bottom)) {
        let position = Pos::new(HPos::Left, VPos::Center);
        let font = if line.name == "cgwatch" { FontStyle::Bold } else { FontStyle::Normal };
        let style =
            TextStyle::from(("sans-serif", 13, font).into_font()).color(&line.color).pos(position);
        let (x, y, at) = (x - left, y - top, at - top);
        let path = PathElement::new([(x + 5, y), (x + 16, at)], line.color.mix(0.5));
        area.draw(&path).map_err(error)?;
        area.draw(&Text::new(line.name.to_owned(), (x + 19, at), style)).map_err(error)?;
    }
    Ok(())
}

/// Heights at which names do not overlap, near where they belong, in the same order.
fn apart(wanted: impl Iterator<Item = i32>, bottom: i32) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    for height in wanted {
        let least = found.last().map_or(i32::MIN, |last| last + LINE);
        found.push(height.max(least));
    }
    let mut most = bottom;
    for height in found.iter_mut().rev() {
        *height = (*height).min(most);
        most = *height - LINE;
    }
    found
}

fn seconds(value: &f64) -> String {
    // What the scale is computed with is not exact.
    format!("{}", (value * 1000.0).round() / 1000.0)
}

fn error(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the picture: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap_and_stay_on_the_paper() {
        assert_eq!(apart([10, 11, 100].into_iter(), 400), [10, 25, 100]);
        assert_eq!(apart([390, 395, 399].into_iter(), 400), [370, 385, 400]);
        assert!(apart(std::iter::empty(), 400).is_empty());
    }
}
