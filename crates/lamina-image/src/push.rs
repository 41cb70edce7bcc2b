//! Push: an image that is here, into a repository.
//!
//! Blobs first, side by side, then the manifests that name them, the tag last: what a registry lists is
//! whole there too. What the registry has is not sent; what it has in another repository, by the labels
//! that pulls leave, it takes from there.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use lamina_core::content::Info;
use lamina_core::labels::DISTRIBUTION_SOURCE;
use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::{ContentStore, Descriptor, Error, Result, media_type};

use crate::contents::{Contents, Part, document};
use crate::pull::{Progress, State};
use crate::registry::{Repository, Upload, Uploaded};

/// Blobs that go at once, when the caller does not say.
pub const UPLOADS: usize = 3;

/// How often the bytes that went are told.
const PAUSE: Duration = Duration::from_millis(300);

/// Repositories that a registry is asked to take a blob from.
const MOUNTS: usize = 3;

/// What to push, and where to.
#[derive(Clone, Debug)]
pub struct Push {
    /// Where the image's content is.
    pub content: Arc<dyn ContentStore>,
    /// Where it goes, opened as a [destination](crate::registry::Registry::destination).
    pub repository: Repository,
    /// The platforms; none for all that the image is for, which then have to be here.
    pub platforms: Option<Matcher>,
    /// Without `platforms`: where but one of them is here, that one will do.
    pub what_is_here: bool,
    /// Blobs that may go at once.
    pub uploads: usize,
    /// Bytes a request of an upload at most; a blob in one when not given.
    pub chunk: Option<u64>,
    /// Bounds of manifests, indexes and configs.
    pub limits: Limits,
    /// Who is told how far it is. Going is told as [`State::Downloading`].
    pub progress: Arc<dyn Progress>,
}

/// What of an image goes.
struct Plan<'a> {
    blobs: Vec<&'a Descriptor>,
    /// Manifests, then the indexes that name them, the root last.
    documents: Vec<&'a Descriptor>,
}

impl Push {
    /// Pushes `target`. Returns what the repository's tag stands for then: `target`, or of a choice of
    /// one platform, its manifest.
    ///
    /// # Errors
    /// NotFound for content that is not here, or when no platform fits; InvalidArgument for the name of
    /// another digest; those of the registry. What went before an error, the next push finds there.
    pub async fn run(&self, target: &Descriptor) -> Result<Descriptor> {
        let reference = self.repository.reference();
        let failed = |e: Error| e.context(format!("push {reference}"));
        self.push(target).await.map_err(failed)
    }

    async fn push(&self, target: &Descriptor) -> Result<Descriptor> {
        let contents = Contents::of(&*self.content, target, self.limits).await?;
        let plan = self.plan(&contents, target)?;
        let root = plan.documents.last().copied().unwrap_or(target);
        if self.repository.reference().digest().is_some_and(|wanted| *wanted != root.digest) {
            let message = format!("what is to be pushed has another digest, {}", root.digest);
            return Err(Error::invalid_argument(message));
        }
        self.progress.resolved(root);
        let rest = plan.documents.split_last().map_or(&[][..], |(_, rest)| rest);
        let below = rest.iter().chain(&plan.blobs).map(|d| (*d).clone());
        self.progress.children(root, &below.collect::<Vec<_>>());
        let mut blobs = Vec::with_capacity(plan.blobs.len());
        for blob in &plan.blobs {
            blobs.push(self.blob(blob).boxed());
        }
        stream::iter(blobs).buffer_unordered(self.uploads.max(1)).try_collect::<()>().await?;
        for document in plan.documents.iter().rev().skip(1).rev() {
            self.document(document, None).await?;
        }
        self.document(root, self.repository.reference().tag()).await?;
        Ok(root.clone())
    }

    fn plan<'a>(&self, contents: &'a Contents, target: &'a Descriptor) -> Result<Plan<'a>> {
        let fits = |part: &&Part| match (&self.platforms, part.platform()) {
            (Some(matcher), Some(platform)) => matcher.matches(&platform),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut parts: Vec<&Part> = contents.parts.iter().filter(fits).collect();
        if parts.is_empty() {
            let lacking = contents.missing.iter().find(|d| d.digest == target.digest);
            return Err(Error::not_found(match lacking {
                Some(target) => format!("{} is not here", target.digest),
                None => "no manifest for the platform wanted is here".to_owned(),
            }));
        }
        let is_missing = |blob: &Descriptor| {
            !is_kept_back(blob) && contents.missing.iter().any(|m| m.digest == blob.digest)
        };
        let lacks = |part: &&Part| part.blobs().any(is_missing);
        let manifests = contents.missing.iter().any(|m| m.is_manifest() || m.is_index());
        let mut whole = parts.len() == contents.parts.len() && !manifests;
        let choice = self.platforms.is_none() && self.what_is_here;
        if choice && (manifests || parts.len() > 1 && parts.iter().any(lacks)) {
            parts.retain(|part| !lacks(part));
            if parts.len() != 1 {
                return Err(Error::not_found(
                    "not all of its platforms are here: push one with --platform, or pull them all",
                ));
            }
            whole = false;
        }
        let mut lacking = parts.iter().flat_map(|part| part.blobs()).filter(|b| is_missing(b));
        if let Some(blob) = lacking.next() {
            return Err(Error::not_found(format!("{} is not here", blob.digest)));
        }
        if self.platforms.is_none() && !whole && !self.what_is_here {
            let digest = contents.missing.first().map_or(&target.digest, |d| &d.digest);
            return Err(Error::not_found(format!("{digest} is not here")));
        }
        let mut plan = Plan { blobs: Vec::new(), documents: Vec::new() };
        let mut seen = HashSet::new();
        for part in &parts {
            let blobs = [&part.manifest.config].into_iter().chain(&part.manifest.layers);
            for blob in blobs.filter(|blob| !is_kept_back(blob)) {
                if seen.insert(&blob.digest) {
                    plan.blobs.push(blob);
                }
            }
            plan.documents.push(&part.descriptor);
        }
        // One manifest of several goes by itself: a registry takes no index of what it has not.
        if whole || parts.len() > 1 {
            plan.documents.extend(contents.indexes.iter().rev());
        }
        Ok(plan)
    }

    async fn blob(&self, blob: &Descriptor) -> Result<()> {
        let info = self.content.info(&blob.digest).await?;
        let from = sources(&info, self.repository.reference());
        let sent = Arc::new(AtomicU64::new(0));
        let upload = Upload {
            blob,
            bytes: Arc::from(self.content.reader(&blob.digest).await?),
            from: &from,
            chunk: self.chunk,
            sent: Arc::clone(&sent),
        };
        self.progress.state(blob, State::Downloading { from: 0 });
        let telling = async {
            loop {
                tokio::time::sleep(PAUSE).await;
                self.progress.bytes(&blob.digest, sent.load(Ordering::Relaxed), 0);
            }
        };
        let uploaded = tokio::select! {
            uploaded = self.repository.upload(&upload) => uploaded?,
            () = telling => return Err(Error::internal("progress ended")),
        };
        self.tell(blob, uploaded);
        Ok(())
    }

    async fn document(&self, descriptor: &Descriptor, tag: Option<&str>) -> Result<()> {
        let bytes = document(&*self.content, descriptor, self.limits).await?;
        self.progress.state(descriptor, State::Downloading { from: 0 });
        let uploaded = self.repository.upload_manifest(descriptor, bytes.into(), tag).await?;
        self.tell(descriptor, uploaded);
        Ok(())
    }

    fn tell(&self, content: &Descriptor, uploaded: Uploaded) {
        self.progress.state(
            content,
            match uploaded {
                Uploaded::Exists => State::Exists,
                Uploaded::Mounted | Uploaded::Sent => State::Done,
            },
        );
    }
}

fn is_kept_back(blob: &Descriptor) -> bool {
    media_type::is_nondistributable(&blob.media_type)
}

/// Other repositories of the registry that a blob came from, those first whose names are most alike.
fn sources(info: &Info, to: &lamina_core::Reference) -> Vec<String> {
    let Some((key, _)) = crate::pull::source_label(to).into_iter().next() else {
        return Vec::new();
    };
    debug_assert!(key.starts_with(DISTRIBUTION_SOURCE));
    let alike = |name: &str| {
        name.split('/').zip(to.repository().split('/')).take_while(|(a, b)| a == b).count()
    };
    let known = info.labels.get(&key).map(String::as_str).unwrap_or_default().split(',');
    // They go into a URL, and a label is anybody's.
    let is_name = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/._-".contains(&b))
    };
    let mut names: Vec<String> =
        known.filter(is_name).filter(|name| *name != to.repository()).map(str::to_owned).collect();
    names.sort_by_key(|name| std::cmp::Reverse(alike(name)));
    names.truncate(MOUNTS);
    names
}
