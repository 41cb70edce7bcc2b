//! Tables `leases` and `lease_resources`.

use lamina_core::lease::{Lease, Resource, ResourceType};
use lamina_core::{Error, Labels, Namespace, Result, Scope};
use rusqlite::params;

use super::values::Columns;
use super::{Read, Tx, labels_to_json, ns};
use crate::gc::node::{Node, references};

impl Read<'_> {
    /// Whether there is such a lease.
    pub(crate) fn lease_exists(&self, namespace: &Namespace, lease: &str) -> Result<bool> {
        self.any(
            "SELECT 1 FROM leases WHERE namespace = ?1 AND id = ?2",
            params![namespace.as_str(), lease],
        )
    }

    /// Fails with NotFound when there is no such lease.
    pub(crate) fn require_lease(&self, namespace: &Namespace, lease: &str) -> Result<()> {
        if self.lease_exists(namespace, lease)? {
            return Ok(());
        }
        Err(Error::not_found(format!("lease {lease:?} does not exist")))
    }

    /// Fails with NotFound when the scope names a lease that is not there.
    pub(crate) fn check_lease(&self, scope: &Scope) -> Result<()> {
        match &scope.lease {
            Some(lease) => self.require_lease(&scope.namespace, lease),
            None => Ok(()),
        }
    }

    /// All leases of a namespace by id.
    pub(crate) fn leases(&self, namespace: &Namespace) -> Result<Vec<Lease>> {
        self.all(
            "SELECT id, labels, created_at FROM leases WHERE namespace = ?1 ORDER BY id",
            [namespace.as_str()],
            |r| Ok(Lease { id: r.get(0)?, labels: r.labels(1)?, created: r.time(2)? }),
        )
    }

    /// What a lease holds, by kind and name.
    pub(crate) fn lease_resources(
        &self,
        namespace: &Namespace,
        lease: &str,
    ) -> Result<Vec<Resource>> {
        let rows = self.all(
            "SELECT kind, resource FROM lease_resources
             WHERE namespace = ?1 AND lease = ?2 ORDER BY kind, resource",
            params![namespace.as_str(), lease],
            |r| Ok((r.get::<_, String>(0)?, r.get(1)?)),
        )?;
        rows.into_iter()
            .map(|(kind, id)| Ok(Resource { kind: ResourceType::parse(&kind)?, id }))
            .collect()
    }
}

impl Tx<'_> {
    /// Adds a lease. The caller has made sure that the id is free.
    pub(crate) fn insert_lease(
        &mut self,
        namespace: &Namespace,
        id: &str,
        labels: &Labels,
    ) -> Result<()> {
        // What it refers to is kept from now on; a lease itself is nothing that could be dropped.
        for node in references(labels) {
            self.touch(namespace, &node)?;
        }
        let now = ns(self.now());
        self.run(
            "INSERT INTO leases (namespace, id, labels, created_at) VALUES (?1, ?2, ?3, ?4)",
            params![namespace.as_str(), id, labels_to_json(labels), now],
        )
        .map(drop)
    }

    /// Drops a lease and what it held.
    pub(crate) fn delete_lease(&mut self, namespace: &Namespace, id: &str) -> Result<()> {
        self.run(
            "DELETE FROM leases WHERE namespace = ?1 AND id = ?2",
            params![namespace.as_str(), id],
        )
        .map(drop)
    }

    /// Adds a thing that was just made or found to the scope's lease, if it has one.
    ///
    /// # Errors
    /// NotFound when the lease is not there any more.
    pub(crate) fn hold(
        &mut self,
        scope: &Scope,
        kind: &ResourceType,
        resource: &str,
    ) -> Result<()> {
        let Some(lease) = &scope.lease else {
            return Ok(());
        };
        self.require_lease(&scope.namespace, lease)?;
        self.add_to_lease(&scope.namespace, lease, kind, resource)
    }

    /// Adds a thing to a lease that is there; one that it holds already stays.
    pub(crate) fn add_to_lease(
        &mut self,
        namespace: &Namespace,
        lease: &str,
        kind: &ResourceType,
        resource: &str,
    ) -> Result<()> {
        self.touch(namespace, &Node::leased(kind, resource))?;
        self.run(
            "INSERT OR IGNORE INTO lease_resources (namespace, lease, kind, resource)
             VALUES (?1, ?2, ?3, ?4)",
            params![namespace.as_str(), lease, kind.to_string(), resource],
        )
        .map(drop)
    }

    /// Takes a thing that is deleted from the scope's lease, if it has one. Other leases still name it, as
    /// containerd's do: one of that name that is made later is theirs too.
    pub(crate) fn release(
        &mut self,
        scope: &Scope,
        kind: ResourceType,
        resource: &str,
    ) -> Result<()> {
        let Some(lease) = &scope.lease else {
            return Ok(());
        };
        let resource = Resource { kind, id: resource.to_owned() };
        self.take_from_lease(&scope.namespace, lease, &resource)
    }

    /// Takes a thing from a lease; one that it does not hold is no error.
    pub(crate) fn take_from_lease(
        &mut self,
        namespace: &Namespace,
        lease: &str,
        resource: &Resource,
    ) -> Result<()> {
        self.run(
            "DELETE FROM lease_resources
             WHERE namespace = ?1 AND lease = ?2 AND kind = ?3 AND resource = ?4",
            params![namespace.as_str(), lease, resource.kind.to_string(), resource.id],
        )
        .map(drop)
    }

    /// Lets every lease that holds `from` hold `to` instead: a commit moves a key to a name.
    pub(crate) fn move_holds(
        &mut self,
        namespace: &Namespace,
        kind: &ResourceType,
        from: &str,
        to: &str,
    ) -> Result<()> {
        self.touch(namespace, &Node::leased(kind, to))?;
        let kind = kind.to_string();
        // A lease that holds both keeps `to`; its row for `from` stays behind and is dropped.
        self.run(
            "UPDATE OR IGNORE lease_resources SET resource = ?4
             WHERE namespace = ?1 AND kind = ?2 AND resource = ?3",
            params![namespace.as_str(), kind, from, to],
        )?;
        self.run(
            "DELETE FROM lease_resources WHERE namespace = ?1 AND kind = ?2 AND resource = ?3",
            params![namespace.as_str(), kind, from],
        )
        .map(drop)
    }
}
