//! Where built tools are kept across checkouts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `LAMINA_CACHE`, or `lamina` in the user's cache.
pub(crate) fn folder() -> Result<PathBuf> {
    let from = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("LAMINA_CACHE")
        .or_else(|| Some(from("XDG_CACHE_HOME")?.join("lamina")))
        .or_else(|| Some(from("HOME")?.join(".cache/lamina")))
        .context("neither LAMINA_CACHE nor HOME is set: no place for built tools")
}

/// `tools/<name>` in the cache, filled by `make` if it is not there. What is there is whole: it is
/// made beside and renamed.
pub(crate) fn tool(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = folder()?;
    let tool = cache.join("tools").join(name);
    if tool.is_dir() {
        return Ok(tool);
    }
    println!("making {name} in {}, once", cache.display());
    let draft = cache.join(format!("build/{name}-{}", std::process::id()));
    fs::create_dir_all(&draft).with_context(|| format!("cannot create {}", draft.display()))?;
    let made = make(&draft).and_then(|()| place(&draft, &tool));
    if draft.exists() {
        remove(&draft)?;
    }
    made.map(|()| tool)
}

fn place(draft: &Path, tool: &Path) -> Result<()> {
    let tools = tool.parent().context("a tool lies in a folder")?;
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    match fs::rename(draft, tool) {
        // Another run was first, and made the same.
        Err(_) if tool.is_dir() => Ok(()),
        renamed => renamed.with_context(|| format!("cannot create {}", tool.display())),
    }
}

pub(crate) fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))
}
