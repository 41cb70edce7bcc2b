//! Leases: [`LeaseStore`] over the database.

use std::sync::Arc;

use async_trait::async_trait;
use lamina_core::lease::Resource;
use lamina_core::{Error, Filters, Labels, Lease, LeaseStore, Result, Scope, labels};

use crate::blocking;
use crate::db::Db;
use crate::gc::Collector;
use crate::random;

/// The leases of one namespace.
#[derive(Clone, Debug)]
pub struct Leases {
    db: Db,
    scope: Scope,
    collector: Arc<Collector>,
}

impl Leases {
    pub(crate) fn new(db: Db, scope: Scope, collector: Arc<Collector>) -> Self {
        Leases { db, scope, collector }
    }
}

#[async_trait]
impl LeaseStore for Leases {
    async fn create(&self, id: &str, mut labels: Labels) -> Result<Lease> {
        let id = if id.is_empty() { random_id()? } else { id.to_owned() };
        check_id(&id)?;
        labels::check(&labels)?;
        labels.retain(|_, value| !value.is_empty());
        let (db, scope) = (self.db.clone(), self.scope.clone());
        blocking::run(move || {
            db.write(move |tx| {
                if tx.lease_exists(&scope.namespace, &id)? {
                    return Err(Error::already_exists(format!("lease {id:?}")));
                }
                tx.insert_lease(&scope.namespace, &id, &labels)?;
                tx.ensure_namespace(&scope.namespace)?;
                Ok(Lease { id: id.clone(), created: tx.now(), labels: labels.clone() })
            })
        })
        .await
    }

    async fn delete(&self, id: &str, sync: bool) -> Result<()> {
        let (this, id) = (self.clone(), id.to_owned());
        blocking::run(move || {
            let space = this.scope.namespace.clone();
            this.db.write(move |tx| {
                tx.require_lease(&space, &id)?;
                tx.count_deletion();
                tx.delete_lease(&space, &id)
            })?;
            this.collector.after_delete(sync)
        })
        .await
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Lease>> {
        let this = self.clone();
        blocking::run(move || {
            let mut leases = this.db.read(|r| r.leases(&this.scope.namespace))?;
            leases.retain(|lease| filters.matches(lease));
            Ok(leases)
        })
        .await
    }

    async fn add(&self, id: &str, resource: Resource) -> Result<()> {
        let (db, space, id) = (self.db.clone(), self.scope.namespace.clone(), id.to_owned());
        blocking::run(move || {
            db.write(move |tx| {
                tx.require_lease(&space, &id)?;
                tx.add_to_lease(&space, &id, &resource.kind, &resource.id)
            })
        })
        .await
    }

    async fn remove(&self, id: &str, resource: Resource) -> Result<()> {
        let (db, space, id) = (self.db.clone(), self.scope.namespace.clone(), id.to_owned());
        blocking::run(move || {
            db.write(move |tx| {
                tx.require_lease(&space, &id)?;
                tx.take_from_lease(&space, &id, &resource)
            })
        })
        .await
    }

    async fn resources(&self, id: &str) -> Result<Vec<Resource>> {
        let (db, space, id) = (self.db.clone(), self.scope.namespace.clone(), id.to_owned());
        blocking::run(move || {
            db.read(|r| {
                r.require_lease(&space, &id)?;
                r.lease_resources(&space, &id)
            })
        })
        .await
    }
}

/// Clients name leases as they like, by paths too: a lease of `ctr images mount` is named after the
/// mount point. Only the length is bounded, to that of containerd's keys (bbolt's `MaxKeySize`).
fn check_id(id: &str) -> Result<()> {
    const LONGEST: usize = 32_768;
    if id.len() > LONGEST {
        return Err(Error::invalid_argument(format!(
            "a lease id of {} bytes is longer than {LONGEST}",
            id.len()
        )));
    }
    Ok(())
}

/// An id that nobody has: time and random bytes, in the alphabet of identifiers.
fn random_id() -> Result<String> {
    let random = random::hex(&random::bytes::<6>()?);
    Ok(format!("{}-{random}", jiff::Timestamp::now().as_millisecond()))
}
