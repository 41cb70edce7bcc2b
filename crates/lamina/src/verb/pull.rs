//! `lamina pull`

mod access;
mod progress;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lamina_core::platform::Matcher;
use lamina_core::{Host, Labels, Platform, Reference, Result};
use lamina_image::pull::{self, DOWNLOADS, Flights, Platforms, Progress, Silent};
use lamina_image::registry::{Config, Registry};

use crate::cli::{Context, Durability, until_interrupted};

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
    /// Layers that may be downloaded at once
    #[arg(long, value_name = "N", default_value_t = DOWNLOADS)]
    max_concurrent_downloads: usize,
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
        let registry = Registry::new(Config {
            hosts_dirs: self.hosts_dir,
            plain_http: self.plain_http,
            skip_verify: self.skip_verify,
            proxies: access::proxies(),
            limits: cx.settings.config.limits.registry.clone(),
            ..Config::default()
        })?;
        let repository = registry.repository(&reference, credentials).await?;
        for warning in repository.warnings() {
            eprintln!("warning: {warning}");
        }
        let platform = self.platform.unwrap_or_else(Platform::host);
        let platforms = match self.all_platforms {
            true => Platforms::All,
            false => Platforms::Best(Matcher::only(&platform)),
        };
        let progress: Arc<dyn Progress> = match (self.quiet, progress::can_redraw()) {
            (true, _) => Arc::new(Silent),
            (false, true) => Arc::new(progress::Bars::default()),
            (false, false) => Arc::new(progress::Lines),
        };
        let session = cx.connect_with(self.durability.map(Durability::from))?;
        let host: Arc<dyn Host> = Arc::new(session.local().clone());
        let pull = pull::Pull {
            repository,
            name: reference.to_string(),
            host,
            scope: cx.scope(),
            platforms,
            snapshotter: (!self.no_unpack).then(|| cx.settings.snapshotter.clone()),
            labels: Labels::new(),
            downloads: self.max_concurrent_downloads,
            limits: cx.settings.config.limits.documents,
            progress,
        };
        let (what, flights) = (format!("pull {}", pull.name), Flights::new());
        let image = until_interrupted(&what, pull.run(&flights)).await?.image;
        match self.quiet {
            true => cx.line(image.name),
            false => cx.line(format_args!("{} {}", image.name, image.target.digest)),
        }
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
