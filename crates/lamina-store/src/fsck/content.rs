//! Blobs and ingests: rows against files, and bytes against digests.

use lamina_core::Result;

use super::{Code, FsckOptions, Report};
use crate::Store;
use crate::content::BlobState;

/// Rows per read transaction.
const PAGE: usize = 256;

pub(super) fn check(store: &Store, options: FsckOptions, report: &mut Report) -> Result<()> {
    live_blobs(store, options, report)?;
    stray_blobs(store, options, report)?;
    dead_blobs(store, options, report)?;
    ingests(store, report)?;
    stray_ingests(store, options, report)
}

fn live_blobs(store: &Store, options: FsckOptions, report: &mut Report) -> Result<()> {
    let (db, content) = (store.db(), store.blobs());
    let mut after = String::new();
    loop {
        let page = db.read(|r| r.live_blobs(&after, PAGE))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.digest.to_string();
        for row in page {
            report.blobs += 1;
            let unowned = db.read(|r| {
                Ok(r.blob_is_live(&row.digest)? && r.content_owners(&row.digest)?.is_empty())
            })?;
            if unowned {
                report.add(Code::BlobUnowned, &row.digest, "no namespace has it");
            }
            let verify = options.verify_blobs;
            if content.check_blob(&row.digest, row.size, verify)? == BlobState::Good {
                continue;
            }
            // Removed meanwhile, or fetched again, is not lost.
            let finding = match content.recheck_blob(&row.digest, verify, options.repair)? {
                BlobState::Good => continue,
                BlobState::Lost(what) => report.add(Code::BlobLost, &row.digest, what),
                BlobState::Corrupt(found) => {
                    report.add(Code::BlobCorrupt, &row.digest, format!("its bytes are {found}"))
                }
            };
            if options.repair {
                finding.detail.push_str("; it was taken from who had it: fetch it again");
                finding.repaired = true;
            }
        }
    }
}

fn stray_blobs(store: &Store, options: FsckOptions, report: &mut Report) -> Result<()> {
    for digest in store.blobs().stray_blobs()? {
        let finding = report.add(Code::BlobStray, &digest, "no row names it");
        if options.repair {
            store.blobs().drop_stray(&digest)?;
            finding.repaired = true;
        }
    }
    Ok(())
}

fn dead_blobs(store: &Store, options: FsckOptions, report: &mut Report) -> Result<()> {
    if options.repair
        && let Err(error) = store.blobs().reap()
    {
        tracing::warn!(error = %error.chain(), "some blobs could not be removed");
    }
    for row in store.db().read(|r| r.dead_blobs("", PAGE))? {
        report.add(Code::BlobDead, &row.digest, "removed, and still on disk");
    }
    Ok(())
}

fn ingests(store: &Store, report: &mut Report) -> Result<()> {
    for namespace in store.db().read(|r| r.gc_namespaces())? {
        for row in store.db().read(|r| r.ingests(&namespace))? {
            report.ingests += 1;
            let have = store.blobs().ingest_len(&row.dir)?;
            let short = have.is_some_and(|have| have < row.durable);
            // One that was cut or begun anew meanwhile has another row now.
            if short
                && store.db().read(|r| r.ingest(&namespace, &row.reference))? == Some(row.clone())
            {
                let detail = format!("{} bytes were durable, {have:?} are here", row.durable);
                report.add(Code::IngestShort, format!("{namespace}/{}", row.reference), detail);
            }
        }
    }
    Ok(())
}

fn stray_ingests(store: &Store, options: FsckOptions, report: &mut Report) -> Result<()> {
    for dir in store.blobs().stray_ingests()? {
        let dropped = options.repair && store.blobs().drop_stray_ingest(&dir)?;
        // One that was begun meanwhile is somebody's.
        if dropped || !options.repair {
            report.add(Code::IngestStray, &dir, "no row names it").repaired = dropped;
        }
    }
    Ok(())
}
