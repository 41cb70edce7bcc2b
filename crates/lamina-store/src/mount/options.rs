//! Mount options as text, taken apart: flags for the kernel, set-up for us, data for the file system.
//!
//! Pure. Options come as snapshotters write them: one word a string, or several joined by commas as
//! in fstab. A comma inside the quotes of an SELinux context, or escaped with `\` in a directory of
//! overlay, does not separate. Words that nobody here knows are data, in their order and with their
//! quotes and escapes.

use lamina_core::{Error, Result};
use lamina_sys::mount::{MountFlags, Recursive};
use lamina_sys::userns::IdMap;

/// The options of one mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Flags of `mount(2)`, without those that have a field of their own.
    pub(super) flags: MountFlags,
    /// A bind mount.
    pub(super) bind: Option<Recursive>,
    /// A change of what is mounted already.
    pub(super) remount: bool,
    /// The source is a file that a loop device makes a block device of.
    pub(super) loop_device: Option<LoopSetup>,
    /// Owners are shown through these maps.
    pub(super) id_maps: Option<IdMaps>,
    /// What the file system itself is told, one option each.
    pub(super) data: Vec<String>,
}

/// How the loop device is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoopSetup {
    /// Bypass the page cache of the file.
    pub(super) direct_io: bool,
}

/// User and group ids of an id-mapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdMaps {
    /// `uidmap=`.
    pub(super) uids: Vec<IdMap>,
    /// `gidmap=`.
    pub(super) gids: Vec<IdMap>,
}

/// Takes options apart. Of words that contradict each other the last one counts.
///
/// # Errors
/// InvalidArgument for an `X-containerd.` option (only the mount manager understands those), a map
/// that is malformed or comes without the other one, and a directory of overlay with a comma that
/// is not escaped.
pub(super) fn parse(options: &[String]) -> Result<Options> {
    let mut parsed = Options {
        flags: MountFlags::empty(),
        bind: None,
        remount: false,
        loop_device: None,
        id_maps: None,
        data: Vec::new(),
    };
    let (mut uids, mut gids, mut looped, mut direct_io) = (None, None, false, false);
    for word in split_all(options)? {
        match word {
            // For mount(8) alone; no file system knows it.
            "defaults" => {}
            "bind" => parsed.bind = Some(Recursive::No),
            "rbind" => parsed.bind = Some(Recursive::Yes),
            "remount" => parsed.remount = true,
            "loop" => looped = true,
            "direct-io" => direct_io = true,
            _ if word.starts_with("X-containerd.") => {
                return Err(Error::invalid_argument(format!(
                    "mount option {word:?} is for the mount manager, which has not seen this mount"
                )));
            }
            _ => {
                if let Some((on, flag)) = flag(word) {
                    parsed.flags.set(flag, on);
                } else if let Some(map) = word.strip_prefix("uidmap=") {
                    uids = Some(parse_map(map)?);
                } else if let Some(map) = word.strip_prefix("gidmap=") {
                    gids = Some(parse_map(map)?);
                } else {
                    parsed.data.push(word.to_owned());
                }
            }
        }
    }
    if looped {
        parsed.loop_device = Some(LoopSetup { direct_io });
    } else if direct_io {
        parsed.data.push("direct-io".to_owned());
    }
    parsed.id_maps = match (uids, gids) {
        (Some(uids), Some(gids)) => Some(IdMaps { uids, gids }),
        (None, None) => None,
        // Half a map would leave the other half of the ownership exposed without a word.
        (Some(_), None) => return Err(Error::invalid_argument("mount has uidmap= but no gidmap=")),
        (None, Some(_)) => return Err(Error::invalid_argument("mount has gidmap= but no uidmap=")),
    };
    Ok(parsed)
}

/// Every single option of a list whose strings may hold several.
pub(super) fn split_all(options: &[String]) -> Result<Vec<&str>> {
    let mut words = Vec::new();
    for option in options {
        let pieces = split(option);
        if pieces.first().is_some_and(|first| is_layer(first))
            && let Some(piece) = pieces.iter().skip(1).find(|piece| !is_word(piece))
        {
            return Err(Error::invalid_argument(format!(
                "mount option {option:?}: {piece:?} after a comma is no option; a comma in a \
                 directory is written '\\,'"
            )));
        }
        words.extend(pieces);
    }
    Ok(words)
}

/// A value of a file system's option without the quotes that only the comma-separated form needs.
pub(super) fn unquote<'a>(key: &str, value: &'a str) -> &'a str {
    if !is_context(key) {
        return value;
    }
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Parses `inside:outside:size[,…]`.
///
/// # Errors
/// InvalidArgument that quotes the map.
pub(crate) fn parse_map(text: &str) -> Result<Vec<IdMap>> {
    let bad = || {
        Error::invalid_argument(format!(
            "id map {text:?} is not <container id>:<host id>:<size>[,…]"
        ))
    };
    let range = |range: &str| -> Option<IdMap> {
        let mut numbers = range.split(':').map(number);
        let map =
            IdMap { inside: numbers.next()??, outside: numbers.next()??, size: numbers.next()?? };
        (numbers.next().is_none() && map.size > 0).then_some(map)
    };
    text.split(',').map(|part| range(part).ok_or_else(bad)).collect()
}

/// Digits only: `parse` would take `+1` too.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Cuts one string at its separating commas; empty pieces are dropped.
fn split(option: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = option;
    while !rest.is_empty() {
        let end = word_end(rest);
        let (word, tail) = rest.split_at(end);
        if !word.is_empty() {
            words.push(word);
        }
        rest = tail.strip_prefix(',').unwrap_or_default();
    }
    words
}

/// Where the first word of `text` ends. A map's commas belong to it as far as ranges follow.
fn word_end(text: &str) -> usize {
    let key = text.split(['=', ',']).next().unwrap_or_default();
    let (layer, context) = (is_layer(text), is_context(key));
    let map = key == "uidmap" || key == "gidmap";
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if layer => escaped = true,
            b'"' if context => quoted = !quoted,
            b',' if map && text.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit) => {}
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn is_layer(word: &str) -> bool {
    LAYERS.iter().any(|key| word.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')))
}

/// `context`, `fscontext`, `defcontext`, `rootcontext`.
fn is_context(key: &str) -> bool {
    matches!(key, "context" | "fscontext" | "defcontext" | "rootcontext")
}

/// Whether it has the form of an option: a key, and a value or none.
fn is_word(text: &str) -> bool {
    let key = text.split('=').next().unwrap_or_default();
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-+.".contains(&b))
}

/// The flag a word turns on or off.
fn flag(word: &str) -> Option<(bool, MountFlags)> {
    FLAGS.iter().find(|(known, ..)| *known == word).map(|(_, on, flag)| (*on, *flag))
}

/// Options of overlay whose values are directories.
pub(super) const LAYERS: [&str; 5] = ["lowerdir", "upperdir", "workdir", "lowerdir+", "datadir+"];

/// The words of mount(8) that are flags of `mount(2)`.
const FLAGS: &[(&str, bool, MountFlags)] = &[
    ("ro", true, MountFlags::RDONLY),
    ("rw", false, MountFlags::RDONLY),
    ("nosuid", true, MountFlags::NOSUID),
    ("suid", false, MountFlags::NOSUID),
    ("nodev", true, MountFlags::NODEV),
    ("dev", false, MountFlags::NODEV),
    ("noexec", true, MountFlags::NOEXEC),
    ("exec", false, MountFlags::NOEXEC),
    ("sync", true, MountFlags::SYNCHRONOUS),
    ("async", false, MountFlags::SYNCHRONOUS),
    ("dirsync", true, MountFlags::DIRSYNC),
    ("mand", true, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("nomand", false, MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
    ("noatime", true, MountFlags::NOATIME),
    ("atime", false, MountFlags::NOATIME),
    ("nodiratime", true, MountFlags::NODIRATIME),
    ("diratime", false, MountFlags::NODIRATIME),
    ("relatime", true, MountFlags::RELATIME),
    ("norelatime", false, MountFlags::RELATIME),
    ("strictatime", true, MountFlags::STRICTATIME),
    ("nostrictatime", false, MountFlags::STRICTATIME),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[&str]) -> Result<Options> {
        parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_and_data() {
        let cases: &[(&[&str], MountFlags, &[&str])] = &[
            (&[], MountFlags::empty(), &[]),
            (&["ro", "nosuid"], MountFlags::RDONLY.union(MountFlags::NOSUID), &[]),
            (&["ro", "rw"], MountFlags::empty(), &[]),
            (&["rw", "ro"], MountFlags::RDONLY, &[]),
            (&["ro,noatime", ",,"], MountFlags::RDONLY.union(MountFlags::NOATIME), &[]),
            (&["noexec", "exec", "dirsync"], MountFlags::DIRSYNC, &[]),
            (&["defaults", "subvolid=5", "nouuid"], MountFlags::empty(), &["subvolid=5", "nouuid"]),
            (&["index=off,userxattr"], MountFlags::empty(), &["index=off", "userxattr"]),
            (&["direct-io"], MountFlags::empty(), &["direct-io"]),
            (&["rprivate"], MountFlags::empty(), &["rprivate"]),
            (&["context=\"a:b:c0,c1\",ro"], MountFlags::RDONLY, &["context=\"a:b:c0,c1\""]),
            (
                &[r"lowerdir=/a\,b:/c,volatile"],
                MountFlags::empty(),
                &[r"lowerdir=/a\,b:/c", "volatile"],
            ),
        ];
        for (options, flags, data) in cases {
            let found = parsed(options).unwrap();
            assert_eq!(found.flags, *flags, "{options:?}");
            assert_eq!(found.data, *data, "{options:?}");
        }
    }

    #[test]
    fn bind_remount_and_loop() {
        assert_eq!(parsed(&["rbind", "ro"]).unwrap().bind, Some(Recursive::Yes));
        assert_eq!(parsed(&["bind"]).unwrap().bind, Some(Recursive::No));
        assert!(parsed(&["remount,ro"]).unwrap().remount);
        let found = parsed(&["loop", "direct-io", "ro"]).unwrap();
        assert_eq!(found.loop_device, Some(LoopSetup { direct_io: true }));
        assert!(found.data.is_empty());
        assert_eq!(parsed(&["ro"]).unwrap().loop_device, None);
    }

    #[test]
    fn id_maps() {
        let found = parsed(&["uidmap=0:1000:10,10:5000:1,ro", "gidmap=0:2000:1"]).unwrap();
        let map = |inside, outside, size| IdMap { inside, outside, size };
        let uids = vec![map(0, 1000, 10), map(10, 5000, 1)];
        assert_eq!(found.id_maps, Some(IdMaps { uids, gids: vec![map(0, 2000, 1)] }));
        assert_eq!(found.flags, MountFlags::RDONLY);
        for bad in
            ["", "0", "0:0", "0:0:0", "-1:0:1", "0:-1:1", "0:0:1:1", "a:b:c", "0:0:1,", "0:0:1:"]
        {
            let error = parse_map(bad).unwrap_err();
            assert!(error.message().contains(&format!("{bad:?}")), "{error}");
        }
        for half in ["uidmap=0:0:1", "gidmap=0:0:1"] {
            assert!(parsed(&[half]).unwrap_err().message().contains("but no"), "{half}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (options, says) in [
            (&["X-containerd.mkdir.path=/x"][..], "mount manager"),
            (&["lowerdir=/a,b/c:/d"], r"'\,'"),
            (&["workdir=/a,/b,ro"], r"'\,'"),
        ] {
            let error = parsed(options).unwrap_err();
            assert_eq!(error.kind(), lamina_core::Kind::InvalidArgument);
            assert!(error.message().contains(says), "{error}");
        }
    }

    #[test]
    fn contexts_lose_their_quotes_and_others_do_not() {
        assert_eq!(unquote("context", "\"a:b:c0,c1\""), "a:b:c0,c1");
        assert_eq!(unquote("rootcontext", "a:b"), "a:b");
        assert_eq!(unquote("context", "\"a"), "\"a");
        assert_eq!(unquote("label", "\"a\""), "\"a\"");
    }
}
