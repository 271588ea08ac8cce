//! Tables of results in other pages: a page names one between marks, and what stands there is written by the command.
//!
//! ```text
//! <!-- results: TITLE -->
//! …
//! <!-- end of results -->
//! ```

const BEGIN: &str = "<!-- results: ";
const TITLE_END: &str = " -->";
const END: &str = "<!-- end of results -->";

/// The page with its regions filled; `table` is the text of the table of a title. A region whose table was not measured
/// stays as it is.
pub(super) fn filled(page: &str, table: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut lines = page.split_inclusive('\n');
    while let Some(line) = lines.next() {
        text += line;
        let title = line.strip_prefix(BEGIN).and_then(|rest| rest.trim_end().strip_suffix(TITLE_END));
        let Some(title) = title else { continue };
        let old: String = lines.by_ref().take_while(|line| line.trim_end() != END).collect();
        text += &table(title).map_or(old, |table| format!("\n{table}\n"));
        text += &format!("{END}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_is_written_anew_and_nothing_else() {
        let page = "a\n<!-- results: T 1 -->\n\n| old |\n\n<!-- end of results -->\nb\n";
        let table = |title: &str| (title == "T 1").then(|| "| new |\n".to_owned());
        let new = page.replace("old", "new");
        assert_eq!(filled(page, table), new);
        assert_eq!(filled(&new, table), new);
        assert_eq!(filled(page, |_| None), page);
        assert_eq!(filled("a\nb", table), "a\nb");
    }
}
