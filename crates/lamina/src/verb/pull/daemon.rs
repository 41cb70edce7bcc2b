//! A pull by the daemon. Only the credentials and the screen are on this side.

use std::sync::Arc;

use lamina_core::credentials::Credentials;
use lamina_core::image::Image;
use lamina_core::transfer::{
    Destination, NewImages, ProgressSink, RegistryEnd, Source, TransferOptions, Unpack,
};
use lamina_core::{Error, Host as _, Platform, Reference, Result};
use lamina_image::pull::Progress;
use lamina_image::unpack::unpack;

use super::Pull;
use super::told::Told;
use crate::cli::{Context, Daemon, until_interrupted};

impl Pull {
    /// Pulls.
    ///
    /// # Errors
    /// InvalidArgument for flags that the API cannot carry, and those of the transfer.
    pub(super) async fn by_daemon(
        &self,
        cx: &Context<'_>,
        daemon: &Daemon,
        reference: &Reference,
        credentials: Arc<dyn Credentials>,
        progress: Arc<dyn Progress>,
    ) -> Result<Image> {
        self.check_flags(daemon)?;
        let name = reference.to_string();
        let from = RegistryEnd {
            credentials,
            host_dir: self.host_dir()?,
            default_scheme: if self.plain_http { "http".to_owned() } else { String::new() },
            ..RegistryEnd::new(&name)
        };
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        cx.learn(&daemon.client).await?;
        let snapshotter = &cx.settings.snapshotter;
        let one = Unpack { platform: Some(platform.clone()), snapshotter: snapshotter.to_string() };
        let to = NewImages {
            name: name.clone(),
            platforms: if self.all_platforms { Vec::new() } else { vec![platform] },
            manifest_limit: u32::from(!self.all_platforms),
            unpacks: if self.no_unpack || self.all_platforms { Vec::new() } else { vec![one] },
            ..NewImages::default()
        };
        let progress: Arc<dyn ProgressSink> = Arc::new(Told::new(progress));
        let options = TransferOptions { progress: Some(progress) };
        let scope = cx.scope();
        let transfer = daemon.client.transfer(&scope);
        let what = format!("pull {name}");
        let pull = async {
            let pulled =
                transfer.transfer(Source::Registry(from), Destination::Images(to), options);
            pulled.await.map_err(|error| named(error, &what))?;
            let image = daemon.client.images(&scope).get(&name).await?;
            if self.all_platforms && !self.no_unpack {
                // A transfer unpacks platforms that are named, and which there are is known now.
                let limits = cx.settings.config.limits.documents;
                unpack(&daemon.client, &scope, snapshotter, &image, None, limits).await?;
            }
            Ok(image)
        };
        until_interrupted(&what, pull).await
    }

    /// Refuses flags that the daemon would not hear of.
    fn check_flags(&self, daemon: &Daemon) -> Result<()> {
        let flags = [
            ("--durability", self.durability.is_some(), "`durability` in its configuration file"),
            (
                "--max-concurrent-downloads",
                self.max_concurrent_downloads.is_some(),
                "`max_concurrent_downloads` in its configuration file",
            ),
            ("--skip-verify", self.skip_verify, "`skip_verify` in a hosts.toml"),
            ("a second --hosts-dir", self.hosts_dir.len() > 1, "`config_path`, which is a list"),
        ];
        let Some((flag, _, instead)) = flags.into_iter().find(|(_, given, _)| *given) else {
            return Ok(());
        };
        Err(Error::invalid_argument(format!(
            "{flag} cannot be asked of the daemon at {}; it goes by {instead}",
            daemon.socket.display()
        )))
    }

    /// The daemon is in another directory.
    fn host_dir(&self) -> Result<String> {
        let Some(typed) = self.hosts_dir.first() else { return Ok(String::new()) };
        let path = crate::cli::absolute(typed.clone())?;
        path.to_str().map(str::to_owned).ok_or_else(|| {
            Error::invalid_argument(format!("--hosts-dir {} is not UTF-8", path.display()))
        })
    }
}

/// What fails before the daemon begins does not say at what.
fn named(error: Error, what: &str) -> Error {
    if error.chain().starts_with("pull ") { error } else { error.context(what.to_owned()) }
}
