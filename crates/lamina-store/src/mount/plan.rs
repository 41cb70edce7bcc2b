//! From a mount as data to the way it is carried out. Pure.

use std::path::{Path, PathBuf};

use lamina_core::{Error, Mount, Result};
use lamina_sys::mount::{MountFlags, Recursive};

use super::layers::{self, Layers};
use super::options::{self, IdMaps, LoopSetup};

/// The ways to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// A part of the tree shown in a second place.
    Bind(Bind),
    /// A file system of its own.
    Filesystem(Filesystem),
    /// Other flags or options for what is mounted already.
    Remount(Remount),
    /// A program mounts it.
    Helper(Helper),
}

/// A bind mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) source: PathBuf,
    pub(super) recursive: Recursive,
    /// For the mount itself; those below it (`rbind`) keep theirs, as with `mount(2)`.
    pub(super) flags: MountFlags,
    pub(super) id_maps: Option<IdMaps>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filesystem {
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) flags: MountFlags,
    pub(super) parameters: Parameters,
    pub(super) loop_device: Option<LoopSetup>,
    pub(super) id_maps: Option<IdMaps>,
}

impl Filesystem {
    /// An EROFS image in a file.
    pub(super) fn image(path: &Path) -> Filesystem {
        Filesystem {
            kind: "erofs".to_owned(),
            source: path.display().to_string(),
            flags: MountFlags::RDONLY,
            parameters: Parameters::Words(Vec::new()),
            loop_device: Some(LoopSetup { direct_io: false }),
            id_maps: None,
        }
    }
}

/// What the file system is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    /// Of overlay.
    Layers(Layers),
    /// Of any other, one option each.
    Words(Vec<String>),
}

/// A change of an existing mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remount {
    /// Of this mount only, not of its file system.
    pub(super) bind: bool,
    pub(super) flags: MountFlags,
    pub(super) data: String,
}

/// `program source target -o option… -t kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Helper {
    pub(super) program: &'static str,
    pub(super) source: String,
    pub(super) options: Vec<String>,
    pub(super) kind: String,
}

/// Decides how `mount` is carried out.
///
/// # Errors
/// InvalidArgument for options that make no sense, FailedPrecondition for a type that only the
/// mount manager understands.
pub(super) fn plan(mount: &Mount) -> Result<Plan> {
    let subject = || format!("mount of type {:?} from {:?}", mount.kind, mount.source);
    if mount.kind.contains('/') {
        return Err(Error::failed_precondition(format!(
            "{}: its type has to go through the mount manager first",
            subject()
        )));
    }
    for (prefix, program) in HELPERS {
        if let Some(kind) = mount.kind.strip_prefix(prefix) {
            options::parse(&mount.options).map_err(|error| error.context(subject()))?;
            return Ok(Plan::Helper(Helper {
                program,
                source: mount.source.clone(),
                options: mount.options.clone(),
                kind: kind.to_owned(),
            }));
        }
    }
    let options = options::parse(&mount.options).map_err(|error| error.context(subject()))?;
    // `mount(2)` looks at the flag and not at the type. A list that says "bind" and forgets the
    // option can only mean the same.
    let bind = options.bind.or((mount.kind == "bind").then_some(Recursive::No));
    if options.remount {
        let (bind, flags) = (bind.is_some(), options.flags);
        return Ok(Plan::Remount(Remount { bind, flags, data: options.data.join(",") }));
    }
    if let Some(recursive) = bind {
        // Data says nothing in a bind mount; the kernel ignores it too.
        return Ok(Plan::Bind(Bind {
            source: PathBuf::from(&mount.source),
            recursive,
            flags: options.flags,
            id_maps: options.id_maps,
        }));
    }
    let parameters = if mount.kind == "overlay" {
        let layers = layers::parse(options.data).map_err(|error| error.context(subject()))?;
        Parameters::Layers(layers)
    } else {
        Parameters::Words(options.data)
    };
    Ok(Plan::Filesystem(Filesystem {
        kind: mount.kind.clone(),
        source: mount.source.clone(),
        flags: options.flags,
        parameters,
        loop_device: options.loop_device,
        id_maps: options.id_maps,
    }))
}

/// Types that a program mounts, by prefix (fuse(8), mount.fuse3(8)).
const HELPERS: [(&str, &str); 2] = [("fuse.", "mount.fuse"), ("fuse3.", "mount.fuse3")];

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_core::Kind;

    #[test]
    fn the_type_and_the_options_decide() {
        let bind = |kind: &str, options: &[&str]| {
            plan(&Mount::new(kind, "/s", options.iter().copied())).unwrap()
        };
        for (kind, options, recursive, flags) in [
            ("bind", &["rbind", "ro"][..], Recursive::Yes, MountFlags::RDONLY),
            ("none", &["bind"], Recursive::No, MountFlags::empty()),
            ("bind", &["rw", "x=y"], Recursive::No, MountFlags::empty()),
        ] {
            let want = Bind { source: "/s".into(), recursive, flags, id_maps: None };
            assert_eq!(bind(kind, options), Plan::Bind(want), "{kind} {options:?}");
        }
        let Plan::Remount(found) = bind("none", &["remount", "bind", "ro", "a", "b=c"]) else {
            panic!("no remount")
        };
        assert!(found.bind && found.flags == MountFlags::RDONLY && found.data == "a,b=c");
        let Plan::Filesystem(found) = bind("overlay", &["lowerdir=/a:/b", "index=off"]) else {
            panic!("no file system")
        };
        let Parameters::Layers(layers) = found.parameters else { panic!("no layers") };
        assert_eq!((layers.lower.len(), layers.rest.len()), (2, 1));
    }

    #[test]
    fn fuse_is_left_to_a_program() {
        let mount = Mount::new("fuse3.fuse-overlayfs", "src", ["lowerdir=/a", "ro"]);
        let Plan::Helper(found) = plan(&mount).unwrap() else { panic!("no helper") };
        assert_eq!(found.program, "mount.fuse3");
        assert_eq!(found.kind, "fuse-overlayfs");
        assert_eq!(found.options, mount.options);
    }

    #[test]
    fn what_is_refused() {
        for (mount, kind, says) in [
            (Mount::new("format/overlay", "x", ["a"]), Kind::FailedPrecondition, "mount manager"),
            (Mount::new("bind", "x", ["X-containerd.x=1"]), Kind::InvalidArgument, "\"bind\""),
            (Mount::new("fuse.x", "x", ["X-containerd.x=1"]), Kind::InvalidArgument, "fuse.x"),
            (Mount::new("overlay", "x", ["upperdir=/u"]), Kind::InvalidArgument, "overlay"),
        ] {
            let error = plan(&mount).unwrap_err();
            assert_eq!(error.kind(), kind, "{mount}");
            assert!(error.chain().contains(says), "{}", error.chain());
        }
    }
}
