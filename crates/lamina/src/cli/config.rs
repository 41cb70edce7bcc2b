//! The configuration file: TOML with containerd's names for what containerd has too.
//!
//! ```toml
//! version = 3
//! root = "/var/lib/lamina"
//! state = "/run/lamina"
//! durability = "full"                         # or "none"; ours
//!
//! [plugins."io.containerd.metadata.v1.bolt"]
//! content_sharing_policy = "shared"           # or "isolated"
//!
//! [plugins."io.containerd.snapshotter.v1.overlayfs"]
//! root_path = "/data/overlayfs"
//! mount_options = ["volatile"]
//! upperdir_label = false
//! sync_remove = false
//! slow_chown = false
//! ```
//! `native` and `btrfs` have `root_path`; [`limits`] has `[limits]`. What is not listed here has no effect, and a warning names
//! it; a listed setting with a value of another type is an error.

mod limits;

use std::path::{Path, PathBuf};

use lamina_core::{Error, Kind, Result};
pub(crate) use lamina_store::Durability;
pub(crate) use lamina_store::content::Sharing;
use lamina_store::snapshot::drivers::{self, RootConfig, overlay};
use toml::{Table, Value};

pub(crate) use limits::Limits;

/// Read when no file is named; it need not be there.
pub(super) const DEFAULT_FILE: &str = "/etc/lamina/config.toml";

/// The versions of containerd's format whose names we know. Version 1 had short plugin names.
const VERSIONS: std::ops::RangeInclusive<i64> = 2..=4;

/// What a configuration file says.
#[derive(Debug)]
pub(crate) struct Config {
    pub(super) root: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) durability: Durability,
    pub(super) sharing: Sharing,
    pub(super) drivers: drivers::Config,
    pub(super) limits: Limits,
    pub(super) warnings: Vec<String>,
}

/// Reads the file that was named, or the default one if it is there.
///
/// # Errors
/// NotFound for a named file that is missing; InvalidArgument, with file and setting, for what
/// cannot be understood.
pub(super) fn load(named: Option<&Path>) -> Result<Config> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            String::new()
        }
        Err(error) => {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
                _ => Kind::InvalidArgument,
            };
            let message = format!("read the configuration file {shown}");
            return Err(Error::new(kind, message).with_source(error));
        }
    };
    parse(&text).map_err(|error| error.context(format!("configuration file {shown}"))).map(
        |mut config| {
            config.warnings.iter_mut().for_each(|warning| *warning = format!("{shown}: {warning}"));
            config
        },
    )
}

fn parse(text: &str) -> Result<Config> {
    let not_toml =
        |error: toml::de::Error| Error::invalid_argument("it is not TOML").with_source(error);
    let table: Table = text.parse().map_err(not_toml)?;
    let mut file = Section { path: String::new(), table };
    if let Some(version) = file.take("version", Value::as_integer, "a number")?
        && !VERSIONS.contains(&version)
    {
        return Err(Error::invalid_argument(format!(
            "version {version} is not supported, only {} to {}",
            VERSIONS.start(),
            VERSIONS.end()
        )));
    }
    let root = file.path("root")?;
    let state = file.path("state")?;
    let words = [("full", Durability::Full), ("none", Durability::None)];
    let durability = file.word("durability", &words)?.unwrap_or(Durability::Full);
    let mut caps = file.section("limits")?;
    let limits = Limits::read(&mut caps)?;
    let mut plugins = file.section("plugins")?;

    let mut metadata = plugins.section("io.containerd.metadata.v1.bolt")?;
    let words = [("shared", Sharing::Shared), ("isolated", Sharing::Isolated)];
    let sharing = metadata.word("content_sharing_policy", &words)?.unwrap_or(Sharing::Shared);

    let mut overlay = plugins.section("io.containerd.snapshotter.v1.overlayfs")?;
    let mut native = plugins.section("io.containerd.snapshotter.v1.native")?;
    let mut btrfs = plugins.section("io.containerd.snapshotter.v1.btrfs")?;
    let drivers = drivers::Config {
        overlayfs: overlay::Config {
            root_path: overlay.path("root_path")?,
            mount_options: overlay.texts("mount_options")?,
            upperdir_label: overlay.flag("upperdir_label")?,
            sync_remove: overlay.flag("sync_remove")?,
            slow_chown: overlay.flag("slow_chown")?,
        },
        native: RootConfig { root_path: native.path("root_path")? },
        btrfs: RootConfig { root_path: btrfs.path("root_path")? },
    };

    let mut warnings = Vec::new();
    for rest in [file, caps, plugins, metadata, overlay, native, btrfs] {
        rest.unknown(&mut warnings);
    }
    Ok(Config { root, state, durability, sharing, drivers, limits, warnings })
}

/// A table from which settings are taken, so that what nobody took is left over.
struct Section {
    /// How a message names it; empty for the whole file.
    path: String,
    table: Table,
}

impl Section {
    fn name(&self, key: &str) -> String {
        let key = match key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            true => key.to_owned(),
            false => format!("{key:?}"),
        };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    fn take<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
        wanted: &str,
    ) -> Result<Option<T>> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let Some(value) = read(&value) else {
            let name = self.name(key);
            return Err(Error::invalid_argument(format!("setting {name} must be {wanted}")));
        };
        Ok(Some(value))
    }

    fn section(&mut self, key: &str) -> Result<Section> {
        let path = self.name(key);
        let table = self.take(key, |value| value.as_table().cloned(), "a table")?;
        Ok(Section { path, table: table.unwrap_or_default() })
    }

    /// A path; containerd writes an empty one for "the default".
    fn path(&mut self, key: &str) -> Result<Option<PathBuf>> {
        let read = |value: &Value| {
            let text = value.as_str()?;
            (text.is_empty() || text.starts_with('/')).then(|| PathBuf::from(text))
        };
        let path = self.take(key, read, "an absolute path")?;
        Ok(path.filter(|path| !path.as_os_str().is_empty()))
    }

    fn flag(&mut self, key: &str) -> Result<bool> {
        Ok(self.take(key, Value::as_bool, "true or false")?.unwrap_or_default())
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let read = |value: &Value| value.as_array()?.iter().map(text).collect();
        Ok(self.take(key, read, "a list of texts")?.unwrap_or_default())
    }

    fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        let read = |value: &Value| {
            let text = value.as_str()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
        };
        let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.take(key, read, &known.join(" or "))
    }

    /// Names what is left.
    fn unknown(self, warnings: &mut Vec<String>) {
        for key in self.table.keys() {
            let name = self.name(key);
            warnings.push(format!("setting {name} is not supported and has no effect"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_known_is_read() {
        let config = parse(
            r#"
            version = 3
            root = "/r"
            state = "/s"
            durability = "none"
            [plugins."io.containerd.metadata.v1.bolt"]
            content_sharing_policy = "isolated"
            [plugins."io.containerd.snapshotter.v1.overlayfs"]
            root_path = "/o"
            mount_options = ["volatile"]
            upperdir_label = true
            sync_remove = true
            slow_chown = true
            [plugins."io.containerd.snapshotter.v1.native"]
            root_path = ""
            [plugins."io.containerd.snapshotter.v1.btrfs"]
            root_path = "/b"
            "#,
        )
        .unwrap();
        assert_eq!(config.root.as_deref(), Some(Path::new("/r")));
        assert_eq!(config.state.as_deref(), Some(Path::new("/s")));
        assert_eq!(config.durability, Durability::None);
        assert_eq!(config.sharing, Sharing::Isolated);
        let overlayfs = overlay::Config {
            root_path: Some("/o".into()),
            mount_options: vec!["volatile".into()],
            upperdir_label: true,
            sync_remove: true,
            slow_chown: true,
        };
        let root = |path: Option<&str>| RootConfig { root_path: path.map(PathBuf::from) };
        let drivers = drivers::Config { overlayfs, native: root(None), btrfs: root(Some("/b")) };
        assert_eq!(config.drivers, drivers);
        assert_eq!(config.warnings, [] as [String; 0]);
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let config = parse(
            r#"
            oom_score = 1
            [plugins."io.containerd.snapshotter.v1.overlayfs"]
            asynchronous = true
            [plugins."io.containerd.cri.v1.images"]
            snapshotter = "x"
            "#,
        )
        .unwrap();
        let named: Vec<&str> =
            config.warnings.iter().map(|w| w.split_whitespace().nth(1).unwrap()).collect();
        assert_eq!(
            named,
            [
                "oom_score",
                "plugins.\"io.containerd.cri.v1.images\"",
                "plugins.\"io.containerd.snapshotter.v1.overlayfs\".asynchronous",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (text, says) in [
            ("root = ", "it is not TOML"),
            ("version = 1", "version 1 is not supported"),
            ("version = \"3\"", "version must be a number"),
            ("root = \"here\"", "setting root must be an absolute path"),
            ("durability = \"some\"", "durability must be \"full\" or \"none\""),
            ("plugins = 1", "plugins must be a table"),
            (
                "[plugins.\"io.containerd.snapshotter.v1.overlayfs\"]\nmount_options = \"x\"",
                "overlayfs\".mount_options must be a list of texts",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{text}");
            assert!(error.chain().contains(says), "{text}: {}", error.chain());
        }
    }
}
