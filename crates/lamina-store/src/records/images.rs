//! Image records: [`ImageStore`] over the database.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use lamina_core::image::DeleteOptions;
use lamina_core::lease::ResourceType;
use lamina_core::{Error, Event, Filters, Image, ImageStore, Result, Scope, labels};

use crate::blocking;
use crate::db::{Db, Tx};
use crate::gc::Collector;

/// The image records of one namespace.
#[derive(Clone, Debug)]
pub struct Images {
    db: Db,
    scope: Scope,
    collector: Arc<Collector>,
    date: Option<Timestamp>,
}

impl Images {
    /// With a `date`, records that are made or changed say they were then.
    pub(crate) fn new(
        db: Db,
        scope: Scope,
        collector: Arc<Collector>,
        date: Option<Timestamp>,
    ) -> Self {
        Images { db, scope, collector, date }
    }
}

#[async_trait]
impl ImageStore for Images {
    async fn get(&self, name: &str) -> Result<Image> {
        let (this, name) = (self.clone(), name.to_owned());
        blocking::run(move || {
            this.db
                .read(|r| r.image(&this.scope.namespace, &name))?
                .ok_or_else(|| Error::not_found(format!("image {name:?}")))
        })
        .await
    }

    async fn list(&self, filters: Filters) -> Result<Vec<Image>> {
        let this = self.clone();
        blocking::run(move || {
            let mut images = this.db.read(|r| r.images(&this.scope.namespace))?;
            images.retain(|image| filters.matches(image));
            Ok(images)
        })
        .await
    }

    async fn create(&self, mut image: Image) -> Result<Image> {
        check(&mut image)?;
        let (db, scope, date) = (self.db.clone(), self.scope.clone(), self.date);
        blocking::run(move || {
            db.write(move |tx| {
                if tx.image(&scope.namespace, &image.name)?.is_some() {
                    return Err(Error::already_exists(format!("image {:?}", image.name)));
                }
                let now = date.unwrap_or_else(|| tx.now());
                let image = Image { created: now, updated: now, ..image.clone() };
                store(tx, &scope, &image)?;
                tx.event(
                    &scope.namespace,
                    Event::ImageCreate { name: image.name.clone(), labels: image.labels.clone() },
                );
                Ok(image)
            })
        })
        .await
    }

    async fn update(&self, new: Image, paths: &[String]) -> Result<Image> {
        if new.name.is_empty() {
            return Err(Error::invalid_argument("an image name must not be empty"));
        }
        let (db, scope, date) = (self.db.clone(), self.scope.clone(), self.date);
        let paths = paths.to_vec();
        blocking::run(move || {
            db.write(move |tx| {
                let mut image = tx
                    .image(&scope.namespace, &new.name)?
                    .ok_or_else(|| Error::not_found(format!("image {:?}", new.name)))?;
                merge(&mut image, &new, &paths)?;
                check(&mut image)?;
                image.updated = date.unwrap_or_else(|| tx.now());
                store(tx, &scope, &image)?;
                tx.event(
                    &scope.namespace,
                    Event::ImageUpdate { name: image.name.clone(), labels: image.labels.clone() },
                );
                Ok(image)
            })
        })
        .await
    }

    async fn delete(&self, name: &str, options: DeleteOptions) -> Result<()> {
        let (this, name) = (self.clone(), name.to_owned());
        blocking::run(move || {
            let (scope, target) = (this.scope.clone(), options.target);
            this.db.write(move |tx| {
                let gone = || Error::not_found(format!("image {name:?}"));
                let image = tx.image(&scope.namespace, &name)?.ok_or_else(gone)?;
                if target.as_ref().is_some_and(|target| *target != image.target.digest) {
                    return Err(gone().context(format!(
                        "image {name:?} points at {}, not at the digest that was named",
                        image.target.digest
                    )));
                }
                tx.delete_image(&scope.namespace, &name)?;
                tx.release(&scope, ResourceType::Image, &name)?;
                tx.count_deletion();
                tx.event(&scope.namespace, Event::ImageDelete { name: name.clone() });
                Ok(())
            })?;
            this.collector.after_delete(options.sync)
        })
        .await
    }
}

fn check(image: &mut Image) -> Result<()> {
    let bad = |what: &str| Err(Error::invalid_argument(format!("image {:?}: {what}", image.name)));
    if image.name.is_empty() {
        return Err(Error::invalid_argument("an image name must not be empty"));
    }
    if image.target.size == 0 {
        return bad("the target's size must be greater than 0");
    }
    if image.target.media_type.is_empty() {
        return bad("the target needs a media type");
    }
    labels::check(&image.labels)?;
    image.labels.retain(|_, value| !value.is_empty());
    Ok(())
}

fn merge(image: &mut Image, new: &Image, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        image.labels.clone_from(&new.labels);
        image.target.clone_from(&new.target);
        return Ok(());
    }
    let (target, labels) = (&mut image.target, &mut image.labels);
    labels::apply_update(labels, &new.labels, paths, |path| match path {
        "target" => {
            target.clone_from(&new.target);
            true
        }
        "annotations" => {
            target.annotations.clone_from(&new.target.annotations);
            true
        }
        _ => match path.strip_prefix("annotations.") {
            Some(key) => {
                match new.target.annotations.get(key).filter(|value| !value.is_empty()) {
                    Some(value) => target.annotations.insert(key.to_owned(), value.clone()),
                    None => target.annotations.remove(key),
                };
                true
            }
            None => false,
        },
    })
}

/// Writes the record. A lease holds it only when it would expire otherwise, as containerd does.
fn store(tx: &mut Tx<'_>, scope: &Scope, image: &Image) -> Result<()> {
    tx.put_image(&scope.namespace, image)?;
    tx.ensure_namespace(&scope.namespace)?;
    if image.labels.contains_key(labels::GC_EXPIRE) {
        tx.hold(scope, &ResourceType::Image, &image.name)?;
    }
    Ok(())
}
