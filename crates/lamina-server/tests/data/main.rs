//! The services Content, Snapshots and Diff, over the socket: each status, streams, and clients that
//! vanish.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // This is all tests.

mod content;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
mod write;

use std::collections::BTreeMap;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
