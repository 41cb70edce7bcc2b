//! The one table of settings. Reading, the commented default file and `config dump` go by it.

use toml::Value;

use super::Config;
use super::value::{Field, Wanted, integer, number};

/// Settings that stand in one table of the file.
pub(super) struct Group {
    /// What they are about; empty where that is plain.
    pub(super) about: &'static str,
    /// The table in a file of the newest version.
    pub(super) path: &'static [&'static str],
    /// The table in files of older versions.
    pub(super) older: &'static [&'static str],
    /// Whether something goes by them. Where not, a setting that differs from its default is named
    /// in a warning.
    pub(super) used: bool,
    pub(super) settings: &'static [Setting],
}

/// One setting.
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) about: &'static str,
    /// Takes a value from a file.
    pub(super) set: fn(&mut Config, &Value) -> Result<(), Wanted>,
    /// What reads back as the field; none where nothing does, and it stays as it is.
    pub(super) get: fn(&Config) -> Option<Value>,
}

/// `setting!(key, about, field)`, for numbers with `least..=most` behind.
macro_rules! setting {
    ($key:literal, $about:literal, $($field:ident).+) => {
        Setting {
            key: $key,
            about: $about,
            set: |config, value| {
                if let Some(value) = Field::read(value)? {
                    config.$($field).+ = value;
                }
                Ok(())
            },
            get: |config| Some(Field::write(&config.$($field).+)),
        }
    };
    ($key:literal, $about:literal, $($field:ident).+, $least:literal ..= $most:expr) => {
        Setting {
            key: $key,
            about: $about,
            set: |config, value| {
                config.$($field).+ = number(value, $least, $most)?;
                Ok(())
            },
            get: |config| Some(integer(config.$($field).+)),
        }
    };
}

/// Lists of plugins: files that are imported add to them.
macro_rules! plugins {
    ($key:literal, $about:literal, $field:ident) => {
        Setting {
            key: $key,
            about: $about,
            set: |config, value| {
                for plugin in <Vec<String>>::read(value)?.unwrap_or_default() {
                    if !plugin.contains('.') {
                        return Err("a list of plugins as io.containerd.TYPE.vN.ID".into());
                    }
                    if !config.$field.contains(&plugin) {
                        config.$field.push(plugin);
                    }
                }
                Ok(())
            },
            get: |config| Some(config.$field.write()),
        }
    };
}

const OID: u32 = u32::MAX - 1;

/// Every setting, in the order of the default file.
pub(super) const GROUPS: &[Group] = &[
    Group {
        about: "",
        path: &[],
        older: &[],
        used: true,
        settings: &[
            setting!("root", "Where images and snapshots are kept.", root),
            setting!("state", "Where what ends with a boot is kept.", state),
            setting!(
                "durability",
                "\"full\": answered calls survive a power cut. \"none\": it may take the latest. Ours.",
                durability
            ),
            setting!(
                "oom_score",
                "How likely the kernel ends the daemon when memory runs out: -1000 (never) to 1000.",
                oom_score,
                -1000..=1000
            ),
            plugins!(
                "disabled_plugins",
                "Plugins that are left out, such as \"io.containerd.snapshotter.v1.btrfs\".",
                disabled_plugins
            ),
            plugins!(
                "required_plugins",
                "Plugins without which the daemon does not start.",
                required_plugins
            ),
        ],
    },
    Group {
        about: "",
        path: &[],
        older: &[],
        used: false,
        settings: &[setting!("temp", "Where temporary files go.", temp)],
    },
    Group {
        about: "",
        path: &["debug"],
        older: &[],
        used: true,
        settings: &[setting!(
            "level",
            "The daemon logs from here on: trace, debug, info, warn, error. LAMINA_LOG wins over it.",
            log_level
        )],
    },
    Group {
        about: "The socket for clients.",
        path: &["plugins", "io.containerd.server.v1.grpc"],
        older: &["grpc"],
        used: true,
        settings: &[
            setting!("address", "By default lamina.sock in the state directory.", grpc.address),
            setting!("uid", "The user that owns it.", grpc.uid, 0..=OID),
            setting!("gid", "The group that owns it.", grpc.gid, 0..=OID),
        ],
    },
    Group {
        about: "The socket for shims.",
        path: &["plugins", "io.containerd.server.v1.ttrpc"],
        older: &["ttrpc"],
        used: true,
        settings: &[
            setting!("address", "By default that for clients with .ttrpc behind.", ttrpc.address),
            setting!("uid", "The user that owns it.", ttrpc.uid, 0..=OID),
            setting!("gid", "The group that owns it.", ttrpc.gid, 0..=OID),
        ],
    },
    Group {
        about: "Metrics for Prometheus.",
        path: &["plugins", "io.containerd.server.v1.metrics"],
        older: &["metrics"],
        used: false,
        settings: &[setting!(
            "address",
            "Where they are served by HTTP, such as \"127.0.0.1:1338\".",
            metrics
        )],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.metadata.v1.bolt"],
        older: &[],
        used: true,
        settings: &[setting!(
            "content_sharing_policy",
            "\"shared\": namespaces share blobs and layers. \"isolated\": each proves that it has the bytes.",
            sharing
        )],
    },
    Group {
        about: "When garbage is collected.",
        path: &["plugins", "io.containerd.gc.v1.scheduler"],
        older: &[],
        used: true,
        settings: &[
            Setting {
                key: "pause_threshold",
                about: "The share of time that collections may take, up to 0.5.",
                set: |config, value| {
                    let whole = value.as_integer().and_then(|n| i32::try_from(n).ok());
                    let share = value.as_float().or(whole.map(f64::from));
                    let share =
                        share.filter(|share| *share >= 0.0).ok_or("a share of time, 0.0 to 0.5")?;
                    config.gc.pause_threshold = share.min(0.5);
                    Ok(())
                },
                get: |config| Some(Value::Float(config.gc.pause_threshold)),
            },
            setting!(
                "deletion_threshold",
                "So many deletions bring a collection about. 0: deletions do not.",
                gc.deletion_threshold,
                0..=u64::MAX
            ),
            setting!(
                "mutation_threshold",
                "So many changes make the next collection due. 0: changes do not.",
                gc.mutation_threshold,
                0..=u64::MAX
            ),
            setting!("schedule_delay", "From the reason to the collection.", gc.schedule_delay),
            setting!(
                "startup_delay",
                "From the start of the daemon to the first collection.",
                gc.startup_delay
            ),
        ],
    },
    Group {
        about: "Pulls and pushes that the daemon makes for its clients.",
        path: &["plugins", "io.containerd.transfer.v1.local"],
        older: &[],
        used: true,
        settings: &[
            setting!(
                "max_concurrent_downloads",
                "So many layers of a pull side by side.",
                transfer.max_concurrent_downloads,
                1..=1024
            ),
            setting!(
                "max_concurrent_uploaded_layers",
                "So many layers of a push side by side.",
                transfer.max_concurrent_uploaded_layers,
                1..=1024
            ),
            setting!("config_path", "Where hosts.toml files lie.", transfer.config_path),
            Setting {
                key: "unpack_config",
                about: "Where layers of a platform are unpacked to: tables with platform, snapshotter, \
                    differ, config_type, layer_types, optional. This host's go to the default snapshotter.",
                set: |config, value| {
                    config.transfer.unpack = Field::read(value)?;
                    Ok(())
                },
                // An empty list would say that nothing is unpacked.
                get: |config| config.transfer.unpack.as_ref().map(Field::write),
            },
        ],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.transfer.v1.local"],
        older: &[],
        used: false,
        settings: &[
            setting!(
                "max_concurrent_unpacks",
                "So many layers are unpacked side by side.",
                transfer.max_concurrent_unpacks,
                1..=1024
            ),
            setting!(
                "concurrent_layer_fetch_buffer",
                "Bytes of the parts in which a layer is asked for. 0: it is asked for as a whole.",
                transfer.concurrent_layer_fetch_buffer,
                0..=1_073_741_824
            ),
            setting!(
                "check_platform_supported",
                "Unpack only for the architectures of unpack_config.",
                transfer.check_platform_supported
            ),
        ],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.cri.v1.images"],
        older: &["plugins", "io.containerd.grpc.v1.cri", "containerd"],
        used: true,
        settings: &[setting!(
            "snapshotter",
            "The snapshotter of the namespace k8s.io where nobody says which.",
            cri_snapshotter
        )],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.service.v1.diff-service"],
        older: &[],
        used: true,
        settings: &[
            setting!(
                "default",
                "Who is asked to lay a layer down: \"walking\", or a proxy of type \"diff\". In order.",
                differs
            ),
            setting!("sync_fs", "A layer is durable when it was laid down.", sync_diffs),
        ],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.internal.v1.opt"],
        older: &[],
        used: true,
        settings: &[setting!("path", "Where `ctr install` puts programs from images.", opt)],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.monitor.container.v1.restart"],
        older: &["plugins", "io.containerd.internal.v1.restart"],
        used: true,
        settings: &[setting!(
            "interval",
            "How often to look for containers that are to be started again.",
            restart_interval
        )],
    },
    Group {
        about: "Empty paths: below root.",
        path: &["plugins", "io.containerd.snapshotter.v1.overlayfs"],
        older: &[],
        used: true,
        settings: &[
            setting!("root_path", "Where it keeps its files.", drivers.overlayfs.root_path),
            setting!(
                "mount_options",
                "Options of each mount, such as \"volatile\".",
                drivers.overlayfs.mount_options
            ),
            setting!(
                "upperdir_label",
                "Tell clients the upper directory by a label.",
                drivers.overlayfs.upperdir_label
            ),
            setting!(
                "sync_remove",
                "A removal returns when the files are gone.",
                drivers.overlayfs.sync_remove
            ),
            setting!(
                "slow_chown",
                "Copy and chown a layer whose owners the kernel cannot map.",
                drivers.overlayfs.slow_chown
            ),
        ],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.snapshotter.v1.native"],
        older: &[],
        used: true,
        settings: &[setting!("root_path", "Where it keeps its files.", drivers.native.root_path)],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.snapshotter.v1.btrfs"],
        older: &[],
        used: true,
        settings: &[setting!("root_path", "Where it keeps its files.", drivers.btrfs.root_path)],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.snapshotter.v1.blockfile"],
        older: &[],
        used: true,
        settings: &[
            setting!("root_path", "Where it keeps its files.", drivers.blockfile.root_path),
            setting!(
                "scratch_file",
                "An image with an empty file system, of which snapshots without a parent are copies.",
                drivers.blockfile.scratch_file
            ),
            setting!("fs_type", "The file system in it.", drivers.blockfile.fs_type),
            setting!(
                "mount_options",
                "Options of each mount; \"loop\" is added.",
                drivers.blockfile.mount_options
            ),
            setting!(
                "recreate_scratch",
                "Copy scratch_file at each start, and not only at the first.",
                drivers.blockfile.recreate_scratch
            ),
        ],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.snapshotter.v1.erofs"],
        older: &[],
        used: true,
        settings: &[
            setting!("root_path", "Where it keeps its files.", drivers.erofs.root_path),
            setting!(
                "ovl_mount_options",
                "Options of each overlay of its images.",
                drivers.erofs.ovl_mount_options
            ),
        ],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.snapshotter.v1.aufs"],
        older: &[],
        used: true,
        settings: &[setting!("root_path", "Where it keeps its files.", drivers.aufs.root_path)],
    },
    Group {
        about: "Thin devices of device-mapper; needs a pool of its own.",
        path: &["plugins", "io.containerd.snapshotter.v1.devmapper"],
        older: &[],
        used: true,
        settings: &[
            setting!(
                "root_path",
                "Where it keeps what is not in the pool.",
                drivers.devmapper.root_path
            ),
            setting!(
                "pool_name",
                "The thin pool, as below /dev/mapper. Empty: it is not used.",
                drivers.devmapper.pool_name
            ),
            setting!(
                "base_image_size",
                "How large each file system is, such as \"10GB\".",
                drivers.devmapper.base_image_size
            ),
            setting!(
                "async_remove",
                "Answer before a removed device is deleted.",
                drivers.devmapper.async_remove
            ),
            setting!(
                "discard_blocks",
                "Give the blocks of a removed device back to what is below the pool.",
                drivers.devmapper.discard_blocks
            ),
            setting!("fs_type", "\"ext4\", \"ext2\" or \"xfs\".", drivers.devmapper.fs_type),
            setting!(
                "fs_options",
                "What mkfs of ext4 and ext2 gets as -E, instead of our choice.",
                drivers.devmapper.fs_options
            ),
        ],
    },
    Group {
        about: "",
        path: &["plugins", "io.containerd.snapshotter.v1.zfs"],
        older: &[],
        used: true,
        settings: &[setting!("root_path", "Where its dataset is mounted.", drivers.zfs.root_path)],
    },
    super::limits::GROUP,
];

/// Settings that ask for what is so here anyway, with the value that does.
pub(super) const AS_HERE: &[(&str, &str)] = &[
    ("debug.format", "\"text\""),
    ("debug.log_trace_id", "false"),
    ("debug.uid", "0"),
    ("debug.gid", "0"),
    ("grpc.max_recv_message_size", "16777216"),
    ("grpc.max_send_message_size", "16777216"),
    ("metrics.grpc_histogram", "false"),
    ("plugins.\"io.containerd.server.v1.debug\".uid", "0"),
    ("plugins.\"io.containerd.server.v1.debug\".gid", "0"),
    ("plugins.\"io.containerd.server.v1.grpc\".max_recv_message_size", "16777216"),
    ("plugins.\"io.containerd.server.v1.grpc\".max_send_message_size", "16777216"),
    ("plugins.\"io.containerd.metrics.v1.grpc-prometheus\".grpc_histogram", "false"),
    ("plugins.\"io.containerd.metadata.v1.bolt\".no_sync", "false"),
    ("plugins.\"io.containerd.snapshotter.v1.erofs\".enable_fsverity", "false"),
    ("plugins.\"io.containerd.snapshotter.v1.erofs\".set_immutable", "false"),
    ("plugins.\"io.containerd.snapshotter.v1.erofs\".default_size", "\"\""),
    ("plugins.\"io.containerd.snapshotter.v1.erofs\".dmverity_mode", "\"auto\""),
    ("plugins.\"io.containerd.snapshotter.v1.erofs\".layer_content_caches", "[]"),
];
