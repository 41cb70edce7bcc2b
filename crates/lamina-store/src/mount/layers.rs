//! The directories of an overlay mount: from option text to paths and back.
//!
//! Pure. In option text a `\` takes the meaning off the next character, so that a directory may
//! contain `:` and `,` (overlayfs.rst, and `ovl_unescape` of the kernel). Every directory is
//! absolute: a relative one would hang on the current directory of whoever mounts, and is the sign
//! of a colon that was not escaped.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lamina_core::{Error, Mount, Result};

use super::options::split_all;

/// What an overlay is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layers {
    /// Receives what is written; none for a read-only overlay.
    pub(super) upper: Option<PathBuf>,
    /// The kernel's work directory, on the file system of `upper`.
    pub(super) work: Option<PathBuf>,
    /// Top first.
    pub(super) lower: Vec<PathBuf>,
    /// Layers that only lend the content of files (`metacopy`).
    pub(super) data: Vec<PathBuf>,
    /// All other options, in order.
    pub(super) rest: Vec<String>,
}

/// The upper directory of an overlay that can be written to, and the lower ones, top first. None for
/// any other mount, and where only a mounted overlay can make deletions (`userxattr`).
///
/// # Errors
/// InvalidArgument for a directory that is not absolute.
pub(crate) fn overlay_directories(mount: &Mount) -> Result<Option<(PathBuf, Vec<PathBuf>)>> {
    let by_user = mount.options.iter().any(|option| option == "userxattr");
    if mount.kind != "overlay" || mount.is_read_only() || by_user {
        return Ok(None);
    }
    let layers = take(mount.options.clone())?;
    Ok(layers.upper.map(|upper| (upper, layers.lower)))
}

/// Takes the directories out of an overlay's options.
///
/// # Errors
/// InvalidArgument for a directory that is not absolute, or none at all below.
pub(super) fn parse(options: Vec<String>) -> Result<Layers> {
    let layers = take(options)?;
    if layers.lower.is_empty() {
        return Err(Error::invalid_argument("overlay mount without a lowerdir"));
    }
    Ok(layers)
}

/// The directories of an overlay mount, for whoever looks into them without mounting it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directories {
    /// Receives what is written.
    pub(crate) upper: Option<PathBuf>,
    /// Top first.
    pub(crate) lower: Vec<PathBuf>,
    /// What the names of the kernel's attributes in them begin with.
    pub(crate) attributes: &'static str,
}

/// The directories of an overlay mount that shows them as they are: without id maps, and without
/// layers that lend nothing but content. None for any other mount.
///
/// # Errors
/// InvalidArgument for options that cannot be told apart and a directory that is not absolute.
pub(crate) fn plain_overlay(mount: &Mount) -> Result<Option<Directories>> {
    if mount.kind != "overlay" || !mount.target.is_empty() {
        return Ok(None);
    }
    let words = split_all(&mount.options)?.into_iter().map(str::to_owned).collect();
    let layers = take(words)?;
    let mapped = |word: &String| word.starts_with("uidmap=") || word.starts_with("gidmap=");
    if !layers.data.is_empty() || layers.rest.iter().any(mapped) {
        return Ok(None);
    }
    let by_user = layers.rest.iter().any(|word| word == "userxattr");
    Ok(Some(Directories {
        upper: layers.upper,
        lower: layers.lower,
        attributes: if by_user { "user.overlay." } else { "trusted.overlay." },
    }))
}

fn take(options: Vec<String>) -> Result<Layers> {
    let mut layers = Layers::default();
    for option in options {
        match option.split_once('=') {
            Some(("upperdir", value)) => layers.upper = Some(directory(value)?),
            Some(("workdir", value)) => layers.work = Some(directory(value)?),
            Some(("lowerdir", value)) => {
                (layers.lower, layers.data) = (Vec::new(), Vec::new());
                let mut pieces = split(value).into_iter();
                // `::` begins a data-only layer, of which each has one before it.
                let mut data = false;
                while let Some(piece) = pieces.next() {
                    if piece.is_empty() && !layers.lower.is_empty() {
                        data = true;
                        let piece = pieces.next().unwrap_or_default();
                        layers.data.push(directory(piece)?);
                    } else if data {
                        return Err(Error::invalid_argument(format!(
                            "overlay lowerdir {value:?}: only data layers ('::') can follow one"
                        )));
                    } else {
                        layers.lower.push(directory(piece)?);
                    }
                }
            }
            Some(("lowerdir+", value)) => layers.lower.push(directory(value)?),
            Some(("datadir+", value)) => layers.data.push(directory(value)?),
            _ => layers.rest.push(option),
        }
    }
    Ok(layers)
}

impl Layers {
    /// Everything as one comma-separated text, lower directories relative to `base` if given.
    pub(super) fn text(&self, base: Option<&Path>) -> String {
        let mut words = self.rest.clone();
        let mut word = |key: &str, path: &Option<PathBuf>| {
            words.extend(path.as_ref().map(|path| format!("{key}={}", escape(path))));
        };
        word("workdir", &self.work);
        word("upperdir", &self.upper);
        let relative = |path: &PathBuf| match base.and_then(|base| path.strip_prefix(base).ok()) {
            Some(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
            Some(rest) => escape(rest),
            None => escape(path),
        };
        let lower: Vec<String> = self.lower.iter().map(relative).collect();
        let data: String = self.data.iter().map(|path| format!("::{}", relative(path))).collect();
        words.push(format!("lowerdir={}{data}", lower.join(":")));
        words.join(",")
    }

    /// The deepest directory that all lower ones are, or lie in.
    pub(super) fn common(&self) -> PathBuf {
        let mut all = self.lower.iter().chain(&self.data);
        let mut common = all.next().cloned().unwrap_or_default();
        for path in all {
            let same = common.components().zip(path.components()).take_while(|(a, b)| a == b);
            common = same.map(|(component, _)| component).collect();
        }
        common
    }
}

/// A directory as an overlay option shows it: `\`, `:` and `,` are escaped. What is not UTF-8 cannot
/// be an option's text; it is shown with replacement characters and will not be found.
pub fn escape(path: &Path) -> String {
    let mut text = String::with_capacity(path.as_os_str().len());
    for character in path.to_string_lossy().chars() {
        if matches!(character, '\\' | ':' | ',') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn directory(text: &str) -> Result<PathBuf> {
    let path = PathBuf::from(unescape(text));
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Error::invalid_argument(format!(
        "overlay directory {:?} is not absolute; a ':' in a directory is written '\\:'",
        OsStr::new(text)
    )))
}

fn unescape(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

/// Cuts at colons that are not escaped.
fn split(text: &str) -> Vec<&str> {
    let mut escaped = false;
    text.split(|character| {
        let cut = character == ':' && !escaped;
        escaped = character == '\\' && !escaped;
        cut
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(options: &[&str]) -> Result<Layers> {
        parse(options.iter().map(|option| (*option).to_owned()).collect())
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn directories_and_the_rest() {
        let found = parsed(&[
            "index=off",
            "workdir=/s/3/work",
            r"upperdir=/s/a\:b\,c\\d/fs",
            r"lowerdir=/s/2/fs:/s/x\:y:/s/1/fs::/data::/more",
            "volatile",
        ])
        .unwrap();
        assert_eq!(
            found,
            Layers {
                upper: Some("/s/a:b,c\\d/fs".into()),
                work: Some("/s/3/work".into()),
                lower: paths(&["/s/2/fs", "/s/x:y", "/s/1/fs"]),
                data: paths(&["/data", "/more"]),
                rest: vec!["index=off".into(), "volatile".into()],
            }
        );
        let found = parsed(&["lowerdir+=/a", "lowerdir+=/b", "datadir+=/c"]).unwrap();
        assert_eq!((found.lower, found.data), (paths(&["/a", "/b"]), paths(&["/c"])));
    }

    #[test]
    fn what_is_refused() {
        for (options, says) in [
            (&["lowerdir=/a:b/c"][..], r#""b/c" is not absolute"#),
            (&["lowerdir="], r#""" is not absolute"#),
            (&["upperdir=u", "lowerdir=/a"], "not absolute"),
            (&["lowerdir=/a:"], "not absolute"),
            (&["lowerdir=/a::/d:/b"], "only data layers"),
            (&["upperdir=/u", "workdir=/w"], "without a lowerdir"),
        ] {
            let error = parsed(options).unwrap_err();
            assert!(error.message().contains(says), "{options:?}: {error}");
        }
    }

    #[test]
    fn text_is_relative_to_the_common_directory() {
        let layers =
            parsed(&["lowerdir=/r/s/12/fs:/r/s/1/fs::/r/d", "upperdir=/u", "workdir=/w"]).unwrap();
        assert_eq!(layers.common(), Path::new("/r"));
        assert_eq!(
            layers.text(Some(Path::new("/r"))),
            "workdir=/w,upperdir=/u,lowerdir=s/12/fs:s/1/fs::d"
        );
        assert_eq!(layers.text(None), "workdir=/w,upperdir=/u,lowerdir=/r/s/12/fs:/r/s/1/fs::/r/d");
        // Whole components: "1" is no directory that "12" lies in.
        assert_eq!(parsed(&["lowerdir=/a/12:/a/1"]).unwrap().common(), Path::new("/a"));
        let one = parsed(&["lowerdir=/a/1"]).unwrap();
        assert_eq!(one.common(), Path::new("/a/1"));
        assert_eq!(one.text(Some(Path::new("/a/1"))), "lowerdir=.");
    }

    proptest! {
        #[test]
        fn text_and_parse_are_inverse(lower in prop::collection::vec("/[a:,\\\\ .]{1,8}", 1..5)) {
            let layers = Layers { lower: lower.iter().map(PathBuf::from).collect(), ..Layers::default() };
            let text = layers.text(None);
            let words = super::super::options::split_all(std::slice::from_ref(&text)).unwrap();
            let words: Vec<&str> = words.into_iter().collect();
            prop_assert_eq!(parsed(&words).unwrap(), layers);
        }
    }
}
