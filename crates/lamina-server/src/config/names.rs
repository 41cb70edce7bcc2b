//! What older versions call things. Version 1 (and a file without a version) has short names of
//! plugins; containerd maps them as here.

use toml::Table;

/// Plugins of version 1 whose type does not follow from their name.
const PLUGINS: [(&str, &str); 16] = [
    ("aufs", "io.containerd.snapshotter.v1.aufs"),
    ("bolt", "io.containerd.metadata.v1.bolt"),
    ("btrfs", "io.containerd.snapshotter.v1.btrfs"),
    ("cgroups", "io.containerd.monitor.v1.cgroups"),
    ("cri", "io.containerd.grpc.v1.cri"),
    ("devmapper", "io.containerd.snapshotter.v1.devmapper"),
    ("linux", "io.containerd.runtime.v1.linux"),
    ("native", "io.containerd.snapshotter.v1.native"),
    ("opt", "io.containerd.internal.v1.opt"),
    ("otlp", "io.containerd.tracing.processor.v1.otlp"),
    ("overlayfs", "io.containerd.snapshotter.v1.overlayfs"),
    ("restart", "io.containerd.internal.v1.restart"),
    ("scheduler", "io.containerd.gc.v1.scheduler"),
    ("task", "io.containerd.runtime.v2.task"),
    ("tracing", "io.containerd.internal.v1.tracing"),
    ("zfs", "io.containerd.snapshotter.v1.zfs"),
];

/// Renames the plugins of a file of version 0 or 1.
pub(super) fn lengthen(file: &mut Table) {
    if let Some(toml::Value::Table(plugins)) = file.get_mut("plugins") {
        *plugins = std::mem::take(plugins)
            .into_iter()
            .map(|(name, settings)| (long(&name), settings))
            .collect();
    }
    for list in ["disabled_plugins", "required_plugins"] {
        let Some(toml::Value::Array(names)) = file.get_mut(list) else { continue };
        for name in names {
            if let toml::Value::String(name) = name {
                *name = long(name);
            }
        }
    }
}

fn long(name: &str) -> String {
    if name.contains('.') {
        return name.to_owned();
    }
    match PLUGINS.iter().find(|(short, _)| *short == name) {
        Some((_, long)) => (*long).to_owned(),
        None if name.ends_with("-service") => format!("io.containerd.service.v1.{name}"),
        None => format!("io.containerd.grpc.v1.{name}"),
    }
}
