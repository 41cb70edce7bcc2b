//! `lamina push`

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use lamina_core::platform::Matcher;
use lamina_core::{Descriptor, Digest, Platform, Reference, Result};
use lamina_image::pull::{Progress, Silent, State};
use lamina_image::push::{self, UPLOADS};
use lamina_image::registry::{Config, Registry};

use super::image::name_of;
use super::pull::access;
use crate::cli::{Context, until_interrupted};
use crate::out::visible;

/// Pushes an image to a registry
///
/// What the registry has is not sent again. A push that was interrupted goes on with what is not there
/// yet when it is started again.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Push this platform only, such as linux/arm64 [default: all; or the one that is here]
    #[arg(long, value_parser = Platform::parse)]
    platform: Option<Platform>,
    /// Talk to the registry without encryption
    #[arg(long)]
    plain_http: bool,
    /// Do not check the registry's certificate
    #[arg(long, short = 'k')]
    skip_verify: bool,
    /// Who to be; without a password, its first line is read from standard input
    #[arg(long, short, value_name = "USER[:PASSWORD]")]
    user: Option<String>,
    /// A directory with a hosts.toml for each registry
    #[arg(long, value_name = "DIR")]
    hosts_dir: Vec<PathBuf>,
    /// Layers that may be uploaded at once [default: 3]
    #[arg(long, value_name = "N")]
    max_concurrent_uploads: Option<usize>,
    /// Upload layers in pieces of so many bytes, for registries that take no more at once
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    chunk_size: Option<u64>,
    /// Print nothing but the destination's name
    #[arg(long, short)]
    quiet: bool,
    /// Where to push it to [default: where its name says]
    #[arg(value_name = "REF")]
    destination: String,
    /// The image [default: the one with the destination's name]
    #[arg(value_name = "IMAGE")]
    name: Option<String>,
}

impl Push {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let destination = Reference::parse(&self.destination)?;
        let credentials = access::credentials(self.user.as_deref(), &destination)?;
        let session = cx.connect().await?;
        let images = session.images(&cx.scope());
        let named = self.name.as_deref().unwrap_or(&self.destination);
        let image = images.get(&name_of(&*images, named).await?).await?;
        let registry = Registry::new(Config {
            hosts_dirs: self.hosts_dir.clone(),
            plain_http: self.plain_http,
            skip_verify: self.skip_verify,
            proxies: access::proxies(),
            limits: cx.settings.config.limits.registry.clone(),
            ..Config::default()
        })?;
        let repository = registry.destination(&destination, credentials).await?;
        for warning in repository.warnings() {
            eprintln!("warning: {warning}");
        }
        let push = push::Push {
            content: session.content(&cx.scope()),
            repository,
            platforms: self.platform.as_ref().map(Matcher::only),
            what_is_here: true,
            uploads: self.max_concurrent_uploads.unwrap_or(UPLOADS),
            chunk: self.chunk_size,
            limits: cx.settings.config.limits.documents,
            progress: match self.quiet {
                true => Arc::new(Silent),
                false => Arc::new(Lines::default()),
            },
        };
        let what = format!("push {destination}");
        let pushed = until_interrupted(&what, push.run(&image.target)).await?;
        if pushed.digest != image.target.digest && self.platform.is_none() {
            eprintln!("note: only one platform of {} is here, and was pushed", image.name);
        }
        match self.quiet {
            true => cx.line(visible(&destination.to_string())),
            false => {
                cx.line(format_args!("{} {}", visible(&destination.to_string()), pushed.digest))
            }
        }
    }
}

/// A line for each step, and one for each tenth of a blob.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<(Digest, u64, u64)>>);

impl Progress for Lines {
    fn resolved(&self, target: &Descriptor) {
        eprintln!("{} pushing", name(target));
    }

    fn state(&self, content: &Descriptor, state: State) {
        let word = match state {
            State::Waiting | State::Unpacking => return,
            State::Downloading { .. } => "uploading",
            State::Exists => "exists",
            State::Done => "done",
        };
        eprintln!("{} {word}", name(content));
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            State::Downloading { .. } => going.push((content.digest.clone(), content.size, 0)),
            _ => going.retain(|(digest, ..)| *digest != content.digest),
        }
    }

    fn bytes(&self, digest: &Digest, sent: u64, _: u64) {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, size, told)) = going.iter_mut().find(|(known, ..)| known == digest) else {
            return;
        };
        let tenths = sent.saturating_mul(10).checked_div(*size).unwrap_or(0);
        if tenths > *told && tenths < 10 {
            *told = tenths;
            eprintln!("layer-{digest} {tenths}0%");
        }
    }
}

fn name(content: &Descriptor) -> String {
    let kind = match content {
        d if d.is_manifest() => "manifest",
        d if d.is_index() => "index",
        d if d.is_layer() => "layer",
        d if d.is_config() => "config",
        _ => "blob",
    };
    format!("{kind}-{}", content.digest)
}
