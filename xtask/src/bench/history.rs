//! Single operations beside those of the page of results that a new one takes the place of, so that a reader sees what has
//! become dearer.

use std::collections::BTreeMap;

/// The title of the tables that are compared.
const TABLE: &str = "### Instructions for one operation\n";

/// The columns that are compared. Pages of before the strategies had names say `smp`.
const COLUMNS: [(&str, &str); 3] = [("up", "up"), ("giant:1", "smp:1"), ("giant:2", "smp:2")];

/// The page with a section about what has changed since the earlier one, in front of its first measurements. Without a common
/// operation it stays as it is.
pub(super) fn with_earlier(page: &str, earlier: &str) -> String {
    let (before, now) = (operations(earlier), operations(page));
    let rows: String = order(page).filter_map(|name| row(&name, before.get(&name)?, now.get(&name)?)).collect();
    let targets = page.find("\n## Targets\n");
    let place = targets.and_then(|targets| Some(targets + 1 + page[targets + 1..].find("\n## ")?));
    match (commit(earlier), place) {
        (Some(commit), Some(place)) if !rows.is_empty() => {
            let (front, back) = page.split_at(place);
            let head = COLUMNS.map(|(own, _)| format!(" `{own}`, {commit} | `{own}` | change |")).concat();
            let rule = " ---: |".repeat(3 * COLUMNS.len());
            format!(
                "{front}\n## Since {commit}\n\nSingle operations as the page of that commit had them, and now.\n\n\
                 | operation |{head}\n| --- |{rule}\n{rows}{back}"
            )
        }
        _ => page.to_owned(),
    }
}

/// A row of the section; `None` if both pages have no column in common.
fn row(name: &str, before: &[Option<f64>], now: &[Option<f64>]) -> Option<String> {
    before.iter().zip(now).find(|(before, now)| before.is_some() && now.is_some())?;
    let count = |value: Option<f64>| value.map_or("–".to_owned(), |value| crate::profile::grouped(value as u64));
    let change = |(before, now): (&Option<f64>, &Option<f64>)| {
        let cells = match before.zip(*now) {
            Some((before, now)) if before > 0.0 => format!("{:+.1} %", (now / before - 1.0) * 100.0),
            _ => "–".to_owned(),
        };
        format!(" {} | {} | {cells} |", count(*before), count(*now))
    };
    Some(format!("| {name} |{}\n", before.iter().zip(now).map(change).collect::<String>()))
}

/// The commit that a page is of.
fn commit(page: &str) -> Option<&str> {
    page.lines().find_map(|line| line.strip_prefix("| Jotun | "))?.split([',', ' ']).next()
}

/// The cells of the rows of all tables that are compared, the head of each table first.
fn tables(page: &str) -> impl Iterator<Item = Vec<Vec<&str>>> {
    page.split(TABLE).skip(1).map(|rest| {
        let rows = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    })
}

/// The name of a row: what stands before the description.
fn name(row: &[&str]) -> String {
    row[0].split(':').next().unwrap_or_default().to_owned()
}

/// The names of the operations, in the order of the page.
fn order(page: &str) -> impl Iterator<Item = String> {
    tables(page).flat_map(|table| table.into_iter().skip(2).map(|row| name(&row)).collect::<Vec<_>>())
}

/// The figures of each operation, by its name, in the order of [`COLUMNS`].
fn operations(page: &str) -> BTreeMap<String, Vec<Option<f64>>> {
    let of = |table: Vec<Vec<&str>>| {
        let head = table[0].clone();
        let places = COLUMNS.map(|(own, old)| head.iter().position(|cell| *cell == own || *cell == old));
        let figure = |cell: &str| cell.split(' ').next()?.replace(',', "").parse().ok();
        let figures = |row: &[&str]| places.map(|place| place.and_then(|at| figure(row.get(at)?))).to_vec();
        table.iter().skip(2).map(|row| (name(row), figures(row))).collect::<Vec<_>>()
    };
    tables(page).filter(|table| !table.is_empty()).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(commit: &str, several: &str, null: &str, extra: &str) -> String {
        format!(
            "# Results\n\n|  |  |\n| --- | ---: |\n| Jotun | {commit}, rustc |\n\n## Targets\n\n| t | l |\n\n## Operations\n\n\
             {TABLE}\n| operation | up | {several} | linux:1 |\n| --- | ---: | ---: | ---: |\n\
             | null: nothing | 60 | {null} | 300 |\n{extra}\n## More\n\n{TABLE}\n| operation | up | {several} |\n\
             | --- | ---: | ---: |\n| start: a process | 5,000 (4,990–5,010) | – |\n"
        )
    }

    #[test]
    fn operations_stand_beside_those_of_the_page_before() {
        let before = page("abc1234", "smp:1", "80", "");
        let now = page("def5678", "giant:1", "100", "| new: not there before | 7 | 8 | 9 |\n");
        let both = with_earlier(&now, &before);
        let expected = "\n## Since abc1234\n\nSingle operations as the page of that commit had them, and now.\n\n\
                        | operation | `up`, abc1234 | `up` | change | `giant:1`, abc1234 | `giant:1` | change | \
                        `giant:2`, abc1234 | `giant:2` | change |\n\
                        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n\
                        | null | 60 | 60 | +0.0 % | 80 | 100 | +25.0 % | – | – | – |\n\
                        | start | 5,000 | 5,000 | +0.0 % | – | – | – | – | – | – |\n\n## Operations\n";
        assert!(both.contains(expected), "{both}");
        assert_eq!(both.replace(expected, "\n## Operations\n"), now);
    }

    #[test]
    fn a_page_without_measurements_stays_as_it_is() {
        let now = page("def5678", "giant:1", "100", "");
        assert_eq!(with_earlier(&now, "# Results\n"), now);
        assert_eq!(with_earlier("# Results\n", &now), "# Results\n");
    }
}
