//! `lamina info`

use clap::Args;
use lamina_core::introspection::PluginInfo;
use lamina_core::{Filters, Introspection, Result};
use lamina_store::Durability;
use serde_json::{Value, json};

use crate::cli::{Context, Session, root_of};
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
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let introspection = session.introspection(cx.settings);
        let snapshotters = super::plugins::snapshotters(cx, &session).await?;
        let mut facts = vec![("Version", json!(super::version::LINE))];
        match &session {
            // What else it was started with it does not tell.
            Session::Daemon(daemon) => facts.extend([
                ("Address", json!(daemon.socket)),
                ("DaemonVersion", json!(daemon.client.version().await?.version)),
                ("Root", json!(root_of(&*introspection).await?)),
            ]),
            Session::Store(_) => facts.extend([
                ("Root", json!(cx.settings.config.root)),
                ("State", json!(cx.settings.config.state)),
                ("SchemaVersion", json!(lamina_store::SCHEMA_VERSION)),
                ("Durability", json!(durability(cx.settings.config.durability))),
            ]),
        }
        facts.extend([
            ("UUID", json!(introspection.server().await?.uuid)),
            ("ContentSharing", json!(sharing(&*introspection).await?)),
            ("Namespace", json!(cx.settings.namespace.as_str())),
            ("Snapshotter", json!(*cx.settings.snapshotter)),
            ("Snapshotters", json!(states(snapshotters))),
            ("Kernel", json!(kernel())),
            ("KernelFileSystems", json!(file_systems())),
            ("User", json!(user())),
        ]);
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

fn states(snapshotters: Vec<PluginInfo>) -> serde_json::Map<String, Value> {
    let state = |plugin: PluginInfo| (plugin.id.clone(), json!(plugin.status().to_string()));
    snapshotters.into_iter().map(state).collect()
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Full => "full",
        Durability::None => "none",
    }
}

/// How namespaces share content, as the plugin of the database tells it.
async fn sharing(introspection: &dyn Introspection) -> Result<Option<String>> {
    let filters = Filters::parse_all(&["type==io.containerd.metadata.v1"])?;
    let plugins = introspection.plugins(filters).await?;
    Ok(plugins.into_iter().find_map(|mut plugin| plugin.exports.remove("policy")))
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
