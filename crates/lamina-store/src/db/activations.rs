//! Table `activations`: what the mount manager mounted, or was about to.

use lamina_core::mount::{Activation, ActiveMount};
use lamina_core::{Error, Labels, Mount, Namespace, Result, Scope};
use rusqlite::{Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::values::Columns;
use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::{Kind, Node};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActivationRow {
    pub(crate) name: String,
    /// The directory of its mount points.
    pub(crate) id: u64,
    /// The boot its mounts belong to.
    pub(crate) boot: String,
    /// Whether all of it is mounted; the lists are empty until then.
    pub(crate) complete: bool,
    pub(crate) labels: Labels,
    pub(crate) active: Vec<ActiveMount>,
    pub(crate) system: Vec<Mount>,
}

/// A row that is not complete yet.
#[derive(Clone, Debug)]
pub(crate) struct NewActivation {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) boot: String,
    pub(crate) labels: Labels,
}

impl From<ActivationRow> for Activation {
    fn from(row: ActivationRow) -> Activation {
        Activation { name: row.name, active: row.active, system: row.system, labels: row.labels }
    }
}

impl Read<'_> {
    /// The row of a name.
    pub(crate) fn activation(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<ActivationRow>> {
        self.one(
            "SELECT name, id, boot, complete, labels, active, system FROM activations
             WHERE namespace = ?1 AND name = ?2",
            params![namespace.as_str(), name],
            raw,
        )?
        .map(row)
        .transpose()
    }

    /// All rows of a namespace, by name. There are as many as containers that run.
    pub(crate) fn activations(&self, namespace: &Namespace) -> Result<Vec<ActivationRow>> {
        self.all(
            "SELECT name, id, boot, complete, labels, active, system FROM activations
             WHERE namespace = ?1 ORDER BY name",
            [namespace.as_str()],
            raw,
        )?
        .into_iter()
        .map(row)
        .collect()
    }

    /// All rows of all namespaces, by id.
    pub(crate) fn all_activations(&self) -> Result<Vec<(Namespace, ActivationRow)>> {
        let rows = self.all(
            "SELECT name, id, boot, complete, labels, active, system, namespace FROM activations
             ORDER BY id",
            [],
            |r| Ok((r.get::<_, String>(7)?, raw(r)?)),
        )?;
        rows.into_iter()
            .map(|(namespace, raw)| Ok((Namespace::new(&namespace)?, row(raw)?)))
            .collect()
    }
}

impl Tx<'_> {
    /// Adds an incomplete row. The caller has made sure that the name is free. NotFound for a lease
    /// that is not there.
    pub(crate) fn begin_activation(&mut self, scope: &Scope, new: &NewActivation) -> Result<()> {
        self.touch(&scope.namespace, &Node::new(Kind::Mount, new.name.as_str()))?;
        let now = ns(self.now());
        if let Some(lease) = &scope.lease {
            let sql = "SELECT 1 FROM leases WHERE namespace = ?1 AND id = ?2";
            if !self.any(sql, params![scope.namespace.as_str(), lease])? {
                return Err(Error::not_found(format!("lease {lease:?} does not exist")));
            }
        }
        self.run(
            "INSERT OR IGNORE INTO namespaces (name) VALUES (?1)",
            [scope.namespace.as_str()],
        )?;
        self.run(
            "INSERT INTO activations (namespace, name, id, boot, lease, labels, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
            params![
                scope.namespace.as_str(),
                new.name,
                i64::try_from(new.id).unwrap_or(i64::MAX),
                new.boot,
                scope.lease.as_deref(),
                labels_to_json(&new.labels),
                now
            ],
        )
        .map(drop)
    }

    /// Completes a row. Internal when it is gone: then somebody else cleared the mounts too.
    pub(crate) fn complete_activation(
        &mut self,
        namespace: &Namespace,
        activation: &Activation,
    ) -> Result<()> {
        let now = ns(self.now());
        let changed = self.run(
            "UPDATE activations SET complete = 1, active = ?3, system = ?4, updated_at = ?5
             WHERE namespace = ?1 AND name = ?2",
            params![
                namespace.as_str(),
                activation.name,
                to_json(&activation.active)?,
                to_json(&activation.system)?,
                now
            ],
        )?;
        if changed == 1 {
            return Ok(());
        }
        Err(Error::internal(format!("the row of activation {:?} is gone", activation.name)))
    }

    /// Makes a row incomplete again, before its mounts go.
    pub(crate) fn reopen_activation(&mut self, namespace: &Namespace, name: &str) -> Result<()> {
        let now = ns(self.now());
        self.run(
            "UPDATE activations SET complete = 0, updated_at = ?3 WHERE namespace = ?1 AND name = ?2",
            params![namespace.as_str(), name, now],
        )
        .map(drop)
    }

    /// Drops a row, if it is there.
    pub(crate) fn delete_activation(&mut self, namespace: &Namespace, name: &str) -> Result<()> {
        self.run(
            "DELETE FROM activations WHERE namespace = ?1 AND name = ?2",
            params![namespace.as_str(), name],
        )
        .map(drop)
    }
}

/// A row with its lists as text.
type Raw = (ActivationRow, String, String);

fn raw(r: &Row<'_>) -> rusqlite::Result<Raw> {
    let row = ActivationRow {
        name: r.get(0)?,
        id: r.count(1)?,
        boot: r.get(2)?,
        complete: r.get(3)?,
        labels: r.labels(4)?,
        active: Vec::new(),
        system: Vec::new(),
    };
    Ok((row, r.get(5)?, r.get(6)?))
}

fn row((row, active, system): Raw) -> Result<ActivationRow> {
    Ok(ActivationRow { active: from_json(&active)?, system: from_json(&system)?, ..row })
}

fn to_json(list: &impl Serialize) -> Result<String> {
    serde_json::to_string(list)
        .map_err(|cause| Error::internal("mounts as JSON").with_source(cause))
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|cause| Error::data_loss("mounts in the database").with_source(cause))
}
