//! Images from and into archives.

use std::sync::Arc;

use lamina_core::platform::Matcher;
use lamina_core::transfer::{
    ExportStream, ImportStream, NewImages, NewReference, Progress, ProgressSink, Stage,
    StoredImages,
};
use lamina_core::{Error, Host as _, Platform, Result};
use lamina_image::export::Export;
use lamina_image::import::{Import, Source};
use lamina_image::pull::Silent;

use super::Transfers;
use super::pull::by_snapshotter;

impl Transfers {
    pub(super) async fn import(
        &self,
        from: ImportStream,
        to: NewImages,
        progress: Option<Arc<dyn ProgressSink>>,
    ) -> Result<()> {
        let say = |word| progress.iter().for_each(|sink| sink.send(Progress::clone(&word)));
        say(Progress::whole(Stage::Importing));
        let unpacks = self.shared.defaults.fill(&self.store, &self.scope, &to.unpacks).await?;
        let unpacks = by_snapshotter(unpacks).into_iter();
        let exact = to.references.iter().filter_map(|reference| match reference {
            NewReference::Name(name) => Some(name.clone()),
            NewReference::Prefix { .. } => None,
        });
        let name = Some(to.name.clone()).filter(|name| !name.is_empty());
        let import = Import {
            host: Arc::new(self.store.clone()),
            scope: self.scope.clone(),
            platforms: chosen(&to.platforms),
            index_names: name.into_iter().chain(exact).collect(),
            references: to.references.clone(),
            labels: to.labels.clone(),
            unpacks: unpacks.map(|(name, platforms)| (name, Matcher::any(&platforms))).collect(),
            force_compress: from.force_compress,
            limits: self.shared.documents,
            progress: Arc::new(Silent),
        };
        for image in import.run(Source::Archive(from.bytes)).await? {
            say(Progress {
                name: image.name,
                descriptor: Some(image.target),
                ..Progress::whole(Stage::Saved)
            });
        }
        say(Progress::whole(Stage::CompletedImport));
        Ok(())
    }

    pub(super) async fn export(
        &self,
        from: StoredImages,
        mut to: ExportStream,
        progress: Option<Arc<dyn ProgressSink>>,
    ) -> Result<()> {
        let say = |word| progress.iter().for_each(|sink| sink.send(Progress::clone(&word)));
        say(Progress::whole(Stage::Exporting));
        if from.names.is_empty() {
            return Err(Error::invalid_argument("the image store names no image to export"));
        }
        let images = self.store.images(&self.scope);
        let mut named = Vec::with_capacity(from.names.len());
        for name in &from.names {
            named.push(images.get(name).await?);
        }
        let platforms = match (to.all_platforms, to.platforms.as_slice()) {
            (true, _) => None,
            (false, []) => Some(Matcher::strict(&Platform::host())),
            (false, platforms) => chosen(platforms),
        };
        let export = Export {
            content: self.store.content(&self.scope),
            images: named,
            platforms,
            docker: !to.skip_docker_manifest,
            skip_nondistributable: to.skip_non_distributable,
            limits: self.shared.documents,
        };
        export.run(&mut *to.bytes).await?;
        to.bytes.finish().await?;
        say(Progress::whole(Stage::CompletedExport));
        Ok(())
    }
}

/// The platforms named; none for all.
pub(super) fn chosen(platforms: &[Platform]) -> Option<Matcher> {
    (!platforms.is_empty()).then(|| Matcher::ordered(platforms))
}
