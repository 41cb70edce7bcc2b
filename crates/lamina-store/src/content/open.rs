//! Opening an ingest: new, where it was left, or on a blob that is here already.

use std::sync::Arc;

use jiff::Timestamp;
use lamina_core::content::WriteOptions;
use lamina_core::digest::{Algorithm, Hasher};
use lamina_core::lease::ResourceType;
use lamina_core::{Digest, Error, Result, Scope};

use super::disk::dir_name;
use super::hash;
use super::store::Inner;
use super::writer::{Data, Source, Writer};
use crate::db::ingests::IngestRow;
use crate::io::failed;

/// The longest reference, in bytes; containerd's own are an image's name and a digest.
const MAX_REFERENCE: usize = 4096;

/// Opens `reference` for writing. Steps: `ingest.begin`, `ingest.made`, `ingest.row`.
pub(super) fn open(
    inner: &Arc<Inner>,
    scope: &Scope,
    reference: &str,
    options: WriteOptions,
) -> Result<Writer> {
    check_reference(reference)?;
    let space = &scope.namespace;
    let hold = inner.active.hold(space, reference)?;
    if let Some(expected) = &options.expected
        && inner.db.read(|read| read.has_content(space, expected))?
    {
        already_here(inner, scope, reference, expected)?;
        return Err(Error::already_exists(format!("content {expected}")));
    }
    inner.check_space(reference)?;
    inner.options.steps.reach("ingest.begin")?;
    let shared = match &options.expected {
        Some(expected) => inner.db.read(|read| inner.shareable(read, space, expected))?,
        None => None,
    };
    let now = Timestamp::now();
    let found = inner.db.read(|read| read.ingest(space, reference))?;
    let mut row = match found {
        Some(row) => continue_row(row, &options)?,
        None => IngestRow {
            reference: reference.to_owned(),
            dir: dir_name(space, reference),
            expected: options.expected,
            total: options.total,
            durable: 0,
            hash_state: None,
            started: now,
            updated: now,
        },
    };
    let source = match shared {
        Some(size) => {
            row.durable = 0;
            row.hash_state = None;
            row.total = size;
            Source::Shared(size)
        }
        None => Source::Own(open_data(inner, scope, &mut row)?),
    };
    let writer = Writer { inner: Arc::clone(inner), scope: scope.clone(), row, source, hold };
    inner.options.steps.reach("ingest.made")?;
    writer.begin()?;
    writer.hold.advance(writer.offset(), writer.row.updated);
    inner.options.steps.reach("ingest.row")?;
    Ok(writer)
}

impl Writer {
    /// The row, and the lease's hold on it. Without it, a new directory is garbage.
    fn begin(&self) -> Result<()> {
        let (scope, mut row) = (self.scope.clone(), self.row.clone());
        self.inner.db.write(move |tx| {
            row.updated = tx.now();
            tx.ensure_namespace(&scope.namespace)?;
            tx.put_ingest(&scope, &row)?;
            tx.hold(&scope, &ResourceType::Ingest, &row.reference)
        })
    }
}

/// The namespace has the blob: its lease holds it, and an ingest of it has no purpose any more.
fn already_here(inner: &Inner, scope: &Scope, reference: &str, digest: &Digest) -> Result<()> {
    let left = inner.db.read(|read| read.ingest(&scope.namespace, reference))?;
    if left.is_none() && scope.lease.is_none() {
        return Ok(());
    }
    let (scope, reference, digest) = (scope.clone(), reference.to_owned(), digest.clone());
    inner.db.write(move |tx| {
        tx.hold(&scope, &ResourceType::Content, digest.as_str())?;
        tx.delete_ingest(&scope.namespace, &reference).map(drop)
    })?;
    match left {
        Some(row) => inner.disk.remove_ingest(&row.dir),
        None => Ok(()),
    }
}

/// What is known of an ingest that goes on. One that is now expected to be another blob starts again.
fn continue_row(mut row: IngestRow, options: &WriteOptions) -> Result<IngestRow> {
    let other_blob = matches!(
        (&row.expected, &options.expected),
        (Some(before), Some(now)) if before != now
    );
    if other_blob {
        row.durable = 0;
        row.hash_state = None;
        row.total = options.total;
    } else if row.total > 0 && options.total > 0 && row.total != options.total {
        return Err(Error::failed_precondition(format!(
            "ingest {:?} was begun with a total of {} bytes, not {}",
            row.reference, row.total, options.total
        )));
    }
    if options.total > 0 {
        row.total = options.total;
    }
    if options.expected.is_some() {
        row.expected.clone_from(&options.expected);
    }
    Ok(row)
}

/// The ingest's file, cut back to what is durable, with the hash over it.
fn open_data(inner: &Inner, scope: &Scope, row: &mut IngestRow) -> Result<Data> {
    let algorithm = row.expected.as_ref().map_or(Algorithm::Sha256, |digest| digest.algorithm());
    let what = format!("ingest {:?}", row.reference);
    if row.durable > 0
        && let Some(file) = inner.disk.open_data(&row.dir)?
    {
        let len = file.metadata().map_err(failed(format!("look at {what}")))?.len();
        if len >= row.durable {
            file.set_len(row.durable).map_err(failed(format!("cut {what}")))?;
            let saved = row.hash_state.as_deref().and_then(|state| hash::load(state, algorithm));
            let hasher = match saved {
                Some(hasher) => hasher,
                None => hash::of_file(&file, row.durable, algorithm, &what)?,
            };
            let offset = row.durable;
            return Ok(Data { file, hasher, offset, pushed: offset, broken: false });
        }
        tracing::warn!(
            reference = row.reference,
            len,
            durable = row.durable,
            "an ingest's file is shorter than it was; it starts again"
        );
    }
    row.durable = 0;
    row.hash_state = None;
    let file = inner.disk.make_ingest(&row.dir, &scope.namespace, &row.reference)?;
    Ok(Data { file, hasher: Hasher::new(algorithm), offset: 0, pushed: 0, broken: false })
}

fn check_reference(reference: &str) -> Result<()> {
    if reference.is_empty() {
        return Err(Error::invalid_argument("the reference of an ingest must not be empty"));
    }
    if reference.len() > MAX_REFERENCE || reference.contains('\0') {
        return Err(Error::invalid_argument(format!(
            "the reference of an ingest must have at most {MAX_REFERENCE} bytes and no NUL, not {}",
            reference.len()
        )));
    }
    Ok(())
}
