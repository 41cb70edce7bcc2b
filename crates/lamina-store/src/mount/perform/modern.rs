//! By the new mount API (Linux 5.2): one option at a time, attached when complete.

use std::path::Path;
use std::sync::OnceLock;

use lamina_sys::mount::{self as sys, FsContext, MountAttr, MountAttrFlags, MountFlags, Tree};
use lamina_sys::{Errno, Outcome, SysError, fs};

use super::idmap::{self, MappedLayers};
use super::place::Place;
use super::{Api, Refused};
use crate::mount::layers::{self, Layers};
use crate::mount::options::unquote;
use crate::mount::plan::{Bind, Filesystem, Parameters};

/// Binds `bind.source` at `place`.
pub(super) fn bind(bind: &Bind, place: &Place) -> Result<(), Refused> {
    let source = fs::open_handle(&bind.source)?;
    let tree = available(sys::clone_tree(&source, bind.recursive))?;
    let (set, clear) = attributes(bind.flags);
    if !set.is_empty() {
        let attr = MountAttr { set, clear, ..MountAttr::NONE };
        // Only for the topmost: kernels differ in what a recursive read-only does to what is below.
        available(tree.set_attributes(&attr, sys::Recursive::No))?;
    }
    if let Some(maps) = &bind.id_maps {
        idmap::apply(&tree, maps, bind.recursive)?;
    }
    Ok(tree.attach(place)?)
}

/// Mounts a file system at `place`.
pub(super) fn filesystem(plan: &Filesystem, place: &Place, api: Api) -> Result<(), Refused> {
    let tree = match &plan.parameters {
        Parameters::Layers(layers) => match &plan.id_maps {
            Some(maps) if api == Api::AttachedLayers => {
                overlay(plan, layers, Some(&MappedLayers::attached(layers, maps, place)?))?
            }
            Some(maps) => {
                let mapped = MappedLayers::detached(layers, maps)?;
                match overlay(plan, layers, Some(&mapped)) {
                    // Before Linux 6.15 overlay takes no layer that is attached nowhere.
                    Err(Refused::Failed(error)) if error.outcome() == Outcome::InvalidArgument => {
                        let attached = MappedLayers::attached(layers, maps, place)?;
                        overlay(plan, layers, Some(&attached))?
                    }
                    result => result?,
                }
            }
            None => overlay(plan, layers, None)?,
        },
        Parameters::Words(words) => {
            let tree = any(plan, words)?;
            if let Some(maps) = &plan.id_maps {
                idmap::apply(&tree, maps, sys::Recursive::No)?;
            }
            tree
        }
    };
    Ok(tree.attach(place)?)
}

/// A file system that is no overlay, attached nowhere yet.
pub(super) fn detached(plan: &Filesystem) -> Result<Tree, Refused> {
    match &plan.parameters {
        Parameters::Words(words) => any(plan, words),
        Parameters::Layers(_) => Err(Refused::Unavailable),
    }
}

fn overlay(
    plan: &Filesystem,
    layers: &Layers,
    mapped: Option<&MappedLayers<'_>>,
) -> Result<Tree, Refused> {
    let context = available(FsContext::open(&plan.kind))?;
    if !takes_single_layers()? {
        return Err(Refused::Unavailable);
    }
    superblock_flags(&context, plan)?;
    words(&context, &layers.rest)?;
    match mapped {
        Some(mapped) => mapped.set(&context)?,
        None => {
            for path in &layers.lower {
                layer(&context, "lowerdir+", path, false)?;
            }
            for path in &layers.data {
                layer(&context, "datadir+", path, false)?;
            }
        }
    }
    for (key, path) in [("upperdir", &layers.upper), ("workdir", &layers.work)] {
        if let Some(path) = path {
            layer(&context, key, path, true)?;
        }
    }
    context.create()?;
    let (set, _) = attributes(plan.flags);
    Ok(context.mount(set)?)
}

/// One directory of an overlay. The kernel still takes escapes out of the value of the options that
/// `mount(2)` has too, but not out of those that came with the new API.
fn layer(context: &FsContext, key: &str, path: &Path, escaped: bool) -> Result<(), Refused> {
    let text = if escaped { layers::escape(path).into() } else { path.as_os_str().to_owned() };
    if text.len() <= VALUE_MAX {
        return Ok(context.set_string(key, text)?);
    }
    let fd = fs::open_handle(path)?;
    match context.set_fd(key, &fd) {
        // Before Linux 6.13 a layer is always a string.
        Err(error) if error.outcome() == Outcome::InvalidArgument => Err(Refused::Unavailable),
        result => Ok(result?),
    }
}

fn any(plan: &Filesystem, options: &[String]) -> Result<Tree, Refused> {
    let value = |word: &String| word.split_once('=').map_or(0, |(_, value)| value.len());
    if plan.source.len() > VALUE_MAX || options.iter().any(|word| value(word) > VALUE_MAX) {
        return Err(Refused::Unavailable);
    }
    let context = available(FsContext::open(&plan.kind))?;
    // Read-only before the source: a file system may open its device at the sight of it.
    superblock_flags(&context, plan)?;
    if !plan.source.is_empty() {
        context.set_string("source", &plan.source)?;
    }
    words(&context, options)?;
    context.create()?;
    let (set, _) = attributes(plan.flags);
    Ok(context.mount(set)?)
}

fn words(context: &FsContext, options: &[String]) -> Result<(), Refused> {
    for word in options {
        match word.split_once('=') {
            Some((key, value)) => context.set_string(key, unquote(key, value))?,
            None => context.set_flag(word)?,
        }
    }
    Ok(())
}

fn superblock_flags(context: &FsContext, plan: &Filesystem) -> Result<(), Refused> {
    for (flag, word) in [
        (MountFlags::RDONLY, "ro"),
        (MountFlags::SYNCHRONOUS, "sync"),
        (MountFlags::DIRSYNC, "dirsync"),
        (MountFlags::PERMIT_MANDATORY_FILE_LOCKING, "mand"),
    ] {
        // The subvolumes of one btrfs share its superblock. By the new API `ro` is about that, and
        // refused while another subvolume is mounted for writing; the mount's own flag is enough.
        let shared = plan.kind == "btrfs" && flag == MountFlags::RDONLY;
        if plan.flags.contains(flag) && !shared {
            context.set_flag(word)?;
        }
    }
    Ok(())
}

/// The flags that belong to the mount and not to its file system: what to set, and what to clear so
/// that it can be set.
fn attributes(flags: MountFlags) -> (MountAttrFlags, MountAttrFlags) {
    let mut set = MountAttrFlags::empty();
    for (flag, attribute) in [
        (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (MountFlags::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ] {
        set.set(attribute, flags.contains(flag));
    }
    // One of three, and relatime is the one with no bit; `mount(2)` prefers them in this order.
    let times = MountFlags::STRICTATIME | MountFlags::NOATIME | MountFlags::RELATIME;
    if flags.contains(MountFlags::STRICTATIME) {
        set |= MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    } else if flags.contains(MountFlags::NOATIME) {
        set |= MountAttrFlags::MOUNT_ATTR_NOATIME;
    }
    let clear = if flags.intersects(times) {
        MountAttrFlags::MOUNT_ATTR__ATIME
    } else {
        MountAttrFlags::empty()
    };
    (set, clear)
}

/// Whether overlay takes its layers one by one (Linux 6.7). Tried, not guessed from a version:
/// before 6.5 a compatibility layer of the kernel takes every option and fails only in the end.
fn takes_single_layers() -> lamina_sys::Result<bool> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let context = FsContext::open("overlay")?;
    let takes_anything = context.set_flag("lamina_probe").is_ok();
    let found = !takes_anything && context.set_string("lowerdir+", "/").is_ok();
    Ok(*KNOWN.get_or_init(|| found))
}

/// A call that the kernel does not have, or that a seccomp filter hides, is no failed mount.
pub(super) fn available<T>(result: lamina_sys::Result<T>) -> Result<T, Refused> {
    result.map_err(|error: SysError| match error.errno() {
        Errno::NOSYS | Errno::PERM => Refused::Unavailable,
        _ => Refused::Failed(error),
    })
}

/// Bytes that the kernel takes as the string value of one option (`fsconfig(2)`).
const VALUE_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_mount() {
        use MountAttrFlags as A;
        let none = A::empty();
        for (flags, set, clear) in [
            (MountFlags::empty(), none, none),
            (MountFlags::RDONLY | MountFlags::DIRSYNC, A::MOUNT_ATTR_RDONLY, none),
            (MountFlags::NOATIME, A::MOUNT_ATTR_NOATIME, A::MOUNT_ATTR__ATIME),
            (MountFlags::RELATIME, none, A::MOUNT_ATTR__ATIME),
            (
                MountFlags::NOATIME | MountFlags::STRICTATIME,
                A::MOUNT_ATTR_STRICTATIME,
                A::MOUNT_ATTR__ATIME,
            ),
            (
                MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
                A::MOUNT_ATTR_NOSUID | A::MOUNT_ATTR_NODEV | A::MOUNT_ATTR_NOEXEC,
                none,
            ),
        ] {
            assert_eq!(attributes(flags), (set, clear), "{flags:?}");
        }
    }
}
