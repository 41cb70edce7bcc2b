//! Table `sandboxes`.

use lamina_core::{Any, Namespace, Result, Sandbox};
use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::containers::{extensions_from_json, extensions_to_json};
use super::values::Columns;
use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::{Kind, Node};

const SELECT: &str =
    "SELECT id, runtime, runtime_opts_type, runtime_opts, spec_type, spec, sandboxer,
      extensions, labels, created_at, updated_at
    FROM sandboxes";

impl Read<'_> {
    /// One sandbox record.
    pub(crate) fn sandbox(&self, namespace: &Namespace, id: &str) -> Result<Option<Sandbox>> {
        self.one(
            &format!("{SELECT} WHERE namespace = ?1 AND id = ?2"),
            params![namespace.as_str(), id],
            row,
        )
    }

    /// All sandbox records of a namespace by id.
    pub(crate) fn sandboxes(&self, namespace: &Namespace) -> Result<Vec<Sandbox>> {
        self.all(&format!("{SELECT} WHERE namespace = ?1 ORDER BY id"), [namespace.as_str()], row)
    }
}

impl Tx<'_> {
    /// Writes a record, new or over the one with that id.
    pub(crate) fn put_sandbox(&mut self, namespace: &Namespace, s: &Sandbox) -> Result<()> {
        self.touch(namespace, &Node::new(Kind::Sandbox, s.id.as_str()))?;
        let (options, spec) = (s.runtime_options.as_ref(), s.spec.as_ref());
        self.run(
            "INSERT OR REPLACE INTO sandboxes
               (namespace, id, runtime, runtime_opts_type, runtime_opts, spec_type, spec, sandboxer,
                extensions, labels, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                namespace.as_str(),
                s.id,
                s.runtime,
                options.map(|any| &any.type_url),
                options.map(|any| &any.value),
                spec.map(|any| &any.type_url),
                spec.map(|any| &any.value),
                s.sandboxer,
                extensions_to_json(&s.extensions),
                labels_to_json(&s.labels),
                ns(s.created),
                ns(s.updated),
            ],
        )
        .map(drop)
    }

    /// Drops a record.
    pub(crate) fn delete_sandbox(&mut self, namespace: &Namespace, id: &str) -> Result<()> {
        self.run(
            "DELETE FROM sandboxes WHERE namespace = ?1 AND id = ?2",
            params![namespace.as_str(), id],
        )
        .map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<Sandbox> {
    let extensions = extensions_from_json(row.get_ref(7)?.as_str()?).map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(7, Type::Text, Box::new(cause))
    })?;
    Ok(Sandbox {
        id: row.get(0)?,
        runtime: row.get(1)?,
        runtime_options: any(row, 2)?,
        spec: any(row, 4)?,
        sandboxer: row.get(6)?,
        extensions,
        labels: row.labels(8)?,
        created: row.time(9)?,
        updated: row.time(10)?,
    })
}

/// A value that need not be there: its type in this column, its bytes in the next.
fn any(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Any>> {
    let Some(type_url) = row.get(column)? else { return Ok(None) };
    Ok(Some(Any { type_url, value: row.get(column + 1)? }))
}
