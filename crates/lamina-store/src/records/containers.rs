//! Container records: [`ContainerStore`] over the database.

use async_trait::async_trait;
use lamina_core::namespace::check_identifier;
use lamina_core::{Container, ContainerStore, Error, Event, Filters, Result, Scope, labels};

use crate::blocking;
use crate::db::Db;

/// The container records of one namespace.
#[derive(Clone, Debug)]
pub struct Containers {
    db: Db,
    scope: Scope,
}

impl Containers {
    pub(crate) fn new(db: Db, scope: Scope) -> Self {
        Containers { db, scope }
    }
}

#[async_trait]
impl ContainerStore for Containers {
    async fn get(&self, id: &str) -> Result<Container> {
        let (this, id) = (self.clone(), id.to_owned());
        blocking::run(move || {
            this.db
                .read(|r| r.container(&this.scope.namespace, &id))?
                .ok_or_else(|| Error::not_found(format!("container {id:?}")))
        })
        .await
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Container>> {
        let this = self.clone();
        blocking::run(move || {
            let mut containers = this.db.read(|r| r.containers(&this.scope.namespace))?;
            containers.retain(|container| filters.matches(container));
            Ok(containers)
        })
        .await
    }

    async fn create(&self, mut container: Container) -> Result<Container> {
        check_identifier(&container.id)?;
        check(&mut container)?;
        let (db, scope) = (self.db.clone(), self.scope.clone());
        blocking::run(move || {
            db.write(move |tx| {
                if tx.container(&scope.namespace, &container.id)?.is_some() {
                    return Err(Error::already_exists(format!("container {:?}", container.id)));
                }
                let now = tx.now();
                let container = Container { created: now, updated: now, ..container.clone() };
                tx.put_container(&scope.namespace, &container)?;
                tx.ensure_namespace(&scope.namespace)?;
                tx.event(
                    &scope.namespace,
                    Event::ContainerCreate {
                        id: container.id.clone(),
                        image: container.image.clone(),
                        runtime: container.runtime.clone(),
                        runtime_options: container.runtime_options.clone(),
                    },
                );
                Ok(container)
            })
        })
        .await
    }

    async fn update(&self, new: Container, paths: &[String]) -> Result<Container> {
        if new.id.is_empty() {
            return Err(Error::invalid_argument("a container id must not be empty"));
        }
        let (db, scope, paths) = (self.db.clone(), self.scope.clone(), paths.to_vec());
        blocking::run(move || {
            db.write(move |tx| {
                let mut container = tx
                    .container(&scope.namespace, &new.id)?
                    .ok_or_else(|| Error::not_found(format!("container {:?}", new.id)))?;
                merge(&mut container, &new, &paths)?;
                check(&mut container)?;
                container.updated = tx.now();
                tx.put_container(&scope.namespace, &container)?;
                tx.event(
                    &scope.namespace,
                    Event::ContainerUpdate {
                        id: container.id.clone(),
                        image: container.image.clone(),
                        labels: container.labels.clone(),
                        snapshot_key: container.snapshot_key.clone(),
                    },
                );
                Ok(container)
            })
        })
        .await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let (db, scope, id) = (self.db.clone(), self.scope.clone(), id.to_owned());
        blocking::run(move || {
            db.write(move |tx| {
                if tx.container(&scope.namespace, &id)?.is_none() {
                    return Err(Error::not_found(format!("container {id:?}")));
                }
                tx.delete_container(&scope.namespace, &id)?;
                tx.count_deletion();
                tx.event(&scope.namespace, Event::ContainerDelete { id: id.clone() });
                Ok(())
            })
        })
        .await
    }
}

fn check(container: &mut Container) -> Result<()> {
    let bad =
        |what: &str| Err(Error::invalid_argument(format!("container {:?}: {what}", container.id)));
    if container.runtime.is_empty() {
        return bad("a runtime name is required");
    }
    if container.spec.type_url.is_empty() {
        return bad("a spec is required");
    }
    if container.snapshotter.is_empty() && !container.snapshot_key.is_empty() {
        return bad("a snapshot key needs a snapshotter");
    }
    if container.extensions.contains_key("") {
        return bad("an extension needs a name");
    }
    labels::check(&container.labels)?;
    container.labels.retain(|_, value| !value.is_empty());
    Ok(())
}

/// Fields that `paths` name, or every field that may change. Who sends the whole record must send the
/// fixed fields as they are.
fn merge(container: &mut Container, new: &Container, paths: &[String]) -> Result<()> {
    const ALL: [&str; 5] = ["labels", "spec", "extensions", "image", "snapshotkey"];
    if paths.is_empty() {
        for (field, same) in [
            ("runtime name", container.runtime == new.runtime),
            ("snapshotter", container.snapshotter == new.snapshotter),
        ] {
            if !same {
                return Err(Error::invalid_argument(format!(
                    "container {:?}: the {field} cannot be changed",
                    new.id
                )));
            }
        }
        let all: Vec<String> = ALL.iter().map(|path| (*path).to_owned()).collect();
        return merge(container, new, &all);
    }
    let mut labels = std::mem::take(&mut container.labels);
    let merged = labels::apply_update(&mut labels, &new.labels, paths, |path| {
        match path {
            "spec" => container.spec.clone_from(&new.spec),
            "image" => container.image.clone_from(&new.image),
            // containerd's word, and the field's name in the message.
            "snapshotkey" | "snapshot_key" => {
                container.snapshot_key.clone_from(&new.snapshot_key);
            }
            "extensions" => container.extensions.clone_from(&new.extensions),
            _ => match path.strip_prefix("extensions.") {
                Some(key) => {
                    match new.extensions.get(key) {
                        Some(any) => container.extensions.insert(key.to_owned(), any.clone()),
                        None => container.extensions.remove(key),
                    };
                }
                None => return false,
            },
        }
        true
    });
    container.labels = labels;
    merged
}
