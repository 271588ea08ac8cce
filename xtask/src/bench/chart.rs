//! Charts as SVG: lines over a common axis, each named at its end's height in the legend.

use std::fmt::Write;

use super::report::Chart;

/// Where the lines are.
const PLOT: f64 = 490.0;
const HEIGHT: f64 = 360.0;
/// Room for the axes' words on the left and below, for the title above.
const LEFT: f64 = 60.0;
const BELOW: f64 = 50.0;
const ABOVE: f64 = 34.0;
/// Room on the right for the legend's lines, and for a letter of its names.
const RIGHT: f64 = 56.0;
const LETTER: f64 = 6.6;

/// Colours that the colour-blind tell apart as well (M. Okabe and K. Ito, Color Universal Design, 2008).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c6d1f"];

/// Steps of an axis from zero that reach `most`, about `count` of them and none smaller than `least`.
fn steps(most: f64, count: f64, least: f64) -> Vec<f64> {
    let rough = (most / count).max(least);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(power);
    (0..=(most / step).ceil() as u32).map(|n| f64::from(n) * step).collect()
}

/// Text that may stand in XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn short(value: f64) -> String {
    match value {
        large if large >= 1e6 => format!("{}M", large / 1e6),
        large if large >= 1e4 => format!("{}k", large / 1e3),
        small => format!("{}", (small * 1e6).round() / 1e6),
    }
}

/// The chart as a picture of its own.
pub(crate) fn svg(chart: &Chart) -> String {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
    // There is no half of a CPU.
    let whole = if points().all(|point| point.0.fract() == 0.0) { 1.0 } else { 1e-9 };
    let (xs, ys) = (steps(most(|point| point.0), 8.0, whole), steps(most(|point| point.1), 6.0, 1e-9));
    let last = |steps: &[f64]| steps.last().copied().filter(|end| *end > 0.0).unwrap_or(1.0);
    let (x_end, y_end) = (last(&xs), last(&ys));
    let longest = chart.series.iter().map(|series| series.name.chars().count()).max().unwrap_or(0);
    let width = LEFT + PLOT + RIGHT + LETTER * longest as f64;
    let height = HEIGHT.max(ABOVE + 17.0 * (1 + chart.series.len()) as f64);
    let x = |value: f64| LEFT + value / x_end * PLOT;
    let y = |value: f64| HEIGHT - BELOW - value / y_end * (HEIGHT - BELOW - ABOVE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height}\" width=\"{width:.0}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
        escaped(&chart.title)
    );
    let (bottom, top, end) = (y(0.0), y(y_end), x(x_end));
    for &value in &ys {
        let (at, label) = (y(value), short(value));
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{end:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for &value in &xs {
        let (at, label) = (x(value), short(value));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {bottom:.1}v4\" stroke=\"#888\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 18.0
        );
    }
    let _ = writeln!(svg, "<path d=\"M{LEFT} {top:.1}V{bottom:.1}H{end:.1}\" fill=\"none\" stroke=\"#888\"/>");
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        (LEFT + end) / 2.0,
        HEIGHT - 12.0,
        escaped(&chart.x)
    );
    let middle = (top + bottom) / 2.0;
    let _ = writeln!(
        svg,
        "<text transform=\"translate(16 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        escaped(&chart.y)
    );
    let mut colour = COLOURS.len() - 1;
    for (index, series) in chart.series.iter().enumerate() {
        // A bound belongs to the line before it.
        if !series.bound || index == 0 {
            colour = (colour + 1) % COLOURS.len();
        }
        let (stroke, dashes) = (COLOURS[colour], if series.bound { " stroke-dasharray=\"5 4\"" } else { "" });
        let path: Vec<_> = series.points.iter().map(|(a, b)| format!("{:.1} {:.1}", x(*a), y(*b))).collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\"{dashes}/>",
            path.join("L")
        );
        // A bound at one place only has no line.
        if !series.bound || series.points.len() == 1 {
            for (a, b) in &series.points {
                let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{stroke}\"/>", x(*a), y(*b));
            }
        }
        let (from, line) = (end + 14.0, ABOVE + 8.0 + 17.0 * index as f64);
        let _ = writeln!(
            svg,
            "<path d=\"M{from:.1} {line:.1}h20\" stroke=\"{stroke}\" stroke-width=\"2\"{dashes}/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            from + 26.0,
            line + 4.0,
            escaped(&series.name)
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Series;

    #[test]
    fn axes_have_round_steps() {
        assert_eq!(steps(8.0, 8.0, 1.0), (0..=8).map(f64::from).collect::<Vec<_>>());
        assert_eq!(steps(2.0, 8.0, 1.0), [0.0, 1.0, 2.0]);
        assert_eq!(steps(32_000.0, 8.0, 1.0).last(), Some(&35_000.0));
        assert_eq!(steps(0.3, 6.0, 1e-9).last(), Some(&0.30000000000000004));
        assert_eq!(steps(0.0, 6.0, 1e-9), [0.0]);
    }

    #[test]
    fn a_long_name_has_room() {
        let named = |name: &str| {
            let series = vec![Series { name: name.into(), ..Series::default() }];
            let svg = svg(&Chart { series, ..Chart::default() });
            svg.split("width=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse::<f64>().ok()).unwrap()
        };
        assert_eq!(named("0123456789"), LEFT + PLOT + RIGHT + 66.0);
        assert_eq!(named("01234567890123456789"), LEFT + PLOT + RIGHT + 132.0);
    }

    #[test]
    fn every_line_is_drawn_and_named() {
        let line = |name: &str, bound| Series { name: name.into(), points: vec![(1.0, 1.0), (8.0, 5.0)], bound };
        let series = vec![line("a < b", false), line("its bound", true), line("c", false)];
        let svg = svg(&Chart { title: "T & U".into(), series, ..Chart::default() });
        assert!(svg.contains("T &amp; U") && svg.contains(">a &lt; b<") && svg.contains(">its bound<"));
        assert_eq!(svg.matches("stroke-dasharray").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 4);
        // The bound has its line's colour.
        assert_eq!(svg.matches(COLOURS[0]).count(), 2 + 2 + 2);
        assert_eq!(svg.matches(COLOURS[2]).count(), 0);
    }
}
