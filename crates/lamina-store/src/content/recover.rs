//! What a start drops: files that no row owns, rows whose files are gone.

use std::fs;
use std::io;
use std::path::Path;

use lamina_core::{Digest, Error, Result};

use super::disk::Disk;
use super::store::{PAGE, Store};
use crate::db::Db;
use crate::io::failed;

/// Makes the directories, unless all are gone that the database counts on.
pub(super) fn make_root(db: &Db, disk: &Disk) -> Result<()> {
    let root = disk.root();
    if !disk.blobs().exists() && !db.read(|read| read.live_blobs("", 1))?.is_empty() {
        return Err(Error::data_loss(format!(
            "the database lists blobs but {} is not there: is a file system not mounted? To begin \
             with no blobs, make this directory",
            disk.blobs().display()
        )));
    }
    for dir in [root, &disk.blobs(), &disk.ingests()] {
        disk.make_dir(dir)?;
    }
    disk.make_dir(&disk.blobs_of(lamina_core::digest::Algorithm::Sha256))
}

/// Brings rows and files together. Nothing else uses the store yet. Memory stays bounded: names are
/// looked up a batch at a time, rows are read in pages.
pub(super) fn recover(store: &Store) -> Result<()> {
    // Rows first: the directory of a row that goes is then garbage.
    ingest_rows(store)?;
    ingest_dirs(store)?;
    blob_files(store)?;
    blob_rows(store)?;
    match store.reap() {
        Ok(0) => {}
        Ok(gone) => tracing::debug!(gone, "dropped blobs that nobody had any more"),
        Err(error) => tracing::warn!(error = error.chain(), "dead blobs stay for now"),
    }
    Ok(())
}

/// Ingest directories without a row go.
fn ingest_dirs(store: &Store) -> Result<()> {
    let (db, disk) = (&store.0.db, &store.0.disk);
    each_batch(&disk.ingests(), |names| {
        let garbage = db.read(|read| {
            let mut garbage = Vec::new();
            for name in names {
                if !read.has_ingest_dir(&name)? {
                    garbage.push(name);
                }
            }
            Ok(garbage)
        })?;
        garbage.iter().try_for_each(|name| {
            tracing::debug!(name, "dropped the files of an ingest that was never begun");
            disk.remove_ingest(name)
        })
    })
}

/// Ingest rows without data go: nothing of them was durable, or a commit was cut before its rows.
fn ingest_rows(store: &Store) -> Result<()> {
    let (db, disk) = (&store.0.db, &store.0.disk);
    let mut after = String::new();
    loop {
        let page = db.read(|read| read.ingest_dirs(&after, PAGE))?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(last);
        let lost: Vec<String> = page.into_iter().filter(|dir| !disk.data(dir).exists()).collect();
        if !lost.is_empty() {
            db.write(move |tx| lost.iter().try_for_each(|dir| tx.lose_ingest(dir)))?;
        }
    }
}

/// Files among the blobs without a row go: their commit was cut before its transaction. What is not
/// named by a digest is not ours and stays.
fn blob_files(store: &Store) -> Result<()> {
    let (db, disk) = (&store.0.db, &store.0.disk);
    each_batch(&disk.blobs(), |algorithms| {
        algorithms.iter().try_for_each(|algorithm| {
            each_batch(&disk.blobs().join(algorithm), |names| {
                let garbage = db.read(|read| {
                    let mut garbage = Vec::new();
                    for name in names {
                        match Digest::parse(&format!("{algorithm}:{name}")) {
                            Ok(digest) if read.blob(&digest)?.is_none() => garbage.push(digest),
                            Ok(_) => {}
                            Err(_) => tracing::warn!(algorithm, name, "not a blob, left alone"),
                        }
                    }
                    Ok(garbage)
                })?;
                garbage.iter().try_for_each(|digest| {
                    tracing::debug!(%digest, "dropped a file that was never listed");
                    disk.remove_blob(digest)
                })
            })
        })
    })
}

/// Live blobs whose file is missing or short are taken from who has them.
fn blob_rows(store: &Store) -> Result<()> {
    let (db, disk) = (&store.0.db, &store.0.disk);
    let mut after = String::new();
    loop {
        let page = db.read(|read| read.live_blobs(&after, PAGE))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.digest.to_string();
        for row in page {
            let len = disk.blob_len(&row.digest)?;
            if len == Some(row.size) {
                continue;
            }
            let lost = row.digest.clone();
            let had = db.write(move |tx| tx.lose_blob(&lost))?;
            tracing::warn!(
                digest = %row.digest, size = row.size, ?len, namespaces = ?had,
                "the file of a blob is lost; fetch it again"
            );
        }
    }
}

/// Gives the names in a directory to `take`, a batch at a time. A missing directory has none, and a
/// file is none. Names that are not UTF-8 are not ours.
pub(super) fn each_batch(
    dir: &Path,
    mut take: impl FnMut(Vec<String>) -> Result<()>,
) -> Result<()> {
    let what = || format!("list {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(e) => return Err(failed(what())(e)),
    };
    let mut batch = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed(what()))?.file_name();
        batch.extend(name.into_string());
        if batch.len() == PAGE {
            take(std::mem::take(&mut batch))?;
        }
    }
    if batch.is_empty() { Ok(()) } else { take(batch) }
}
