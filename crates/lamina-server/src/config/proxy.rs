//! Plugins in processes of their own: `[proxy_plugins.<name>]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lamina_store::snapshot::Source;
use lamina_store::snapshot::driver::Capabilities;
use toml::{Table, Value};

use super::value::{Field, Wanted};
use crate::differs::OWN;

/// A plugin that is reached through a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// What it is.
    pub kind: ProxyKind,
    /// The socket it listens on.
    pub address: PathBuf,
    /// The platform it works for, if it is not this host's.
    pub platform: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What it tells clients.
    pub exports: BTreeMap<String, String>,
}

/// What a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// A snapshotter.
    Snapshotter,
    /// A content store.
    Content,
    /// What makes and lays layers.
    Differ,
    /// A controller of sandboxes.
    Sandbox,
}

/// Short names, the types of plugin, and what they are.
const KINDS: [(&str, &str, ProxyKind); 4] = [
    ("snapshot", "io.containerd.snapshotter.v1", ProxyKind::Snapshotter),
    ("content", "io.containerd.content.v1", ProxyKind::Content),
    ("diff", "io.containerd.differ.v1", ProxyKind::Differ),
    ("sandbox", "io.containerd.sandbox.controller.v1", ProxyKind::Sandbox),
];

impl ProxyKind {
    /// The type of plugin.
    pub fn plugin_type(self) -> &'static str {
        KINDS.iter().find(|(_, _, kind)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

impl Proxy {
    /// Why the proxy `name` is not used, if it is not.
    pub(crate) fn refused(&self, name: &str, built_in: &[Source]) -> Option<&'static str> {
        match self.kind {
            ProxyKind::Snapshotter if built_in.iter().any(|source| source.name == name) => {
                Some("a built-in snapshotter has this name")
            }
            ProxyKind::Differ if OWN.contains(&name) => Some("a built-in differ has this name"),
            ProxyKind::Snapshotter | ProxyKind::Differ => None,
            // Rows, files and what they keep from being collected change together here, which another
            // process' store cannot take part in.
            ProxyKind::Content => Some(
                "blobs are kept with the records that refer to them, so another content store cannot \
                 take the place of this one",
            ),
            ProxyKind::Sandbox => Some("proxies of this type are not supported"),
        }
    }

    /// What it says it can do, as far as a snapshotter's caller has to know.
    pub(crate) fn can(&self) -> Capabilities {
        let says = |word: &str| self.capabilities.iter().any(|said| said == word);
        Capabilities {
            rebase: says("rebase"),
            remap_ids: says("remap-ids"),
            only_remap_ids: says("only-remap-ids"),
        }
    }

    /// Whether pulls are to tell it which image a layer belongs to.
    pub(crate) fn wants_annotations(&self) -> bool {
        self.exports.get("enable_remote_snapshot_annotations").is_some_and(|word| word == "true")
    }

    /// Reads one; keys that no proxy has are added to `unknown`.
    pub(super) fn read(
        mut table: Table,
        unknown: &mut Vec<String>,
    ) -> Result<Proxy, (&'static str, Wanted)> {
        let mut text = |key: &'static str| -> Result<Option<String>, (&'static str, Wanted)> {
            let value = table.remove(key);
            Ok(value.map(|value| Field::read(&value)).transpose().map_err(|w| (key, w))?.flatten())
        };
        let name = text("type")?.unwrap_or_default();
        let kind = KINDS.iter().find(|(short, long, _)| [*short, *long].contains(&name.as_str()));
        let words = || KINDS.map(|(short, _, _)| format!("{short:?}")).join(" or ");
        let kind = kind.ok_or_else(|| ("type", words()))?.2;
        let address = text("address")?.unwrap_or_default();
        let path = address.strip_prefix("unix://").unwrap_or(&address);
        if !path.starts_with('/') {
            return Err(("address", "the absolute path of a socket".into()));
        }
        let address = path.into();
        let platform = text("platform")?;
        let capabilities = table.remove("capabilities").map(|value| Field::read(&value));
        let capabilities = capabilities.transpose().map_err(|wanted| ("capabilities", wanted))?;
        let exports = table.remove("exports").map_or(Ok(BTreeMap::new()), |value| {
            let text =
                |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
            let map = value.as_table().and_then(|table| table.iter().map(text).collect());
            map.ok_or(("exports", "a table of texts".into()))
        })?;
        unknown.extend(table.keys().cloned());
        let capabilities = capabilities.flatten().unwrap_or_default();
        Ok(Proxy { kind, address, platform, capabilities, exports })
    }

    /// What reads back as this.
    pub(super) fn write(&self) -> Table {
        let exports = self.exports.iter().map(|(key, text)| (key.clone(), text.write()));
        Table::from_iter([
            ("type".to_owned(), Value::from(self.kind.plugin_type())),
            ("address".to_owned(), self.address.write()),
            ("platform".to_owned(), self.platform.write()),
            ("capabilities".to_owned(), self.capabilities.write()),
            ("exports".to_owned(), Value::Table(exports.collect())),
        ])
    }
}
