//! `lamina info`

use clap::Args;
use lamina_core::Result;
use lamina_store::snapshot::State;
use lamina_store::{Durability, content::Sharing};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::out::FormatArg;

/// Shows the store, its snapshotters and what the kernel can do
#[derive(Debug, Args)]
pub(crate) struct Info {
    #[command(flatten)]
    format: FormatArg,
}

/// File systems that snapshotters and mounts use.
const FILE_SYSTEMS: [&str; 7] = ["btrfs", "erofs", "ext4", "fuse", "overlay", "xfs", "zfs"];

impl Info {
    pub(super) fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect()?;
        let store = session.local();
        let facts = [
            ("Version", json!(super::version::LINE)),
            ("Root", json!(cx.settings.config.root)),
            ("State", json!(cx.settings.config.state)),
            ("UUID", json!(store.uuid()?)),
            ("SchemaVersion", json!(lamina_store::SCHEMA_VERSION)),
            ("Durability", json!(durability(cx.settings.config.durability))),
            ("ContentSharing", json!(sharing(cx.settings.config.sharing))),
            ("Namespace", json!(cx.settings.namespace.as_str())),
            ("Snapshotter", json!(cx.settings.snapshotter)),
            ("Snapshotters", json!(snapshotters(store.snapshotters()))),
            ("Kernel", json!(kernel())),
            ("KernelFileSystems", json!(file_systems())),
            ("User", json!(user())),
        ];
        if self.format.is_json() {
            let map: serde_json::Map<String, Value> =
                facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            return cx.out.json(&map);
        }
        for (name, value) in &facts {
            cx.line(format_args!("{name}: {}", text(value)))?;
        }
        Ok(())
    }
}

/// A value as people read it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let pairs = map.iter().map(|(name, value)| format!("{name} ({})", text(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn snapshotters(states: Vec<(String, State)>) -> serde_json::Map<String, Value> {
    let word = |state: &State| match state {
        State::Ready(_) => "ok",
        State::Skipped(_) => "skip",
        State::Failed(..) => "error",
    };
    states.into_iter().map(|(name, state)| (name, json!(word(&state)))).collect()
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Full => "full",
        Durability::None => "none",
    }
}

fn sharing(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Shared => "shared",
        Sharing::Isolated => "isolated",
    }
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Those of [`FILE_SYSTEMS`] that the kernel has now; others may come with a module.
fn file_systems() -> Vec<&'static str> {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| known.lines().any(|line| line.split('\t').next_back() == Some(name));
    FILE_SYSTEMS.into_iter().filter(|name| has(name)).collect()
}

fn user() -> &'static str {
    if rustix::process::geteuid().is_root() { "root" } else { "not root" }
}
