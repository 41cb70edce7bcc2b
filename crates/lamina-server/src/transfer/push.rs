//! From an image record into a registry.

use std::sync::Arc;

use lamina_core::transfer::{Progress, ProgressSink, RegistryEnd, Stage, StoredImages};
use lamina_core::{Error, Host as _, Result};
use lamina_image::pull::Silent;
use lamina_image::push::Push;

use super::Transfers;
use super::archive::chosen;
use super::pull::{client, whole};
use super::told::{Told, Way};

impl Transfers {
    pub(super) async fn push(
        &self,
        from: StoredImages,
        to: RegistryEnd,
        progress: Option<Arc<dyn ProgressSink>>,
    ) -> Result<()> {
        let place = format!("OCI Registry ({})", to.reference);
        let say = |word| progress.iter().for_each(|sink| sink.send(Progress::clone(&word)));
        let [name] = from.names.as_slice() else {
            let count = from.names.len();
            return Err(Error::invalid_argument(format!("a push is of one image, not of {count}")));
        };
        let reference = whole(&to.reference)?;
        let image = self.store.images(&self.scope).get(name).await?;
        let registry = client(&self.shared, &to)?;
        let repository = registry.destination(&reference, to.credentials).await?;
        for warning in repository.warnings() {
            tracing::warn!(image = name, "{warning}");
        }
        let push = Push {
            content: self.store.content(&self.scope),
            repository,
            platforms: chosen(&from.platforms),
            what_is_here: false,
            uploads: self.shared.uploads,
            chunk: None,
            limits: self.shared.documents,
            progress: match &progress {
                Some(sink) => {
                    Arc::new(Told::new(sink.clone(), place.clone(), name.clone(), Way::Push))
                }
                None => Arc::new(Silent),
            },
        };
        let target = push.run(&image.target).await?;
        say(Progress {
            name: name.clone(),
            descriptor: Some(target),
            ..Progress::whole(Stage::PushedContent)
        });
        say(Progress::whole(Stage::CompletedPush(place)));
        Ok(())
    }
}
