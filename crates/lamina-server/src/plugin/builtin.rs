//! The list of plugins, in order of start.
//!
//! Types, ids and exports are containerd's, because clients look for them: dockerd and nerdctl list
//! the snapshotters, BuildKit the platforms of the runtime, `ctr install` the path of `opt`.

use lamina_core::Platform;
use lamina_core::introspection::InitError;
use lamina_store::content::Sharing;
use lamina_store::snapshot::State;

use super::{Fault, Init, Loaded, Plugin, Site};
use crate::config::{Proxy, ProxyKind};
use crate::restart;

/// The type of snapshotters.
pub const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";
/// The type of gRPC services.
pub(super) const GRPC: &str = "io.containerd.grpc.v1";
/// The type of runtimes.
pub(super) const RUNTIME: &str = "io.containerd.runtime.v2";

const CONTENT: &str = "io.containerd.content.v1";
/// The type of differs.
pub(crate) const DIFFER: &str = "io.containerd.differ.v1";
const EVENT: &str = "io.containerd.event.v1";
const GC: &str = "io.containerd.gc.v1";
const INTERNAL: &str = "io.containerd.internal.v1";
const LEASE: &str = "io.containerd.lease.v1";
const METADATA: &str = "io.containerd.metadata.v1";
const MOUNTS: &str = "io.containerd.mount-manager.v1";
/// The type of what starts containers again.
pub(super) const RESTART: &str = "io.containerd.monitor.container.v1";
const SANDBOXES: &str = "io.containerd.sandbox.store.v1";
const SERVICE: &str = "io.containerd.service.v1";
const STREAMING: &str = "io.containerd.streaming.v1";
const TRANSFER: &str = "io.containerd.transfer.v1";

/// The service of tasks.
const TASKS: &str = "containerd.services.tasks.v1.Tasks";

/// What a task's streams may go to, as clients are told.
const LOG_SCHEMES: &str = "fifo,binary,binary-v2,file";

/// A gRPC service: its name, the id of its plugin, what that requires, and the plugin of the part
/// behind it where containerd has one.
struct Service {
    name: &'static str,
    id: &'static str,
    requires: &'static [&'static str],
    behind: Option<Behind>,
}

/// Its type, its id, and what it requires.
type Behind = (&'static str, &'static str, &'static [&'static str]);

const fn service(
    name: &'static str,
    id: &'static str,
    requires: &'static [&'static str],
    behind: Option<Behind>,
) -> Service {
    Service { name, id, requires, behind }
}

/// In containerd's order.
const SERVICES: &[Service] = &[
    service(
        "containerd.services.containers.v1.Containers",
        "containers",
        &[SERVICE],
        Some((SERVICE, "containers-service", &[EVENT, METADATA])),
    ),
    service(
        "containerd.services.content.v1.Content",
        "content",
        &[SERVICE],
        Some((SERVICE, "content-service", &[METADATA])),
    ),
    service(
        "containerd.services.diff.v1.Diff",
        "diff",
        &[SERVICE],
        Some((SERVICE, "diff-service", &[DIFFER])),
    ),
    service(
        "containerd.services.events.v1.Events",
        "events",
        &[EVENT],
        Some((EVENT, "exchange", &[])),
    ),
    service(
        "containerd.services.images.v1.Images",
        "images",
        &[SERVICE],
        Some((SERVICE, "images-service", &[METADATA, GC])),
    ),
    service(
        "containerd.services.introspection.v1.Introspection",
        "introspection",
        &[SERVICE],
        Some((SERVICE, "introspection-service", &[])),
    ),
    service("containerd.services.leases.v1.Leases", "leases", &[LEASE], None),
    service("containerd.services.mounts.v1.Mounts", "mounts", &[MOUNTS], None),
    service(
        "containerd.services.namespaces.v1.Namespaces",
        "namespaces",
        &[SERVICE],
        Some((SERVICE, "namespaces-service", &[EVENT, METADATA])),
    ),
    service("containerd.services.sandbox.v1.Controller", "sandbox-controllers", &[EVENT], None),
    service(
        "containerd.services.sandbox.v1.Store",
        "sandboxes",
        &[SANDBOXES],
        Some((SANDBOXES, "local", &[METADATA])),
    ),
    service(
        "containerd.services.snapshots.v1.Snapshots",
        "snapshots",
        &[SERVICE],
        Some((SERVICE, "snapshots-service", &[METADATA])),
    ),
    service(
        "containerd.services.streaming.v1.Streaming",
        "streaming",
        &[STREAMING],
        Some((STREAMING, "manager", &[METADATA])),
    ),
    service(TASKS, "tasks", &[SERVICE], Some((SERVICE, "tasks-service", &[RUNTIME, METADATA]))),
    service(
        "containerd.services.transfer.v1.Transfer",
        "transfer",
        &[TRANSFER, STREAMING],
        Some((TRANSFER, "local", &[LEASE, METADATA, DIFFER, SNAPSHOTTER])),
    ),
    service("containerd.services.version.v1.Version", "version", &[], None),
    service("grpc.health.v1.Health", "healthcheck", &[], None),
];

/// The plugin of a gRPC service.
pub(super) fn grpc_id(name: &str) -> Option<&'static str> {
    SERVICES.iter().find(|service| service.name == name).map(|service| service.id)
}

/// Every plugin, disabled ones too.
pub(super) fn all(site: &Site) -> Vec<Plugin> {
    let mut plugins = vec![plugin(CONTENT, "content", &[], |site| {
        let root = site.store.options().root.join("io.containerd.content.v1.content");
        Ok(exports([("root", root.display().to_string())]))
    })];
    plugins.push(plugin(INTERNAL, "opt", &[], |site| {
        Ok(exports([("path", site.config.opt.display().to_string())]))
    }));
    plugins.extend(behind(&[EVENT]));
    plugins.extend(snapshotters(site));
    plugins.extend(proxies(site));
    plugins.push(plugin(METADATA, "bolt", &[CONTENT, EVENT, SNAPSHOTTER], |site| {
        let path = site.store.options().root.join("io.containerd.metadata.v1.sqlite/meta.db");
        let policy = match site.store.options().sharing {
            Sharing::Shared => "shared",
            Sharing::Isolated => "isolated",
        };
        Ok(exports([("path", path.display().to_string()), ("policy", policy.to_owned())]))
    }));
    plugins.push(plugin(GC, "scheduler", &[METADATA], |site| {
        let gc = &site.config.gc;
        Ok(exports([
            ("PauseThreshold", gc.pause_threshold.to_string()),
            ("DeletionThreshold", gc.deletion_threshold.to_string()),
            ("MutationThreshold", gc.mutation_threshold.to_string()),
            ("ScheduleDelay", crate::config::go_duration(gc.schedule_delay)),
        ]))
    }));
    plugins.push(plugin(LEASE, "manager", &[GC, METADATA], |_| Ok(Loaded::default())));
    plugins.push(plugin(MOUNTS, "bolt", &[METADATA], |_| Ok(Loaded::default())));
    plugins.push(plugin(DIFFER, "walking", &[METADATA, MOUNTS], |site| {
        served(site, "containerd.services.diff.v1.Diff").map(|()| for_host())
    }));
    plugins.push(plugin(RUNTIME, "task", &[EVENT, METADATA], |site| {
        let schemes = exports([("log-uri-schemes", LOG_SCHEMES.to_owned())]);
        let about = Loaded { exports: schemes.exports, ..for_host() };
        match &site.runtime {
            Some(_) => Ok(about),
            None => Err(Fault::Skip { why: "no daemon serves it".to_owned(), about }),
        }
    }));
    plugins.extend(differ_proxies(site));
    plugins.extend(behind(&[SERVICE]));
    plugins.extend(behind(&[SANDBOXES, STREAMING, TRANSFER]));
    let names = site.services.iter().flatten();
    let listed = SERVICES.iter().filter(|service| names.clone().any(|name| *name == service.name));
    plugins.extend(
        listed.map(|service| plugin(GRPC, service.id, service.requires, |_| Ok(Loaded::default()))),
    );
    plugins.push(plugin(RESTART, "restart", &[EVENT, SERVICE], |site| {
        served(site, TASKS)?;
        let capabilities = restart::POLICIES.map(str::to_owned).to_vec();
        Ok(Loaded { capabilities, ..Loaded::default() })
    }));
    plugins
}

/// The parts of these types behind services. One works if its service is there to reach it by.
fn behind(kinds: &[&str]) -> impl Iterator<Item = Plugin> {
    let parts = SERVICES.iter().filter_map(|service| Some((service.name, service.behind?)));
    let wanted = parts.filter(|(_, (kind, ..))| kinds.contains(kind));
    wanted.map(|(name, (kind, id, requires))| {
        plugin(kind, id, requires, move |site| served(site, name).map(|()| Loaded::default()))
    })
}

fn served(site: &Site, name: &str) -> Result<(), Fault> {
    match &site.services {
        None => Err(Fault::skip("no daemon serves it")),
        Some(names) if !names.contains(&name) => {
            Err(Fault::skip(format!("service {name} is not built in, or disabled")))
        }
        Some(_) => Ok(()),
    }
}

/// By name.
fn snapshotters(site: &Site) -> Vec<Plugin> {
    let states = site.store.snapshotters();
    let ours = states.into_iter().map(|(name, state)| {
        let id = name.clone();
        plugin(SNAPSHOTTER, name, &[], move |site| {
            let about = match site.config.proxies.get(&id) {
                Some(proxy) if is_proxy(&state) => proxied(proxy),
                _ => {
                    let root = site.store.snapshotter_root(&id).display().to_string();
                    Loaded { exports: exports([("root", root)]).exports, ..for_host() }
                }
            };
            match &state {
                // Whether it answers, each call finds out.
                State::Ready(engine) if engine.remote().is_some() => Ok(about),
                State::Ready(engine) => {
                    let words = engine.driver().capabilities().words();
                    let capabilities = words.into_iter().map(str::to_owned).collect();
                    Ok(Loaded { capabilities, ..about })
                }
                State::Skipped(why) => Err(Fault::Skip { why: why.clone(), about }),
                State::Failed(kind, why) => {
                    let error = InitError { kind: *kind, message: why.clone() };
                    Err(Fault::Failed { error, about })
                }
            }
        })
    });
    let mut all: Vec<Plugin> = ours.collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all
}

/// Proxies that have no place: those of kinds that are not supported, and those whose name is taken.
fn proxies(site: &Site) -> Vec<Plugin> {
    let built_in = &site.store.options().snapshotters;
    let refused = |(name, proxy): (&String, &Proxy)| {
        let (why, about) = (proxy.refused(name, built_in)?.to_owned(), proxy.clone());
        Some(plugin(proxy.kind.plugin_type(), name, &[], move |_| {
            Err(Fault::Skip { why: why.clone(), about: proxied(&about) })
        }))
    };
    site.config.proxies.iter().filter_map(refused).collect()
}

/// Differs of other processes. Whether one answers, each call finds out.
fn differ_proxies(site: &Site) -> Vec<Plugin> {
    let built_in = &site.store.options().snapshotters;
    let used = |(name, proxy): (&String, &Proxy)| {
        if proxy.kind != ProxyKind::Differ || proxy.refused(name, built_in).is_some() {
            return None;
        }
        let (id, about) = (name.clone(), proxy.clone());
        Some(plugin(DIFFER, name, &[], move |site| match site.config.differs.contains(&id) {
            true => Ok(proxied(&about)),
            false => Err(Fault::Skip {
                why: "plugins.\"io.containerd.service.v1.diff-service\".default does not name it"
                    .to_owned(),
                about: proxied(&about),
            }),
        }))
    };
    site.config.proxies.iter().filter_map(used).collect()
}

fn is_proxy(state: &State) -> bool {
    matches!(state, State::Ready(engine) if engine.remote().is_some())
}

/// What a proxy is said to be.
fn proxied(proxy: &Proxy) -> Loaded {
    let mut exports = proxy.exports.clone();
    exports.insert("address".to_owned(), proxy.address.display().to_string());
    let platform = proxy.platform.as_deref().and_then(|text| Platform::parse(text).ok());
    Loaded {
        platforms: vec![platform.unwrap_or_else(Platform::host)],
        capabilities: proxy.capabilities.clone(),
        exports,
    }
}

fn plugin(
    kind: &'static str,
    id: impl Into<String>,
    requires: &'static [&'static str],
    init: impl Fn(&Site) -> Result<Loaded, Fault> + 'static,
) -> Plugin {
    let init: Init = Box::new(init);
    Plugin { kind, id: id.into(), requires, init }
}

fn for_host() -> Loaded {
    Loaded { platforms: vec![Platform::host()], ..Loaded::default() }
}

fn exports<const N: usize>(pairs: [(&str, String); N]) -> Loaded {
    let exports = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Loaded { exports, ..Loaded::default() }
}
