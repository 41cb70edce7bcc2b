//! The services over records, over the daemon's socket: each status that is documented, and what the
//! calls do.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests are tests.

mod containers;
mod images;
mod leases;
mod mounts;
mod namespaces;
mod runtime;
mod sandboxes;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

/// Labels or annotations.
fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Texts as requests have them.
fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
