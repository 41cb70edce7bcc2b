//! Table `images`.

use lamina_core::{Descriptor, Image, Namespace, Result};
use rusqlite::{Row, params};

use super::values::Columns;
use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::{Kind, Node};

const SELECT: &str = "SELECT name, media_type, digest, size, annotations, labels,
      created_at, updated_at
    FROM images";

impl Read<'_> {
    /// One image record.
    pub(crate) fn image(&self, namespace: &Namespace, name: &str) -> Result<Option<Image>> {
        self.one(
            &format!("{SELECT} WHERE namespace = ?1 AND name = ?2"),
            params![namespace.as_str(), name],
            row,
        )
    }

    /// All image records of a namespace by name.
    pub(crate) fn images(&self, namespace: &Namespace) -> Result<Vec<Image>> {
        self.all(&format!("{SELECT} WHERE namespace = ?1 ORDER BY name"), [namespace.as_str()], row)
    }
}

impl Tx<'_> {
    /// Writes a record, new or over the one with that name.
    pub(crate) fn put_image(&mut self, namespace: &Namespace, image: &Image) -> Result<()> {
        self.touch(namespace, &Node::new(Kind::Image, image.name.as_str()))?;
        self.run(
            "INSERT OR REPLACE INTO images
               (namespace, name, media_type, digest, size, annotations, labels,
                created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                namespace.as_str(),
                image.name,
                image.target.media_type,
                image.target.digest.as_str(),
                i64::try_from(image.target.size).unwrap_or(i64::MAX),
                labels_to_json(&image.target.annotations),
                labels_to_json(&image.labels),
                ns(image.created),
                ns(image.updated),
            ],
        )
        .map(drop)
    }

    /// Drops a record.
    pub(crate) fn delete_image(&mut self, namespace: &Namespace, name: &str) -> Result<()> {
        self.run(
            "DELETE FROM images WHERE namespace = ?1 AND name = ?2",
            params![namespace.as_str(), name],
        )
        .map(drop)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<Image> {
    let mut target = Descriptor::new(row.get::<_, String>(1)?, row.digest(2)?, row.count(3)?);
    target.annotations = row.labels(4)?;
    Ok(Image {
        name: row.get(0)?,
        target,
        labels: row.labels(5)?,
        created: row.time(6)?,
        updated: row.time(7)?,
    })
}
