//! From files to a configuration: versions, imports, and what is left over.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use lamina_core::{Error, Kind, Result};
use toml::{Table, Value};

use super::settings::{AS_HERE, GROUPS};
use super::value::Field;
use super::{Config, Proxy, ProxyKind, names};

/// Read when no file is named; it need not be there.
pub const DEFAULT_FILE: &str = "/etc/lamina/config.toml";

/// The newest version of containerd's format that we know.
pub(super) const NEWEST: i64 = 4;

/// A configuration and what of its files has no effect.
#[derive(Debug)]
pub struct Loaded {
    /// What the files say.
    pub config: Config,
    /// One line each, with the file's name.
    pub warnings: Vec<String>,
}

/// Reads the file that was named, or the default one if it is there, and what it imports. A later
/// file wins over an earlier one setting by setting; lists of plugins add up.
///
/// # Errors
/// NotFound for a named or imported file that is missing; InvalidArgument, with file and setting,
/// for what cannot be understood.
pub fn load(named: Option<&Path>) -> Result<Loaded> {
    let first = named.unwrap_or(Path::new(DEFAULT_FILE));
    let mut loaded = Loaded { config: Config::default(), warnings: Vec::new() };
    if named.is_none() && !first.exists() {
        return Ok(loaded);
    }
    let mut pending = VecDeque::from([first.to_owned()]);
    let mut seen = BTreeSet::new();
    let mut newest = None;
    while let Some(path) = pending.pop_front() {
        // Files may import each other, and name each other in many ways.
        if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            continue;
        }
        let text = read(&path)?;
        let imports = loaded
            .add(&text, &path, &mut newest)
            .map_err(|error| error.context(format!("configuration file {}", path.display())))?;
        for import in imports {
            pending.extend(find(&path, &import)?);
        }
    }
    Ok(loaded)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
            _ => Kind::InvalidArgument,
        };
        let message = format!("read the configuration file {}", path.display());
        Error::new(kind, message).with_source(error)
    })
}

impl Loaded {
    /// Takes over what one file says, and answers what it imports. `newest` is the version of the
    /// first file: those it imports must not be newer.
    fn add(&mut self, text: &str, path: &Path, newest: &mut Option<i64>) -> Result<Vec<String>> {
        let not_toml =
            |error: toml::de::Error| Error::invalid_argument("it is not TOML").with_source(error);
        let mut file: Table = text.parse().map_err(not_toml)?;
        let version = match take(&mut file, &[], "version")? {
            None => 0,
            Some(value) => value.as_integer().ok_or_else(|| must(&["version"], "a number"))?,
        };
        if !(0..=NEWEST).contains(&version) {
            let message = format!("version {version} is not supported, only up to {NEWEST}");
            return Err(Error::invalid_argument(message));
        }
        let most = *newest.get_or_insert(version);
        if version > most {
            let message =
                format!("it is of version {version}, and what imports it of version {most}");
            return Err(Error::invalid_argument(message));
        }
        if version < 2 {
            names::lengthen(&mut file);
        }
        let imports = match take(&mut file, &[], "imports")? {
            None => Vec::new(),
            Some(value) => <Vec<String>>::read(&value)
                .map_err(|wanted| must(&["imports"], &wanted))?
                .unwrap_or_default(),
        };
        let mut warnings = self.config.apply(&mut file)?;
        left_over(&file, &mut Vec::new(), &mut warnings);
        let shown = path.display();
        self.warnings.extend(warnings.into_iter().map(|warning| format!("{shown}: {warning}")));
        Ok(imports)
    }
}

impl Config {
    /// Takes what is known out of `file`, and tells what of it nothing goes by.
    fn apply(&mut self, file: &mut Table) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        let default = Config::default();
        for group in GROUPS {
            // What a file says by the newer name wins.
            let older = (!group.older.is_empty()).then_some(group.older);
            for table in older.into_iter().chain([group.path]) {
                for setting in group.settings {
                    let Some(value) = take(file, table, setting.key)? else { continue };
                    let path = [table, &[setting.key]].concat();
                    (setting.set)(self, &value).map_err(|wanted| must(&path, &wanted))?;
                    if !group.used && (setting.get)(self) != (setting.get)(&default) {
                        warnings.push(idle(&path));
                    }
                }
            }
        }
        for (name, value) in tables(file, "timeouts")? {
            let path = ["timeouts", name.as_str()];
            let limit = Duration::read(&value).map_err(|wanted| must(&path, &wanted))?;
            self.timeouts.extend(limit.map(|limit| (name.clone(), limit)));
            if !crate::runtime::LIMITS.contains(&name.as_str()) {
                warnings.push(idle(&path));
            }
        }
        for (name, value) in tables(file, "proxy_plugins")? {
            let path = ["proxy_plugins", name.as_str()];
            let Value::Table(table) = value else { return Err(must(&path, "a table")) };
            let mut unknown = Vec::new();
            let proxy = Proxy::read(table, &mut unknown)
                .map_err(|(key, wanted)| must(&["proxy_plugins", &name, key], &wanted))?;
            if proxy.kind != ProxyKind::Snapshotter {
                warnings.push(idle(&path));
            }
            warnings.extend(unknown.iter().map(|key| useless(&["proxy_plugins", &name, key])));
            self.proxies.insert(name, proxy);
        }
        Ok(warnings)
    }
}

/// Takes the value of `key` out of the table at `path`.
fn take(file: &mut Table, path: &[&str], key: &str) -> Result<Option<Value>> {
    let mut table = file;
    for (depth, name) in path.iter().enumerate() {
        table = match table.get_mut(*name) {
            None => return Ok(None),
            Some(Value::Table(table)) => table,
            Some(_) => return Err(must(&path[..=depth], "a table")),
        };
    }
    Ok(table.remove(key))
}

/// Takes the table `key` out of the file.
fn tables(file: &mut Table, key: &str) -> Result<Table> {
    match file.remove(key) {
        None => Ok(Table::new()),
        Some(Value::Table(table)) => Ok(table),
        Some(_) => Err(must(&[key], "a table")),
    }
}

/// Names what nobody took: each key of a table that has settings, other tables as a whole. What is
/// empty asks for nothing.
fn left_over<'a>(table: &'a Table, path: &mut Vec<&'a str>, warnings: &mut Vec<String>) {
    for (key, value) in table {
        path.push(key);
        match value {
            value if is_empty(value) => {}
            Value::Table(inner) if leads_to_settings(path) => left_over(inner, path, warnings),
            value if is_so_here(path, value) => {}
            _ => warnings.push(useless(path)),
        }
        path.pop();
    }
}

fn is_so_here(path: &[&str], value: &Value) -> bool {
    AS_HERE.contains(&(name(path).as_str(), value.to_string().as_str()))
}

/// Whether the table at `path`, or one in it, has settings that are known.
fn leads_to_settings(path: &[&str]) -> bool {
    let tables = GROUPS.iter().flat_map(|group| [group.path, group.older]);
    let here = name(path);
    let as_here = |known: &str| known.strip_prefix(&here).is_some_and(|rest| rest.starts_with('.'));
    tables.into_iter().any(|table| table.starts_with(path))
        || AS_HERE.iter().any(|(known, _)| as_here(known))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Table(table) => table.values().all(is_empty),
        _ => false,
    }
}

/// A setting as a file would name it.
pub(super) fn name(path: &[&str]) -> String {
    path.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(".")
}

fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !key.is_empty() && key.chars().all(bare) {
        true => key.to_owned(),
        false => Value::String(key.to_owned()).to_string(),
    }
}

fn must(path: &[&str], wanted: &str) -> Error {
    Error::invalid_argument(format!("setting {} must be {wanted}", name(path)))
}

fn useless(path: &[&str]) -> String {
    format!("setting {} is not supported and has no effect", name(path))
}

fn idle(path: &[&str]) -> String {
    format!("setting {} has no effect yet", name(path))
}

/// The files that an import of `parent` means: one, or as many as a pattern with `*` and `?` finds,
/// in order of their names.
fn find(parent: &Path, import: &str) -> Result<Vec<PathBuf>> {
    let directory = parent.parent().unwrap_or(Path::new("/"));
    let path = directory.join(import);
    if !import.contains('*') {
        return Ok(vec![path]);
    }
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        let pattern = match component {
            Component::Normal(name) => name.to_string_lossy(),
            other => {
                found.iter_mut().for_each(|path| path.push(other));
                continue;
            }
        };
        if !pattern.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        found = found.iter().flat_map(|directory| matching(directory, &pattern)).collect();
    }
    found.retain(|path| path.exists());
    Ok(found)
}

fn matching(directory: &Path, pattern: &str) -> BTreeSet<PathBuf> {
    // A directory that cannot be read has no matches, as a shell sees it.
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter(|entry| {
        let name = entry.file_name();
        fits(pattern.as_bytes(), name.to_string_lossy().as_bytes())
    });
    names.map(|entry| entry.path()).collect()
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            fits(rest, name) || name.split_first().is_some_and(|(_, name)| fits(pattern, name))
        }
        ([b'?', rest @ ..], [_, name @ ..]) => fits(rest, name),
        ([a, rest @ ..], [b, name @ ..]) => a == b && fits(rest, name),
        _ => false,
    }
}
