//! "Did you mean …?"

/// The candidate nearest to `typed`, when it is near enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(typed, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= limit || (typed.len() >= 3 && candidate.starts_with(typed)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The nearest candidate as a sentence to end an error with, or nothing.
pub(crate) fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, candidates).map_or_else(String::new, |name| format!(" Did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["hello-std", "hello", "tour", "threads-std"];

    #[test]
    fn slips_are_recognised() {
        assert_eq!(nearest("helo-std", NAMES), Some("hello-std"));
        assert_eq!(nearest("toru", NAMES), Some("tour"));
        assert_eq!(nearest("threads", NAMES), Some("threads-std"));
        assert_eq!(nearest("hello", NAMES), Some("hello"));
    }

    #[test]
    fn strangers_are_not() {
        assert_eq!(nearest("emacs", NAMES), None);
        assert_eq!(nearest("", NAMES), None);
        assert_eq!(did_you_mean("emacs", NAMES), "");
    }
}
