//! From an image to a container whose task waits to be started; nothing is left of one that fails.

use std::path::Path;

use jiff::Timestamp;
use lamina_core::image::Image;
use lamina_core::oci::ExecConfig;
use lamina_core::platform::Matcher;
use lamina_core::task::{CreateTask, Stdio};
use lamina_core::{Any, Container, Digest, Error, Labels, Mount, Platform, Result};
use lamina_image::contents::Contents;
use lamina_image::unpack::unpack;
use lamina_runtime::spec::{self, Options, Target, User, labels, user};
use lamina_runtime::{runc, shim_name};
use lamina_store::mount::temp::TempMounts;

use crate::cli::{Context, Session};
use crate::verb::snapshot::{activated, deactivate};
use crate::verb::tasks::Tasks;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) id: &'a str,
    pub(super) image: &'a str,
    pub(super) runtime: &'a str,
    pub(super) options: &'a Options,
}

impl Wish<'_> {
    /// # Errors
    /// AlreadyExists for an identifier in use; those of each step.
    pub(super) async fn make(
        self,
        cx: &Context<'_>,
        session: &Session,
        stdio: Stdio,
    ) -> Result<Container> {
        let scope = cx.scope();
        let Session::Store(store) = session else {
            return Err(Error::internal("a store that was opened is a daemon's"));
        };
        let containers = session.containers(&scope);
        match containers.get(self.id).await {
            Ok(_) => return Err(Error::already_exists(format!("container {:?}", self.id))),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let images = session.images(&scope);
        let image = images.get(&crate::verb::image::name_of(&*images, self.image).await?).await?;
        let (top, config) = unpacked(cx, session, &image).await?;
        let snapshotter = session.snapshotter(&scope, &cx.settings.snapshotter)?;
        // Nothing is collected while this process has the store, and then the record keeps it.
        let mounts = snapshotter.prepare(self.id, top.as_str(), Labels::new()).await?;
        let tasks = Tasks::make(cx, store)?;
        let made = async {
            let user = self.user(cx, session, &config, &mounts).await?;
            let record = self.record(cx, &image, &config, &user)?;
            let record = containers.create(record).await?;
            let task = CreateTask {
                container: self.id.to_owned(),
                rootfs: mounts.clone(),
                stdio,
                ..CreateTask::default()
            };
            tasks.service.create(task).await?;
            Ok(record)
        }
        .await;
        tasks.close().await;
        if made.is_err() {
            undo(cx, session, self.id).await;
        }
        made
    }

    /// Looks up who the program runs as, in the files it will have.
    async fn user(
        self,
        cx: &Context<'_>,
        session: &Session,
        config: &ExecConfig,
        mounts: &[Mount],
    ) -> Result<User> {
        let wanted = self.options.user.as_deref().unwrap_or(&config.user);
        let ready = activated(cx, session, self.id, mounts.to_vec()).await?;
        let place = TempMounts::new(cx.settings.config.root.join("tmpmounts"));
        let found = place.mount_read_only(&ready).and_then(|mounted| {
            let found = user::find_at(mounted.path(), wanted);
            mounted.unmount()?;
            found
        });
        deactivate(cx, session, self.id).await?;
        found
    }

    fn record(
        self,
        cx: &Context<'_>,
        image: &Image,
        config: &ExecConfig,
        user: &User,
    ) -> Result<Container> {
        let target = Target {
            namespace: &cx.settings.namespace,
            id: self.id,
            arch: std::env::consts::ARCH,
            unified_cgroups: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        };
        let spec = spec::build(&target, config, user, self.options)?;
        Ok(Container {
            id: self.id.to_owned(),
            labels: labels::of_container(config, None)?,
            image: image.name.clone(),
            runtime: self.runtime.to_owned(),
            runtime_options: self.runtime_options(cx),
            spec: spec::to_any(&spec),
            snapshotter: cx.settings.snapshotter.clone(),
            snapshot_key: self.id.to_owned(),
            sandbox: String::new(),
            extensions: Default::default(),
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        })
    }

    /// runc's state is ours: other programs of this host have containers, too. Other runtimes have
    /// other options, or none.
    fn runtime_options(self, cx: &Context<'_>) -> Option<Any> {
        let name = Path::new(self.runtime).file_name()?.to_str()?;
        let program = shim_name::program(name).unwrap_or_else(|_| name.to_owned());
        let state = || cx.settings.config.state.join("runc");
        (program == "containerd-shim-runc-v2").then(|| runc::options(&state()))
    }
}

/// The topmost layer of an image for this host, and what its config says of running it.
async fn unpacked(
    cx: &Context<'_>,
    session: &Session,
    image: &Image,
) -> Result<(Digest, ExecConfig)> {
    let matcher = Matcher::only(&Platform::host());
    let limits = cx.settings.config.limits.documents;
    let scope = cx.scope();
    let name = &cx.settings.snapshotter;
    let tops = unpack(&**session, &scope, name, image, Some(&matcher), limits).await?;
    let top = tops.into_iter().next().ok_or_else(|| Error::internal("nothing was unpacked"))?;
    let content = session.content(&scope);
    let contents = Contents::of(&*content, &image.target, limits).await?;
    let configs = contents.parts.into_iter().filter_map(|part| part.config);
    let mut of_top = configs.filter(|config| {
        let platform = Platform {
            variant: config.variant.clone(),
            ..Platform::new(config.os.clone(), config.architecture.clone())
        };
        matcher.matches(&platform) && config.chain_ids().last() == Some(&top)
    });
    let config = of_top.next().ok_or_else(|| {
        Error::not_found(format!("the config of {} for this platform", image.name))
    })?;
    Ok((top, config.config))
}

/// Takes away what was made before an error, which is what is told.
async fn undo(cx: &Context<'_>, session: &Session, id: &str) {
    let scope = cx.scope();
    let undone = async {
        let found = session.containers(&scope).delete(id).await;
        found.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })?;
        session.snapshotter(&scope, &cx.settings.snapshotter)?.remove(id).await?;
        session.collect().await.map(drop)
    };
    if let Err(error) = undone.await {
        eprintln!("warning: something is left of container {id:?}: {}", error.chain());
    }
}
