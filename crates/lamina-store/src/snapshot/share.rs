//! Adoption: a namespace gets a chain of layers that another has, without a byte being fetched or
//! written.
//!
//! Only rows whose chain ID the engine computed itself, from the bytes its own apply read, are
//! shared; a name that a client chose proves nothing. The blobs the layers came from come along, so
//! that the adopting namespace can also push the image; if one has left the host, nothing is adopted.

use lamina_core::labels::SNAPSHOT_REF;
use lamina_core::lease::ResourceType;
use lamina_core::snapshot::Kind;
use lamina_core::{Digest, Event, Labels, Result, Scope};

use super::engine::Engine;
use crate::db::Tx;
use crate::db::names::NameRow;
use crate::db::snapshots::SnapshotRow;

impl Engine {
    /// Whether the namespace has the committed chain `chain`, by name or by adoption just now; the
    /// lease then holds it.
    pub(super) fn find(&self, scope: &Scope, chain: &Digest) -> Result<bool> {
        let named = self.name_row(scope, chain.as_str())?;
        if named.is_some_and(|name| name.kind == Kind::Committed)
            && self.hold_existing(scope, chain.as_str())?
        {
            return Ok(true);
        }
        self.adopt(scope, chain)
    }

    /// [`adopt`](Self::adopt) for the value of a label, which need not be a digest.
    pub(super) fn adopt_named(&self, scope: &Scope, target: &str) -> Result<bool> {
        match Digest::parse(target) {
            Ok(chain) => self.adopt(scope, &chain),
            Err(_) => Ok(false),
        }
    }

    /// Names the verified chain `chain` in `scope`'s namespace, with all that lies below it, its
    /// blobs and the lease's hold on them, in one transaction. False when the host has no such chain
    /// to share. Steps: `adopt.begin`, `.row`.
    ///
    /// # Errors
    /// Those of the database; NotFound for a lease that is not there.
    pub(crate) fn adopt(&self, scope: &Scope, chain: &Digest) -> Result<bool> {
        if !self.options.share {
            return Ok(false);
        }
        if self.db.read(|r| r.snapshot_by_chain(&self.name, chain))?.is_none() {
            return Ok(false);
        }
        self.options.steps.reach("adopt.begin")?;
        let (scope, chain, snapshotter) = (scope.clone(), chain.clone(), self.name.clone());
        let adopted = self.db.write(move |tx| {
            let Some(stack) = shareable(tx, &scope, &snapshotter, &chain)? else {
                return Ok(false);
            };
            tx.ensure_namespace(&scope.namespace)?;
            // The bottom comes first, so that every name's parent is there.
            let mut parent = String::new();
            for layer in stack.iter().rev() {
                name_layer(tx, &scope, &snapshotter, layer, &parent)?;
                parent = layer.chain.to_string();
            }
            Ok(true)
        })?;
        self.options.steps.reach("adopt.row")?;
        Ok(adopted)
    }
}

struct Shared {
    row: SnapshotRow,
    chain: Digest,
    diff_id: Digest,
    blob: Digest,
}

/// The chain from its top down, if all of it can be shared with this namespace.
fn shareable(
    tx: &Tx<'_>,
    scope: &Scope,
    snapshotter: &str,
    chain: &Digest,
) -> Result<Option<Vec<Shared>>> {
    let Some(top) = tx.snapshot_by_chain(snapshotter, chain)? else { return Ok(None) };
    let below = tx.ancestors(snapshotter, top.id)?;
    let mut stack = Vec::with_capacity(below.len() + 1);
    for row in std::iter::once(top).chain(below) {
        let (Some(chain), Some(diff_id), Some(blob)) =
            (row.chain_id.clone(), row.diff_id.clone(), row.blob.clone())
        else {
            return Ok(None);
        };
        if row.kind != Kind::Committed || !row.live || !tx.blob_is_live(&blob)? {
            return Ok(None);
        }
        // A name of the client's own that looks like this chain but is another snapshot stays what
        // it is; nothing is put on top of it.
        let named = tx.name(&scope.namespace, snapshotter, chain.as_str())?;
        if named.is_some_and(|name| name.id != row.id) {
            return Ok(None);
        }
        stack.push(Shared { row, chain, diff_id, blob });
    }
    Ok(Some(stack))
}

fn name_layer(
    tx: &mut Tx<'_>,
    scope: &Scope,
    snapshotter: &str,
    layer: &Shared,
    parent: &str,
) -> Result<()> {
    let space = &scope.namespace;
    let key = layer.chain.as_str();
    if tx.name(space, snapshotter, key)?.is_none() {
        let now = tx.now();
        tx.insert_name(
            space,
            snapshotter,
            &NameRow {
                key: key.to_owned(),
                id: layer.row.id,
                kind: Kind::Committed,
                parent: parent.to_owned(),
                labels: Labels::from([(SNAPSHOT_REF.to_owned(), key.to_owned())]),
                created: now,
                updated: now,
            },
        )?;
        tx.event(
            space,
            Event::SnapshotCommit {
                key: key.to_owned(),
                name: key.to_owned(),
                snapshotter: snapshotter.to_owned(),
            },
        );
    }
    tx.hold(scope, &ResourceType::Snapshot(snapshotter.to_owned()), key)?;
    let uncompressed = (lamina_core::labels::UNCOMPRESSED.to_owned(), layer.diff_id.to_string());
    tx.share_blob(scope, &layer.blob, Labels::from([uncompressed]))?;
    tx.hold(scope, &ResourceType::Content, layer.blob.as_str())
}
