//! `lamina snapshot tree`

use std::collections::BTreeMap;

use clap::Args;
use futures_util::TryStreamExt as _;
use lamina_core::snapshot::Info;
use lamina_core::{Filters, Result};

use crate::cli::Context;
use crate::out::{FormatArg, SnapshotView, visible};

/// Shows which snapshot lies on which
#[derive(Debug, Args)]
pub(crate) struct Tree {
    #[command(flatten)]
    format: FormatArg,
}

impl Tree {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let snapshotter = cx.snapshotter(&session)?;
        let snapshots = snapshotter.walk(Filters::default()).try_concat().await?;
        let ordered = order(&snapshots);
        if self.format.is_json() {
            let views = ordered
                .into_iter()
                .map(|(depth, info)| Node { depth, snapshot: SnapshotView::from(info.clone()) });
            return cx.out.json(&views.collect::<Vec<_>>());
        }
        ordered.into_iter().try_for_each(|(depth, info)| cx.line(line(depth, &info.name)))
    }
}

/// A snapshot and how many lie below it; children follow their parent.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    depth: usize,
    #[serde(flatten)]
    snapshot: SnapshotView,
}

/// A line as ctr draws it.
fn line(depth: usize, name: &str) -> String {
    let branch = if depth == 0 { "" } else { "\\_" };
    format!("{}{branch} {}", "  ".repeat(depth), visible(name))
}

/// Every snapshot behind its parent, with its depth, siblings in the order given. By a stack of our
/// own: chains are as long as somebody made them.
fn order(snapshots: &[Info]) -> Vec<(usize, &Info)> {
    let mut children: BTreeMap<&str, Vec<&Info>> = BTreeMap::new();
    for info in snapshots {
        children.entry(&info.parent).or_default().push(info);
    }
    let below = |parent: &str, depth: usize| {
        let infos = children.get(parent).map(Vec::as_slice).unwrap_or_default();
        infos.iter().rev().map(move |info| (depth, *info)).collect::<Vec<_>>()
    };
    let mut stack = below("", 0);
    let mut ordered = Vec::with_capacity(snapshots.len());
    while let Some((depth, info)) = stack.pop() {
        ordered.push((depth, info));
        stack.extend(below(&info.name, depth + 1));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use lamina_core::Labels;
    use lamina_core::snapshot::Kind;

    fn info(name: &str, parent: &str) -> Info {
        let (created, updated) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let (name, parent) = (name.to_owned(), parent.to_owned());
        Info { kind: Kind::Committed, name, parent, labels: Labels::new(), created, updated }
    }

    #[test]
    fn children_follow_parents() {
        let all = [info("a", "c"), info("b", ""), info("c", "b"), info("d", "b"), info("e", "")];
        let lines: Vec<String> =
            order(&all).into_iter().map(|(depth, info)| line(depth, &info.name)).collect();
        assert_eq!(lines, [" b", "  \\_ c", "    \\_ a", "  \\_ d", " e"]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let names: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        let mut all = vec![info("0", "")];
        all.extend(names.windows(2).map(|pair| info(&pair[1], &pair[0])));
        assert_eq!(order(&all).last().unwrap().0, 19_999);
    }
}
