//! How much of a mount list is the manager's part. Pure.
//!
//! A type may begin with transformers (`format/mkdir/overlay`): they change the mount, by what was
//! mounted before it. So everything before a mount with transformers is mounted by the manager; the
//! mount itself is only transformed, unless its own type needs the manager too.

use lamina_core::{Error, Mount, Result};

/// What changes a mount before it is mounted, in the order of its type's prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transformer {
    /// Templates in source, target and options.
    Format,
    /// Makes a directory.
    Mkdir,
    /// Makes a file system in a file.
    Mkfs,
}

/// One mount of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// What it goes through first.
    pub(super) transformers: Vec<Transformer>,
    /// The mount without the prefixes that stand for those.
    pub(super) mount: Mount,
}

/// The manager's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Every mount of the list.
    pub(super) steps: Vec<Step>,
    /// How many of them the manager mounts. The one behind them is transformed, the rest is passed
    /// on as it came.
    pub(super) mounted: usize,
}

/// What the manager has and the caller wants.
#[derive(Debug)]
pub(super) struct Wishes<'a> {
    /// Everything is mounted by the manager.
    pub(super) temporary: bool,
    /// Types (`erofs`, `mkfs/*`) that the caller mounts itself.
    pub(super) allow: &'a [String],
}

/// Cuts the list; `None` when nothing in it needs the manager. `handled` says which types have a
/// handler.
///
/// # Errors
/// InvalidArgument for an empty list and one of more than 255 mounts.
pub(super) fn cut(
    mounts: &[Mount],
    wishes: &Wishes<'_>,
    handled: impl Fn(&str) -> bool,
) -> Result<Option<Cut>> {
    if mounts.is_empty() || mounts.len() > MOST {
        let count = mounts.len();
        return Err(Error::invalid_argument(format!(
            "{count} mounts; 1 to {MOST} can be activated"
        )));
    }
    let mut cut = None;
    for (index, mount) in mounts.iter().enumerate() {
        let step = peel(mount, wishes.allow);
        let exempt = wishes.allow.iter().any(|pattern| covers(pattern, &step.mount.kind));
        if wishes.temporary || (handled(&step.mount.kind) && !exempt) {
            cut = Some(index + 1);
        } else if !step.transformers.is_empty() {
            cut = Some(index);
        }
    }
    Ok(cut.map(|mounted| {
        // What the caller could mount itself is the manager's all the same if something behind it
        // is: it has to be there first.
        let step = |(index, mount)| peel(mount, if index < mounted { &[] } else { wishes.allow });
        Cut { steps: mounts.iter().enumerate().map(step).collect(), mounted }
    }))
}

/// Takes transformers off a type, until one that is allowed as it is, or that nobody knows.
fn peel(mount: &Mount, allow: &[String]) -> Step {
    let mut step = Step { transformers: Vec::new(), mount: mount.clone() };
    while let Some((prefix, rest)) = step.mount.kind.split_once('/') {
        if allow.iter().any(|pattern| covers(pattern, &step.mount.kind)) {
            break;
        }
        let transformer = match prefix {
            "format" => Transformer::Format,
            "mkdir" => Transformer::Mkdir,
            "mkfs" => Transformer::Mkfs,
            _ => {
                tracing::warn!("mount type {:?} begins with an unknown prefix", mount.kind);
                break;
            }
        };
        step.transformers.push(transformer);
        step.mount.kind = rest.to_owned();
    }
    step
}

/// Whether a pattern (`type`, or `prefix/*`) means a type.
fn covers(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some(prefix) => kind.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')),
        None => pattern == kind,
    }
}

/// The most mounts of an activation, as containerd has it.
const MOST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(kinds: &[&str]) -> Vec<Mount> {
        kinds.iter().map(|kind| Mount::new(*kind, "x", ["a"])).collect()
    }

    /// The cut of a list, with `erofs` and `loop` handled: how many are mounted, and what each mount
    /// has become.
    fn found(kinds: &[&str], temporary: bool, allow: &[&str]) -> Option<(usize, Vec<String>)> {
        let allow: Vec<String> = allow.iter().map(|pattern| (*pattern).to_owned()).collect();
        let wishes = Wishes { temporary, allow: &allow };
        let handled = |kind: &str| kind == "erofs" || kind == "loop";
        let cut = cut(&mounts(kinds), &wishes, handled).unwrap()?;
        let step = |step: &Step| format!("{:?} {}", step.transformers, step.mount.kind);
        Some((cut.mounted, cut.steps.iter().map(step).collect()))
    }

    #[test]
    fn the_last_mount_that_needs_the_manager_decides() {
        // Types; temporary; allowed; how many are mounted, and what each mount has become.
        type Case<'a> = (&'a [&'a str], bool, &'a [&'a str], Option<(usize, &'a [&'a str])>);
        let cases: &[Case<'_>] = &[
            (&["overlay"], false, &[], None),
            (&["bind", "overlay"], false, &[], None),
            (&["erofs"], false, &[], Some((1, &["[] erofs"]))),
            (&["overlay"], true, &[], Some((1, &["[] overlay"]))),
            (&["format/overlay"], false, &[], Some((0, &["[Format] overlay"]))),
            (
                &["ext4", "format/mkdir/overlay", "bind"],
                false,
                &[],
                Some((1, &["[] ext4", "[Format, Mkdir] overlay", "[] bind"])),
            ),
            (&["format/erofs", "bind"], false, &[], Some((1, &["[Format] erofs", "[] bind"]))),
            (&["erofs", "erofs", "bind"], false, &["erofs"], None),
            (&["mkfs/ext4"], false, &["mkfs/*"], None),
            (&["mkfs/ext4"], false, &["mkfs/xfs"], Some((0, &["[Mkfs] ext4"]))),
            // The caller could, but a later one needs it mounted.
            (
                &["mkfs/ext4", "erofs", "format/overlay"],
                false,
                &["mkfs/*", "erofs"],
                Some((2, &["[Mkfs] ext4", "[] erofs", "[Format] overlay"])),
            ),
            // Behind the cut it stays as it came.
            (&["erofs", "mkfs/ext4"], false, &["mkfs/*"], Some((1, &["[] erofs", "[] mkfs/ext4"]))),
            (&["other/overlay"], false, &[], None),
            (&["format/other/overlay"], false, &[], Some((0, &["[Format] other/overlay"]))),
        ];
        for (kinds, temporary, allow, want) in cases {
            let want = want.map(|(mounted, steps)| {
                (mounted, steps.iter().map(|step| (*step).to_owned()).collect())
            });
            assert_eq!(found(kinds, *temporary, allow), want, "{kinds:?} {allow:?}");
        }
    }

    #[test]
    fn lists_have_bounds() {
        let wishes = Wishes { temporary: true, allow: &[] };
        for count in [0, 256] {
            let list = mounts(&vec!["bind"; count]);
            let error = cut(&list, &wishes, |_| false).unwrap_err();
            assert_eq!(error.kind(), lamina_core::Kind::InvalidArgument);
        }
        assert!(cut(&mounts(&["bind"; 255]), &wishes, |_| false).unwrap().is_some());
    }
}
