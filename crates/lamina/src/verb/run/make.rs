//! From an image to a container: its root, and the record. Nothing is left of one that fails.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use lamina_core::image::Image;
use lamina_core::labels::GC_EXPIRE;
use lamina_core::namespace::check_identifier;
use lamina_core::oci::ExecConfig;
use lamina_core::platform::Matcher;
use lamina_core::{
    Any, Container, Digest, Error, Labels, Mount, Platform, Reference, Result, Scope, Snapshotter,
};
use lamina_image::contents::Contents;
use lamina_image::unpack::unpack;
use lamina_runtime::spec::{self, Options, Target, User, labels, user};
use lamina_runtime::{runc, shim_name};
use lamina_store::mount::temp::TempMounts;

use super::options::OptionArgs;
use super::restart::Restart;
use super::start::log_address;
use crate::cli::labels::LabelArg;
use crate::cli::{Context, Session, root_of};
use crate::verb::snapshot::{activated, deactivate};
use crate::verb::tasks::place::Place;

/// On a snapshot: the container that it is the root of. Without the container, it is left over.
pub(in crate::verb) const ROOT_OF: &str = "lamina.dev/root-of";

/// How long the root of a container that is being made is kept beside a daemon that collects.
const MAKING: Duration = Duration::from_secs(3600);

/// What makes a container.
#[derive(Debug, Args)]
pub(in crate::verb) struct CreateArgs {
    /// The container's identifier [default: one that is made up]
    #[arg(long, value_name = "ID")]
    name: Option<String>,
    /// Let the program read what is typed, or what attaches later
    #[arg(long, short)]
    pub(super) interactive: bool,
    /// Give the program a terminal
    #[arg(long, short)]
    pub(super) tty: bool,
    /// The runtime: a name, or the path of a shim
    #[arg(long, value_name = "NAME", default_value = "io.containerd.runc.v2")]
    runtime: String,
    /// A label of the container
    #[arg(long, short, value_name = "KEY=VALUE")]
    label: Vec<LabelArg>,
    /// The signal that asks the program to end [default: the image's, or TERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// When to start it again: no, always, unless-stopped, on-failure[:TIMES]; needs the daemon
    #[arg(long, value_name = "POLICY", default_value = "no")]
    restart: Restart,
    /// Have systemd make the control group
    #[arg(long)]
    systemd_cgroup: bool,
    #[command(flatten)]
    options: OptionArgs,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// What to run instead of the image's command, with its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl CreateArgs {
    /// Reads what was typed.
    ///
    /// # Errors
    /// PermissionDenied for who is not root; InvalidArgument for what is malformed, and for a restart
    /// with streams that end.
    pub(in crate::verb) fn wish(&self, detached: bool) -> Result<Wish<'_>> {
        super::need_root()?;
        let mut options = self.options.read(&self.command)?;
        options.terminal = self.tty;
        if self.restart != Restart::No && (!detached || self.interactive || self.tty) {
            return Err(Error::invalid_argument(
                "--restart goes with --detach, and without --interactive and --tty: the streams of \
                 a container that is started again are a log's",
            ));
        }
        let id = match &self.name {
            Some(name) => name.clone(),
            None => super::random_id()?,
        };
        check_identifier(&id)?;
        Ok(Wish { id, args: self, options })
    }
}

/// A container to be made.
#[derive(Debug)]
pub(in crate::verb) struct Wish<'a> {
    id: String,
    args: &'a CreateArgs,
    options: Options,
}

impl Wish<'_> {
    pub(in crate::verb) async fn pull_if_missing(&self, cx: &Context<'_>) -> Result<()> {
        let image = &self.args.image;
        let found = {
            let session = cx.connect().await?;
            let images = session.images(&cx.scope());
            let name = crate::verb::image::name_of(&*images, image).await?;
            images.get(&name).await
        };
        match found {
            Err(error) if error.is_not_found() => {
                crate::verb::pull::Pull::missing(cx, &Reference::parse(image)?).await
            }
            found => found.map(drop),
        }
    }

    /// Makes the root and the record.
    ///
    /// # Errors
    /// AlreadyExists for an identifier in use; those of each step.
    pub(in crate::verb) async fn make(
        &self,
        cx: &Context<'_>,
        session: &Session,
    ) -> Result<Container> {
        let named = |error: Error| error.context(format!("make container {:?}", self.id));
        self.args.restart.check(session).await?;
        let scope = cx.scope();
        let containers = session.containers(&scope);
        match containers.get(&self.id).await {
            Ok(_) => {
                return Err(named(Error::already_exists(format!("container {:?}", self.id))));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        // A daemon collects meanwhile; nobody else does while this process has the store.
        let leases = session.leases(&scope);
        let lease = match session {
            Session::Store(_) => None,
            Session::Daemon(_) => {
                let until = (Timestamp::now() + MAKING).to_string();
                let labels = Labels::from([(GC_EXPIRE.to_owned(), until)]);
                Some(leases.create("", labels).await?)
            }
        };
        let held = match &lease {
            Some(lease) => scope.with_lease(&lease.id),
            None => scope,
        };
        let made = self.make_held(cx, session, &held).await.map_err(named);
        if let Some(lease) = lease
            && let Err(error) = leases.delete(&lease.id, false).await
        {
            tracing::warn!(lease = lease.id, error = %error.chain(), "a lease stays until it ends");
        }
        made
    }

    async fn make_held(
        &self,
        cx: &Context<'_>,
        session: &Session,
        scope: &Scope,
    ) -> Result<Container> {
        let images = session.images(scope);
        let name = crate::verb::image::name_of(&*images, &self.args.image).await?;
        let image = images.get(&name).await?;
        let (top, config) = unpacked(cx, session, scope, &image).await?;
        let snapshotter = session.snapshotter(scope, &cx.settings.snapshotter)?;
        let mounts = self.prepare(session, &*snapshotter, &top).await?;
        let made = async {
            let user = self.user(cx, session, &config, &mounts).await?;
            let record = self.record(cx, session, &image, &config, &user).await?;
            session.containers(scope).create(record).await
        }
        .await;
        if made.is_err()
            && let Err(error) = undo(session, &*snapshotter, &self.id).await
        {
            eprintln!("warning: something is left of container {:?}: {}", self.id, error.chain());
        }
        made
    }

    async fn prepare(
        &self,
        session: &Session,
        snapshotter: &dyn Snapshotter,
        top: &Digest,
    ) -> Result<Vec<Mount>> {
        let labels = || Labels::from([(ROOT_OF.to_owned(), self.id.clone())]);
        match snapshotter.prepare(&self.id, top.as_str(), labels()).await {
            // Left by a run that was killed before its record: nobody else has the store now.
            Err(error) if error.is_already_exists() && matches!(session, Session::Store(_)) => {
                session.collect().await?;
                snapshotter.prepare(&self.id, top.as_str(), labels()).await
            }
            prepared => prepared,
        }
    }

    /// Looks up who the program runs as, in the files it will have.
    async fn user(
        &self,
        cx: &Context<'_>,
        session: &Session,
        config: &ExecConfig,
        mounts: &[Mount],
    ) -> Result<User> {
        let wanted = self.options.user.as_deref().unwrap_or(&config.user);
        let root = match session {
            Session::Daemon(daemon) => root_of(&*daemon.client.introspection()).await?,
            Session::Store(_) => None,
        };
        let root = root.unwrap_or_else(|| cx.settings.config.root.clone());
        let ready = activated(cx, session, &self.id, mounts.to_vec()).await?;
        let place = TempMounts::new(root.join("tmpmounts"));
        let found = place.mount_read_only(&ready).and_then(|mounted| {
            let found = user::find_at(mounted.path(), wanted);
            mounted.unmount()?;
            found
        });
        deactivate(cx, session, &self.id).await?;
        found
    }

    async fn record(
        &self,
        cx: &Context<'_>,
        session: &Session,
        image: &Image,
        config: &ExecConfig,
        user: &User,
    ) -> Result<Container> {
        let target = Target {
            namespace: &cx.settings.namespace,
            id: &self.id,
            arch: std::env::consts::ARCH,
            unified_cgroups: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        };
        let mut options = self.options.clone();
        if self.args.systemd_cgroup && options.cgroup.is_none() {
            let (namespace, id) = (target.namespace, &self.id);
            options.cgroup = Some(format!("system.slice:lamina-{namespace}:{id}"));
        }
        let spec = spec::build(&target, config, user, &options)?;
        let mut labels = labels::of_container(config, self.args.stop_signal.as_deref())?;
        labels.extend(crate::cli::labels::of(&self.args.label));
        let log = log_address(&Place::of(cx, session, &self.id).await?, options.terminal)?;
        self.args.restart.label(&log, &mut labels);
        Ok(Container {
            id: self.id.clone(),
            labels,
            image: image.name.clone(),
            runtime: self.args.runtime.clone(),
            runtime_options: self.runtime_options(cx),
            spec: spec::to_any(&spec),
            snapshotter: cx.settings.snapshotter.clone(),
            snapshot_key: self.id.clone(),
            sandbox: String::new(),
            extensions: Default::default(),
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        })
    }

    /// runc's state is ours: other programs of this host have containers, too. Other runtimes have
    /// other options, or none.
    fn runtime_options(&self, cx: &Context<'_>) -> Option<Any> {
        let name = Path::new(&self.args.runtime).file_name()?.to_str()?;
        let program = shim_name::program(name).unwrap_or_else(|_| name.to_owned());
        let state = || cx.settings.config.state.join("runc");
        let options = || runc::options(&state(), self.args.systemd_cgroup);
        (program == "containerd-shim-runc-v2").then(options)
    }
}

/// The topmost layer of an image for this host, and what its config says of running it.
async fn unpacked(
    cx: &Context<'_>,
    session: &Session,
    scope: &Scope,
    image: &Image,
) -> Result<(Digest, ExecConfig)> {
    let matcher = Matcher::only(&Platform::host());
    let limits = cx.settings.config.limits.documents;
    let name = &cx.settings.snapshotter;
    let tops = unpack(&**session, scope, name, image, Some(&matcher), limits).await?;
    let top = tops.into_iter().next().ok_or_else(|| Error::internal("nothing was unpacked"))?;
    let content = session.content(scope);
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

/// Takes the root away again.
async fn undo(session: &Session, snapshotter: &dyn Snapshotter, id: &str) -> Result<()> {
    snapshotter.remove(id).await?;
    if let Session::Store(_) = session {
        session.collect().await?;
    }
    Ok(())
}
