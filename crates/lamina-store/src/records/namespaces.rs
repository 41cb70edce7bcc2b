//! Namespaces: [`NamespaceStore`] over the database.

use async_trait::async_trait;
use lamina_core::{Error, Event, Labels, Namespace, NamespaceStore, Result, labels};

use crate::blocking;
use crate::db::Db;

/// The namespaces of the host.
#[derive(Clone, Debug)]
pub struct Namespaces {
    db: Db,
}

impl Namespaces {
    pub(crate) fn new(db: Db) -> Self {
        Namespaces { db }
    }
}

#[async_trait]
impl NamespaceStore for Namespaces {
    async fn list(&self) -> Result<Vec<(Namespace, Labels)>> {
        let db = self.db.clone();
        blocking::run(move || db.read(|r| r.namespaces())).await
    }

    async fn labels(&self, name: &Namespace) -> Result<Labels> {
        let (db, name) = (self.db.clone(), name.clone());
        blocking::run(move || Ok(db.read(|r| r.namespace_labels(&name))?.unwrap_or_default())).await
    }

    async fn create(&self, name: &Namespace, mut labels: Labels) -> Result<()> {
        labels::check(&labels)?;
        labels.retain(|_, value| !value.is_empty());
        let (db, name) = (self.db.clone(), name.clone());
        blocking::run(move || {
            db.write(move |tx| {
                if tx.namespace_labels(&name)?.is_some() {
                    return Err(Error::already_exists(format!("namespace {name:?}")));
                }
                tx.put_namespace(&name, &labels)?;
                let event =
                    Event::NamespaceCreate { name: name.to_string(), labels: labels.clone() };
                tx.event(&name, event);
                Ok(())
            })
        })
        .await
    }

    async fn update(&self, name: &Namespace, new: Labels, paths: &[String]) -> Result<Labels> {
        let (db, name, paths) = (self.db.clone(), name.clone(), paths.to_vec());
        blocking::run(move || {
            db.write(move |tx| {
                let mut labels = tx.namespace_labels(&name)?.unwrap_or_default();
                labels::apply_update(&mut labels, &new, &paths, |_| false)?;
                tx.put_namespace(&name, &labels)?;
                let event =
                    Event::NamespaceUpdate { name: name.to_string(), labels: labels.clone() };
                tx.event(&name, event);
                Ok(labels)
            })
        })
        .await
    }

    async fn delete(&self, name: &Namespace) -> Result<()> {
        let (db, name) = (self.db.clone(), name.clone());
        blocking::run(move || {
            db.write(move |tx| {
                if tx.namespace_labels(&name)?.is_none() {
                    return Err(Error::not_found(format!("namespace {name:?}")));
                }
                let left = tx.namespace_contents(&name)?;
                if !left.is_empty() {
                    return Err(Error::failed_precondition(format!(
                        "namespace {name:?} must be empty, but it still has {}",
                        left.join(", ")
                    )));
                }
                tx.delete_namespace(&name)?;
                tx.event(&name, Event::NamespaceDelete { name: name.to_string() });
                Ok(())
            })
        })
        .await
    }
}
