//! What takes how much space on disk: measured file by file, so that what no row owns is seen too.

use std::path::Path;

use lamina_core::{Error, Kind, Result};
use lamina_sys::fs;
use lamina_sys::{Outcome, SysError, tree};

use crate::Store;

/// The part that is the database with its log and its copies.
pub const DATABASE: &str = "database";

/// A part of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is: `blobs`, `ingests`, a snapshotter's name, `<snapshotter> (trash)`, `database`.
    pub name: String,
    /// How many things there are of it.
    pub entries: u64,
    /// Allocated bytes. Blocks that files share count for each of them.
    pub size: u64,
}

/// Measures every part. Snapshotters that never stored anything are left out.
///
/// # Errors
/// PermissionDenied and Internal, naming the directory that cannot be read.
pub fn parts(store: &Store) -> Result<Vec<Part>> {
    let root = &store.options().root;
    let content = root.join("io.containerd.content.v1.content");
    let mut parts = Vec::new();
    // Blobs lie one level deeper, by algorithm.
    let blobs = each_below(&content.join("blobs"))?;
    parts.push(sum("blobs", blobs.unwrap_or_default()));
    parts.push(sum("ingests", [measure(&content.join("ingest"))?.unwrap_or_default()]));
    for source in &store.options().snapshotters {
        let name = &source.name;
        let Some(below) = each_below(&store.snapshotter_root(name))? else { continue };
        let (trash, kept): (Vec<_>, Vec<_>) = below.into_iter().partition(|m| m.name == "trash");
        parts.push(sum(name, kept));
        parts.push(sum(&format!("{name} (trash)"), trash));
    }
    let database = measure(&root.join("io.containerd.metadata.v1.sqlite"))?;
    parts.push(sum(DATABASE, [database.unwrap_or_default()]));
    Ok(parts)
}

/// A directory: its name, its entries, and the space below them.
#[derive(Debug, Default)]
struct Measured {
    name: String,
    entries: u64,
    size: u64,
}

fn sum(name: &str, measured: impl IntoIterator<Item = Measured>) -> Part {
    let mut part = Part { name: name.to_owned(), entries: 0, size: 0 };
    for measured in measured {
        part.entries += measured.entries;
        part.size += measured.size;
    }
    part
}

/// Every directory directly below `path`; `None` if there is no `path`.
fn each_below(path: &Path) -> Result<Option<Vec<Measured>>> {
    let Some(dir) = open(path)? else { return Ok(None) };
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|e| failed(path, e))? {
        let entry = entry.map_err(|e| failed(path, e))?;
        all.extend(measure(&path.join(&entry.name))?);
    }
    Ok(Some(all))
}

/// The entries of the directory `path`; `None` if there is no directory.
fn measure(path: &Path) -> Result<Option<Measured>> {
    let Some(dir) = open(path)? else { return Ok(None) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut measured = Measured { name, ..Measured::default() };
    for entry in fs::read_dir(&dir).map_err(|e| failed(path, e))? {
        let entry = entry.map_err(|e| failed(path, e))?;
        match tree::usage_at(&dir, &entry.name, &mut || false) {
            Ok(used) => {
                measured.entries += 1;
                measured.size += used.size;
            }
            // Removed while we looked.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(failed(&path.join(&entry.name), error)),
        }
    }
    Ok(Some(measured))
}

fn open(path: &Path) -> Result<Option<std::os::fd::OwnedFd>> {
    match fs::open_dir(path) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if matches!(error.outcome(), Outcome::NotFound | Outcome::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(failed(path, error)),
    }
}

fn failed(path: &Path, error: SysError) -> Error {
    let kind = match error.outcome() {
        Outcome::PermissionDenied => Kind::PermissionDenied,
        _ => Kind::Internal,
    };
    Error::new(kind, format!("measure {}", path.display())).with_source(error)
}
