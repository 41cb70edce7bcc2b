//! `lamina pull`

pub(super) mod access;
mod daemon;
mod progress;
mod told;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lamina_core::credentials::Credentials;
use lamina_core::image::Image;
use lamina_core::platform::Matcher;
use lamina_core::{Error, Labels, Platform, Reference, Result};
use lamina_image::pull::{self, DOWNLOADS, Flights, Platforms, Progress, Silent};
use lamina_image::registry::{Config, Registry};

use crate::cli::{Context, Durability, Session, until_interrupted};

/// Pulls an image from a registry and unpacks it into snapshots
///
/// A pull that was interrupted goes on where it was when it is started again.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The platform to pull, such as linux/arm64 [default: that of this host]
    #[arg(long, value_parser = Platform::parse, conflicts_with = "all_platforms")]
    platform: Option<Platform>,
    /// Pull every platform there is
    #[arg(long)]
    all_platforms: bool,
    /// Leave the layers packed
    #[arg(long)]
    no_unpack: bool,
    /// Ask the registry without encryption
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
    /// Layers that may be downloaded at once [default: 3]
    #[arg(long, value_name = "N")]
    max_concurrent_downloads: Option<usize>,
    /// Whether what was pulled survives a power cut [default: as configured]
    #[arg(long, value_enum)]
    durability: Option<DurabilityArg>,
    /// Print nothing but the image's name
    #[arg(long, short)]
    quiet: bool,
    /// The image
    #[arg(value_name = "REF")]
    reference: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityArg {
    /// It does
    Full,
    /// It may not, and is pulled faster
    None,
}

impl Pull {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let reference = Reference::parse(&self.reference)?;
        let credentials = access::credentials(self.user.as_deref(), &reference)?;
        let progress: Arc<dyn Progress> = match (self.quiet, progress::can_redraw()) {
            (true, _) => Arc::new(Silent),
            (false, true) => Arc::new(progress::Bars::default()),
            (false, false) => Arc::new(progress::Lines),
        };
        let image = match cx.daemon().await? {
            Some(daemon) => self.by_daemon(cx, &daemon, &reference, credentials, progress).await?,
            None => self.by_itself(cx, &reference, credentials, progress).await?,
        };
        match self.quiet {
            true => cx.line(image.name),
            false => cx.line(format_args!("{} {}", image.name, image.target.digest)),
        }
    }

    /// Pulls an image for a verb that needs one. Standard output is left to the verb.
    pub(super) async fn missing(cx: &Context<'_>, reference: &Reference) -> Result<()> {
        let pull = Pull {
            platform: None,
            all_platforms: false,
            no_unpack: false,
            plain_http: false,
            skip_verify: false,
            user: None,
            hosts_dir: Vec::new(),
            max_concurrent_downloads: None,
            durability: None,
            quiet: false,
            reference: reference.to_string(),
        };
        let credentials = access::credentials(None, reference)?;
        let progress: Arc<dyn Progress> = match progress::can_redraw() {
            true => Arc::new(progress::Bars::default()),
            false => Arc::new(progress::Lines),
        };
        match cx.daemon().await? {
            Some(daemon) => pull.by_daemon(cx, &daemon, reference, credentials, progress).await,
            None => pull.by_itself(cx, reference, credentials, progress).await,
        }
        .map(drop)
    }

    /// Pulls into a store that this process opens.
    async fn by_itself(
        &self,
        cx: &Context<'_>,
        reference: &Reference,
        credentials: Arc<dyn Credentials>,
        progress: Arc<dyn Progress>,
    ) -> Result<Image> {
        let registry = Registry::new(Config {
            hosts_dirs: self.hosts_dir.clone(),
            plain_http: self.plain_http,
            skip_verify: self.skip_verify,
            proxies: access::proxies(),
            limits: cx.settings.config.limits.registry.clone(),
            ..Config::default()
        })?;
        let repository = registry.repository(reference, credentials).await?;
        for warning in repository.warnings() {
            eprintln!("warning: {warning}");
        }
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let platforms = match self.all_platforms {
            true => Platforms::All,
            false => Platforms::Best(Matcher::only(&platform)),
        };
        let Session::Store(ref store) = cx.open_with(self.durability.map(Durability::from))? else {
            return Err(Error::internal("a store that was opened is a daemon's"));
        };
        cx.learn(store).await?;
        let pull = pull::Pull {
            repository,
            name: reference.to_string(),
            host: Arc::new(store.clone()),
            scope: cx.scope(),
            platforms,
            snapshotter: (!self.no_unpack).then(|| cx.settings.snapshotter.clone()),
            labels: Labels::new(),
            downloads: self.max_concurrent_downloads.unwrap_or(DOWNLOADS),
            limits: cx.settings.config.limits.documents,
            progress,
        };
        let (what, flights) = (format!("pull {}", pull.name), Flights::new());
        Ok(until_interrupted(&what, pull.run(&flights)).await?.image)
    }
}

impl From<DurabilityArg> for Durability {
    fn from(arg: DurabilityArg) -> Self {
        match arg {
            DurabilityArg::Full => Durability::Full,
            DurabilityArg::None => Durability::None,
        }
    }
}
