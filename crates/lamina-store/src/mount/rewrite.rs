//! Mount lists changed for a purpose. Pure.

use lamina_core::{Mount, Result};

use super::options::split_all;

/// The mounts with nothing writable: overlay loses its work directory and id maps, and its upper
/// directory becomes the topmost lower one; all others get `ro`.
///
/// # Errors
/// InvalidArgument for options that cannot be told apart.
pub fn read_only(mounts: &[Mount]) -> Result<Vec<Mount>> {
    mounts.iter().map(|mount| rewrite(mount, read_only_options)).collect()
}

/// The mounts as a temporary mount wants them. Without overlay's `volatile`: that leaves a mark in
/// the work directory which makes the next mount of the snapshot fail unless it is removed.
///
/// # Errors
/// InvalidArgument for options that cannot be told apart.
pub(super) fn without_volatile(mounts: &[Mount]) -> Result<Vec<Mount>> {
    mounts
        .iter()
        .map(|mount| {
            rewrite(mount, |overlay, words| {
                words.retain(|word| !overlay || (word != "volatile" && word != "fsync=volatile"));
            })
        })
        .collect()
}

/// `change` gets whether it is an overlay, and the options one by one.
fn rewrite(mount: &Mount, change: impl Fn(bool, &mut Vec<String>)) -> Result<Mount> {
    let mut words: Vec<String> =
        split_all(&mount.options)?.into_iter().map(str::to_owned).collect();
    let overlay = mount.kind.rsplit('/').next() == Some("overlay");
    change(overlay, &mut words);
    Ok(Mount { options: words, ..mount.clone() })
}

fn read_only_options(overlay: bool, words: &mut Vec<String>) {
    if !overlay {
        words.retain(|word| word != "rw" && word != "ro");
        words.push("ro".to_owned());
        return;
    }
    let upper = words.iter().find_map(|word| word.strip_prefix("upperdir=")).map(str::to_owned);
    let dropped = ["workdir=", "upperdir=", "uidmap=", "gidmap="];
    words.retain(|word| !dropped.iter().any(|key| word.starts_with(key)) && word != "rw");
    let Some(upper) = upper else { return };
    match words.iter_mut().find(|word| word.starts_with("lowerdir=")) {
        Some(lower) => lower.insert_str("lowerdir=".len(), &format!("{upper}:")),
        None => words.push(format!("lowerdir={upper}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_by_kind() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "overlay",
                &[
                    "uidmap=0:1:1",
                    "gidmap=0:1:1",
                    "workdir=/w",
                    "upperdir=/u",
                    "lowerdir=/a:/b",
                    "index=off",
                ],
                &["lowerdir=/u:/a:/b", "index=off"],
            ),
            ("overlay", &["lowerdir=/a:/b"], &["lowerdir=/a:/b"]),
            ("overlay", &["upperdir=/u,workdir=/w"], &["lowerdir=/u"]),
            (
                "format/overlay",
                &["upperdir=/u", "lowerdir={{ mount 0 }}"],
                &["lowerdir=/u:{{ mount 0 }}"],
            ),
            ("bind", &["rw", "rbind"], &["rbind", "ro"]),
            ("bind", &["ro", "rbind"], &["rbind", "ro"]),
            ("btrfs", &["subvolid=5"], &["subvolid=5", "ro"]),
        ];
        for (kind, options, want) in cases {
            let mounts = [Mount::new(*kind, "x", options.iter().copied())];
            let found = read_only(&mounts).unwrap();
            assert_eq!(found[0].options, *want, "{kind} {options:?}");
            assert!(found[0].is_read_only(), "{kind} {options:?}");
        }
    }

    #[test]
    fn only_overlay_loses_volatile() {
        let mounts = [
            Mount::new("overlay", "overlay", ["volatile", "lowerdir=/a,fsync=volatile"]),
            Mount::new("x", "y", ["volatile"]),
        ];
        let found = without_volatile(&mounts).unwrap();
        assert_eq!(found[0].options, ["lowerdir=/a"]);
        assert_eq!(found[1].options, ["volatile"]);
    }
}
