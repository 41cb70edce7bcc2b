//! Table `containers`.

use std::collections::BTreeMap;

use lamina_core::{Any, Container, Error, Namespace, Result};
use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::values::Columns;
use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::{Kind, Node};

const SELECT: &str = "SELECT id, image, runtime, runtime_opts_type, runtime_opts, spec_type, spec,
      snapshotter, snapshot_key, sandbox, extensions, labels, created_at, updated_at
    FROM containers";

impl Read<'_> {
    /// One container record.
    pub(crate) fn container(&self, namespace: &Namespace, id: &str) -> Result<Option<Container>> {
        self.one(
            &format!("{SELECT} WHERE namespace = ?1 AND id = ?2"),
            params![namespace.as_str(), id],
            row,
        )
    }

    /// All container records of a namespace by id.
    pub(crate) fn containers(&self, namespace: &Namespace) -> Result<Vec<Container>> {
        self.all(&format!("{SELECT} WHERE namespace = ?1 ORDER BY id"), [namespace.as_str()], row)
    }
}

impl Tx<'_> {
    /// Writes a record, new or over the one with that id.
    pub(crate) fn put_container(&mut self, namespace: &Namespace, c: &Container) -> Result<()> {
        self.touch(namespace, &Node::new(Kind::Container, c.id.as_str()))?;
        self.run(
            "INSERT OR REPLACE INTO containers
               (namespace, id, image, runtime, runtime_opts_type, runtime_opts, spec_type, spec,
                snapshotter, snapshot_key, sandbox, extensions, labels, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                namespace.as_str(),
                c.id,
                c.image,
                c.runtime,
                c.runtime_options.as_ref().map(|any| &any.type_url),
                c.runtime_options.as_ref().map(|any| &any.value),
                c.spec.type_url,
                c.spec.value,
                c.snapshotter,
                c.snapshot_key,
                c.sandbox,
                extensions_to_json(&c.extensions),
                labels_to_json(&c.labels),
                ns(c.created),
                ns(c.updated),
            ],
        )
        .map(drop)
    }

    /// Drops a record.
    pub(crate) fn delete_container(&mut self, namespace: &Namespace, id: &str) -> Result<()> {
        self.run(
            "DELETE FROM containers WHERE namespace = ?1 AND id = ?2",
            params![namespace.as_str(), id],
        )
        .map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<Container> {
    let options: Option<Vec<u8>> = row.get(4)?;
    let extensions = extensions_from_json(row.get_ref(10)?.as_str()?).map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(10, Type::Text, Box::new(cause))
    })?;
    Ok(Container {
        id: row.get(0)?,
        image: row.get(1)?,
        runtime: row.get(2)?,
        runtime_options: row
            .get::<_, Option<String>>(3)?
            .map(|type_url| Any { type_url, value: options.unwrap_or_default() }),
        spec: Any { type_url: row.get(5)?, value: row.get(6)? },
        snapshotter: row.get(7)?,
        snapshot_key: row.get(8)?,
        sandbox: row.get(9)?,
        extensions,
        labels: row.labels(11)?,
        created: row.time(12)?,
        updated: row.time(13)?,
    })
}

/// `{name: [type_url, hex of the value]}`: readable in the `sqlite3` shell, exact for any bytes.
pub(super) fn extensions_to_json(extensions: &BTreeMap<String, Any>) -> String {
    let map: BTreeMap<&str, (&str, String)> = extensions
        .iter()
        .map(|(name, any)| {
            let hex = any.value.iter().map(|byte| format!("{byte:02x}")).collect();
            (name.as_str(), (any.type_url.as_str(), hex))
        })
        .collect();
    // Strings and maps of strings always have a JSON form.
    serde_json::to_string(&map).unwrap_or_else(|_| "{}".to_owned())
}

pub(super) fn extensions_from_json(json: &str) -> Result<BTreeMap<String, Any>> {
    let bad = || Error::data_loss("a row has malformed extensions");
    let map: BTreeMap<String, (String, String)> =
        serde_json::from_str(json).map_err(|e| bad().with_source(e))?;
    map.into_iter()
        .map(|(name, (type_url, hex))| {
            let value = hex
                .as_bytes()
                .chunks(2)
                .map(|pair| {
                    std::str::from_utf8(pair).ok().and_then(|t| u8::from_str_radix(t, 16).ok())
                })
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(bad)?;
            Ok((name, Any { type_url, value }))
        })
        .collect()
}
