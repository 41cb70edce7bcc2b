//! Sandbox records: [`SandboxStore`] over the database.

use async_trait::async_trait;
use lamina_core::namespace::check_identifier;
use lamina_core::{Error, Filters, Result, Sandbox, SandboxStore, Scope, labels};

use crate::blocking;
use crate::db::Db;

/// The sandbox records of one namespace.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    db: Db,
    scope: Scope,
}

impl Sandboxes {
    pub(crate) fn new(db: Db, scope: Scope) -> Self {
        Sandboxes { db, scope }
    }
}

#[async_trait]
impl SandboxStore for Sandboxes {
    async fn get(&self, id: &str) -> Result<Sandbox> {
        let (this, id) = (self.clone(), id.to_owned());
        blocking::run(move || {
            let found = this.db.read(|r| r.sandbox(&this.scope.namespace, &id))?;
            found.ok_or_else(|| absent(&id))
        })
        .await
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Sandbox>> {
        let this = self.clone();
        blocking::run(move || {
            let mut sandboxes = this.db.read(|r| r.sandboxes(&this.scope.namespace))?;
            sandboxes.retain(|sandbox| filters.matches(sandbox));
            Ok(sandboxes)
        })
        .await
    }

    async fn create(&self, mut sandbox: Sandbox) -> Result<Sandbox> {
        check_identifier(&sandbox.id)?;
        check(&mut sandbox)?;
        let (db, space) = (self.db.clone(), self.scope.namespace.clone());
        blocking::run(move || {
            db.write(move |tx| {
                if tx.sandbox(&space, &sandbox.id)?.is_some() {
                    return Err(Error::already_exists(format!("sandbox {:?}", sandbox.id)));
                }
                let now = tx.now();
                let sandbox = Sandbox { created: now, updated: now, ..sandbox.clone() };
                tx.put_sandbox(&space, &sandbox)?;
                tx.ensure_namespace(&space)?;
                Ok(sandbox)
            })
        })
        .await
    }

    async fn update(&self, new: Sandbox, paths: &[String]) -> Result<Sandbox> {
        let (db, space, paths) = (self.db.clone(), self.scope.namespace.clone(), paths.to_vec());
        blocking::run(move || {
            db.write(move |tx| {
                let found = tx.sandbox(&space, &new.id)?;
                let mut sandbox = found.ok_or_else(|| absent(&new.id))?;
                merge(&mut sandbox, &new, &paths)?;
                check(&mut sandbox)?;
                sandbox.updated = tx.now();
                tx.put_sandbox(&space, &sandbox)?;
                Ok(sandbox)
            })
        })
        .await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let (db, space, id) = (self.db.clone(), self.scope.namespace.clone(), id.to_owned());
        blocking::run(move || {
            db.write(move |tx| {
                if tx.sandbox(&space, &id)?.is_none() {
                    return Err(absent(&id));
                }
                tx.delete_sandbox(&space, &id)
            })
        })
        .await
    }
}

fn absent(id: &str) -> Error {
    Error::not_found(format!("sandbox {id:?}"))
}

fn check(sandbox: &mut Sandbox) -> Result<()> {
    if sandbox.extensions.contains_key("") {
        let id = &sandbox.id;
        return Err(Error::invalid_argument(format!("sandbox {id:?}: an extension needs a name")));
    }
    labels::check(&sandbox.labels)?;
    sandbox.labels.retain(|_, value| !value.is_empty());
    Ok(())
}

/// Fields that `paths` name, or every field that may change. Who sends the whole record must send the
/// runtime's name as it is.
fn merge(sandbox: &mut Sandbox, new: &Sandbox, paths: &[String]) -> Result<()> {
    const ALL: [&str; 4] = ["labels", "extensions", "spec", "runtime"];
    if paths.is_empty() {
        if sandbox.runtime != new.runtime {
            let id = &new.id;
            return Err(Error::invalid_argument(format!(
                "sandbox {id:?}: the runtime name cannot be changed"
            )));
        }
        let all: Vec<String> = ALL.iter().map(|path| (*path).to_owned()).collect();
        return merge(sandbox, new, &all);
    }
    let mut labels = std::mem::take(&mut sandbox.labels);
    let merged = labels::apply_update(&mut labels, &new.labels, paths, |path| {
        match path {
            "spec" => sandbox.spec.clone_from(&new.spec),
            "extensions" => sandbox.extensions.clone_from(&new.extensions),
            "runtime" => {
                sandbox.runtime.clone_from(&new.runtime);
                sandbox.runtime_options.clone_from(&new.runtime_options);
            }
            _ => match path.strip_prefix("extensions.") {
                Some(key) => {
                    match new.extensions.get(key) {
                        Some(any) => sandbox.extensions.insert(key.to_owned(), any.clone()),
                        None => sandbox.extensions.remove(key),
                    };
                }
                None => return false,
            },
        }
        true
    });
    sandbox.labels = labels;
    merged
}
