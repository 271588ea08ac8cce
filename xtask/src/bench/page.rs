//! The report as a page for the browser: one file, charts and all, nothing fetched.

use super::{
    chart::{escaped, svg},
    report::{Report, targets},
};

const STYLE: &str = "\
body { font: 14px/1.5 system-ui, sans-serif; margin: 1.5em auto; max-width: 75em; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin: 2em 0 .4em; } h3 { font-size: 1em; margin: 1.4em 0 .3em; }
table { border-collapse: collapse; } th, td { padding: .15em .8em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
svg { display: block; max-width: 100%; height: auto; margin: .8em 0; } .wide { overflow-x: auto; }
.met { color: #00734f; } .missed { color: #b33c00; font-weight: bold; } .failure { color: #b33c00; }
nav a { margin-right: 1em; } code { background: #f4f4f4; padding: .1em .3em; }";

/// The page.
pub(crate) fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Jotun: benchmarks</title>\n<style>\n{STYLE}\n</style>\n\
         <h1>Jotun: benchmarks</h1>\n<p><code>{}</code></p>\n",
        escaped(&report.command)
    );
    page += "<table>\n";
    for (name, what) in &report.setting {
        page += &format!("<tr><td>{}<td style=\"text-align:left\">{}\n", escaped(name), escaped(what));
    }
    page += "</table>\n<nav>";
    for section in &report.sections {
        page += &format!("<a href=\"#{}\">{}</a>", section.name, escaped(section.title));
    }
    page += "</nav>\n";
    let all: Vec<_> = report.sections.iter().flat_map(|section| section.targets.clone()).collect();
    if !all.is_empty() {
        page += &format!("<h2>Targets</h2>\n{}", rows(&targets(&all)));
    }
    for target in all.iter().filter(|target| target.met() == Some(false)) {
        page += &format!("<p>{}: {}</p>\n", escaped(&target.what), inline(target.why));
    }
    for section in &report.sections {
        page += &format!("<h2 id=\"{}\">{}</h2>\n", section.name, escaped(section.title));
        section.text.iter().for_each(|text| page += &format!("<p>{}</p>\n", inline(text)));
        section.charts.iter().for_each(|chart| page += &svg(chart));
        for table in &section.tables {
            page += &format!("<h3>{}</h3>\n{}", escaped(&table.title), rows(&table.shown()));
        }
        section
            .failures
            .iter()
            .for_each(|why| page += &format!("<p class=\"failure\">Not measured: {}</p>\n", escaped(why)));
    }
    page + "</html>\n"
}

/// Text as HTML: what stands between backquotes is code.
fn inline(text: &str) -> String {
    let parts = text.split('`').map(escaped).enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part }).collect()
}

fn rows(rows: &[Vec<String>]) -> String {
    let mut text = "<div class=\"wide\"><table>\n".to_owned();
    for (index, row) in rows.iter().enumerate() {
        let tag = if index == 0 { "th" } else { "td" };
        text += "<tr>";
        for cell in row {
            let class = if cell == "met" || cell == "missed" { format!(" class=\"{cell}\"") } else { String::new() };
            text += &format!("<{tag}{class}>{}", inline(cell));
        }
        text.push('\n');
    }
    text + "</table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Cell, Chart, Section, Table, head};

    #[test]
    fn the_page_needs_nothing_else() {
        let table = Table {
            title: "t".into(),
            head: head(["<a>", "n"]),
            rows: vec![vec![Cell::text("x `y`"), Cell::Ratio(1.5)]],
        };
        let section = Section {
            name: "s",
            title: "S",
            tables: vec![table],
            charts: vec![Chart::default()],
            ..Section::default()
        };
        let page =
            html(&Report { command: "c".into(), setting: vec![("m".into(), "n".into())], sections: vec![section] });
        assert!(
            page.contains("<th>&lt;a&gt;<th>n")
                && page.contains("<td>x <code>y</code><td>1.50")
                && page.contains("<svg")
        );
        let without_namespace = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for part in ["http:", "https:", "src=", "@import", "<script"] {
            assert!(!without_namespace.contains(part), "{part}");
        }
    }
}
