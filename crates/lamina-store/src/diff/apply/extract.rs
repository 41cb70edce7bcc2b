//! The loop over a layer's entries.

use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lamina_core::{Error, Result};

use super::content::Writer;
use super::create::create;
use super::error;
use super::header::{Kind, Record};
use super::name::EntryPath;
use super::opaque::delete;
use super::options::{ApplyOptions, Target};
use super::reader::TarReader;
use super::stray::remove_strays;
use super::tree::Tree;

/// What a stream came to.
#[derive(Debug)]
pub(super) struct Extracted {
    pub(super) entries: u64,
    pub(super) implied: Vec<PathBuf>,
    pub(super) whiteouts: Vec<PathBuf>,
}

/// Lays a tar stream down, and reads it to its end.
pub(super) fn extract(
    input: impl BufRead,
    target: &Target,
    options: &ApplyOptions<'_>,
) -> Result<Extracted> {
    let mut reader = TarReader::new(input, &options.limits);
    let mut tree = Tree::new(target, options.owners)?;
    let mut writer = Writer::new(options);
    while let Some(record) = reader.next()? {
        options.check_cancelled()?;
        options.steps.reach("diff.apply.entry")?;
        lay(&mut tree, &record, options, &mut reader, &mut writer)
            .map_err(|cause| error::at(shown(&record), cause))?;
    }
    options.steps.reach("diff.apply.end")?;
    let whiteouts = tree.whiteouts();
    let implied = tree.finish()?;
    remove_strays(target, &whiteouts)?;
    let entries = reader.entries();
    reader.drain(|| options.check_cancelled())?;
    Ok(Extracted { entries, implied, whiteouts })
}

fn lay<R: BufRead>(
    tree: &mut Tree<'_>,
    record: &Record,
    options: &ApplyOptions<'_>,
    reader: &mut TarReader<'_, R>,
    writer: &mut Writer<'_>,
) -> Result<()> {
    let Some(path) = EntryPath::parse(&record.path)? else {
        // The root is the snapshot's, and stays a directory (CVE-2021-29136).
        return match record.kind {
            Kind::Dir => Ok(()),
            _ => Err(Error::invalid_argument("the root can only be a directory")),
        };
    };
    if delete(tree, &path, record, options)? {
        return Ok(());
    }
    create(tree, &path, record, options, reader, writer)
}

fn shown(record: &Record) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(&record.path))
}
