//! Labels as arguments (`key=value`) and in listings (`key=value,key=value`).

use lamina_core::{Labels, Result, labels};

/// One `key=value`; an empty value deletes the label where labels are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelArg {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl std::str::FromStr for LabelArg {
    type Err = lamina_core::Error;

    /// `key` alone is `key=`: ctr reads it so.
    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        labels::check_one(key, value)?;
        Ok(LabelArg { key: key.to_owned(), value: value.to_owned() })
    }
}

/// The labels of a new thing.
pub(crate) fn of(args: &[LabelArg]) -> Labels {
    let given = args.iter().filter(|arg| !arg.value.is_empty());
    given.map(|arg| (arg.key.clone(), arg.value.clone())).collect()
}

/// The field paths that change just these labels.
pub(crate) fn paths(args: &[LabelArg]) -> Vec<String> {
    args.iter().map(|arg| format!("labels.{}", arg.key)).collect()
}

/// As a listing shows them, by key.
pub(crate) fn join(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// [`join`], with a hyphen for none: for columns where ctr has one.
pub(crate) fn join_or_hyphen(labels: &Labels) -> String {
    if labels.is_empty() { "-".to_owned() } else { join(labels) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let args: Vec<LabelArg> = ["a=1", "b=", "c", "d=x=y"].map(|t| t.parse().unwrap()).to_vec();
        assert_eq!(join(&of(&args)), "a=1,d=x=y");
        assert_eq!(paths(&args), ["labels.a", "labels.b", "labels.c", "labels.d"]);
        assert!("=1".parse::<LabelArg>().is_err());
        assert!(format!("k={}", "v".repeat(4096)).parse::<LabelArg>().is_err());
    }
}
