//! From a registry to image records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamina_core::platform::Matcher;
use lamina_core::transfer::{NewImages, Progress, ProgressSink, RegistryEnd, Stage};
use lamina_core::{Error, Host, Platform, Reference, Result};
use lamina_image::pull::{Choice, Platforms, Pull, Silent};
use lamina_image::registry::{Proxies, Registry};
use lamina_image::unpack::unpack;

use super::records;
use super::told::{Told, Way};
use super::{Shared, Transfers};

impl Transfers {
    pub(super) async fn pull(
        &self,
        from: RegistryEnd,
        to: NewImages,
        progress: Option<Arc<dyn ProgressSink>>,
    ) -> Result<()> {
        let place = format!("OCI Registry ({})", from.reference);
        let say = |word| progress.iter().for_each(|sink| sink.send(Progress::clone(&word)));
        say(Progress::whole(Stage::Resolving(place.clone())));
        let reference = whole(&from.reference)?;
        let Some(name) = records::first_name(&to) else {
            return Err(Error::invalid_argument("the image store names no image to make"));
        };
        let registry = client(&self.shared, &from)?;
        let repository = registry.repository(&reference, from.credentials).await?;
        for warning in repository.warnings() {
            tracing::warn!(image = name, "{warning}");
        }
        let unpacks = self.shared.defaults.fill(&self.store, &self.scope, &to.unpacks).await?;
        let mut unpacks = by_snapshotter(unpacks).into_iter();
        let first = unpacks.next();
        let pull = Pull {
            repository,
            name: name.clone(),
            host: Arc::new(self.store.clone()),
            scope: self.scope.clone(),
            platforms: platforms(&to, first.as_ref()),
            snapshotter: first.map(|(snapshotter, _)| snapshotter),
            labels: to.labels.clone(),
            downloads: self.shared.downloads,
            limits: self.shared.documents,
            progress: match &progress {
                Some(sink) => Arc::new(Told::new(sink.clone(), place.clone(), name, Way::Pull)),
                None => Arc::new(Silent),
            },
        };
        let image = pull.run(&self.shared.flights).await?.image;
        for (snapshotter, platforms) in unpacks {
            for platform in &platforms {
                let wanted = Matcher::strict(platform);
                unpack(
                    &self.store,
                    &self.scope,
                    &snapshotter,
                    &image,
                    Some(&wanted),
                    self.shared.documents,
                )
                .await?;
            }
        }
        let images = self.store.images(&self.scope);
        let mut made = match image.labels == to.labels {
            true => vec![image.clone()],
            // A pull keeps what others noted about the image; here it says all there is to say.
            false => {
                vec![records::put(&*images, image.name.clone(), &image.target, &to.labels).await?]
            }
        };
        for name in records::other_names(&to, &image) {
            made.push(records::put(&*images, name, &image.target, &to.labels).await?);
        }
        for image in made {
            say(Progress {
                name: image.name,
                descriptor: Some(image.target),
                ..Progress::whole(Stage::Saved)
            });
        }
        say(Progress::whole(Stage::CompletedPull(place)));
        Ok(())
    }
}

/// A reference with nothing left out: the record gets the name that the client gave, so a short form
/// that we completed would be one that others do not find.
pub(super) fn whole(text: &str) -> Result<Reference> {
    let reference = Reference::parse_canonical(text)?;
    if reference.tag().is_none() && reference.digest().is_none() {
        return Err(Error::invalid_argument(format!("image reference {text:?}: it has no tag")));
    }
    Ok(reference)
}

/// The client for one transfer, as its resolver says.
pub(super) fn client(shared: &Shared, from: &RegistryEnd) -> Result<Registry> {
    let plain_http = match from.default_scheme.as_str() {
        "" | "https" => false,
        "http" => true,
        other => {
            return Err(Error::invalid_argument(format!("default_scheme {other:?} is unknown")));
        }
    };
    let host_dir = Path::new(&from.host_dir);
    if !from.host_dir.is_empty() && !host_dir.is_absolute() {
        // A client's current directory is not ours.
        return Err(Error::invalid_argument(format!(
            "host_dir {:?} is not absolute",
            from.host_dir
        )));
    }
    Ok(shared.registry.with(|config| {
        config.plain_http = plain_http;
        if !from.host_dir.is_empty() {
            config.hosts_dirs = vec![PathBuf::from(host_dir)];
        }
        let headers = from.headers.iter();
        config.headers =
            headers.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    }))
}

/// Which snapshotter gets which platforms, in the client's order.
pub(super) fn by_snapshotter(unpacks: Vec<(String, Platform)>) -> Vec<(String, Vec<Platform>)> {
    let mut found: Vec<(String, Vec<Platform>)> = Vec::new();
    for (snapshotter, platform) in unpacks {
        match found.iter_mut().find(|(name, _)| *name == snapshotter) {
            Some((_, platforms)) => platforms.push(platform),
            None => found.push((snapshotter, vec![platform])),
        }
    }
    found
}

/// Which manifests, as containerd chooses: those of exactly the platforms named, or all.
fn platforms(to: &NewImages, unpack: Option<&(String, Vec<Platform>)>) -> Platforms {
    let matcher = match to.platforms.as_slice() {
        [] => Matcher::all(),
        platforms => Matcher::ordered(platforms),
    };
    Platforms::Chosen(Choice {
        matcher,
        limit: usize::try_from(to.manifest_limit).unwrap_or(usize::MAX),
        all_metadata: to.all_metadata,
        unpack: match unpack {
            Some((_, platforms)) => Matcher::any(platforms),
            None => Matcher::any([]),
        },
    })
}

/// The proxies of the environment, by the names that Go programs read.
pub(super) fn proxies() -> Proxies {
    let either = |lower: &str, upper: &str| {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        set(upper).or_else(|| set(lower))
    };
    Proxies {
        http: either("http_proxy", "HTTP_PROXY"),
        https: either("https_proxy", "HTTPS_PROXY"),
        no_proxy: either("no_proxy", "NO_PROXY"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_snapshotter_gets_its_platforms_together() {
        let (amd64, arm64) = (Platform::new("linux", "amd64"), Platform::new("linux", "arm64"));
        let found = by_snapshotter(vec![
            ("overlayfs".to_owned(), amd64.clone()),
            ("native".to_owned(), Platform::host()),
            ("overlayfs".to_owned(), arm64.clone()),
        ]);
        let wanted = [
            ("overlayfs".to_owned(), vec![amd64, arm64]),
            ("native".to_owned(), vec![Platform::host()]),
        ];
        assert_eq!(found, wanted);
    }
}
