//! What is measured: the cases of benches/shapes.json, which the contenders in Python share. A case is named by its
//! sizes, "anchors x candidates x dim", and what is special about it, after commas.

use std::collections::BTreeMap;

use serde_json::Value;

const SHAPES: &str = include_str!("../../shapes.json");

/// A shape with what is special about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    pub label: String,
    /// Anchors, or queries.
    pub rows: usize,
    pub candidates: usize,
    pub dim: usize,
}

impl Case {
    /// Reads the label, which is that of a case in the file, or of the user's data.
    pub(crate) fn parse(label: &str) -> Result<Case, String> {
        let sizes = label.split(", ").next().unwrap_or_default();
        let sizes: Result<Vec<usize>, _> = sizes.split(" x ").map(str::parse).collect();
        match sizes.as_deref() {
            Ok(&[rows, candidates, dim]) => Ok(Case { label: label.to_owned(), rows, candidates, dim }),
            _ => Err(format!("{label}: no case; sizes are written as 1 x 1024 x 768")),
        }
    }

    /// Whether the label has these words.
    pub(crate) fn is(&self, words: &str) -> bool {
        self.label.split(", ").skip(1).any(|part| part == words)
    }

    /// The number after these words.
    pub(crate) fn number(&self, words: &str) -> Option<f64> {
        self.label.split(", ").find_map(|part| part.strip_prefix(words)?.trim().parse().ok())
    }

    /// The multiply-adds of all pairs.
    pub(crate) fn work(&self) -> u64 {
        (self.rows * self.candidates * self.dim) as u64
    }
}

/// The labels in a list of a part.
pub(crate) fn labels(part: &str, list: &str) -> Vec<String> {
    type Parts = BTreeMap<String, BTreeMap<String, Value>>;
    let parts: Parts = serde_json::from_str(SHAPES).expect("benches/shapes.json holds lists of cases by part");
    let list = parts.get(part).and_then(|lists| lists.get(list)).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|label| Some(label.as_str()?.to_owned())).collect()
}

/// The cases of a part: all of them, or a few that are measured quickly.
pub(crate) fn cases(part: &str, quick: bool) -> Result<Vec<Case>, String> {
    labels(part, if quick { "quick" } else { "all" }).iter().map(|label| Case::parse(label)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_sizes_words_and_numbers() {
        let case = Case::parse("4096 x 16384 x 384, real, relative margin 0.05").expect("a case");
        assert_eq!((case.rows, case.candidates, case.dim), (4096, 16384, 384));
        assert!(case.is("real") && !case.is("in the bulk"));
        assert_eq!(case.number("relative margin"), Some(0.05));
        assert_eq!(case.number("at most"), None);
        assert!(Case::parse("1024 x 768").is_err() && Case::parse("a x b x c").is_err());
    }

    #[test]
    fn quick_cases_and_those_of_others_are_among_all() {
        for part in ["latency", "batches", "bank", "mining", "scaling", "floor"] {
            let all = labels(part, "all");
            assert!(!cases(part, false).expect("cases").is_empty() && !cases(part, true).expect("cases").is_empty());
            let some = labels(part, "peers").into_iter().chain(labels("README", part));
            assert!(some.clone().all(|label| all.contains(&label)), "{part}");
        }
    }
}
