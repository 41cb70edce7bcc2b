//! The three ways to write a mount.

use std::fmt;

use lamina_core::{Error, Result};

use super::{Kind, Mount, Propagation, path};
use crate::spec::{clip, limits};

impl Mount {
    /// Reads `--volume source:destination[:option[,option…]]`. Both are absolute paths. Options are
    /// `ro`, `rw`, `bind`, `rbind` and propagations.
    ///
    /// # Errors
    /// InvalidArgument that quotes the text; Unimplemented for a volume with a name or none.
    pub fn volume(text: &str) -> Result<Mount> {
        quoting("--volume", text, || {
            let parts: Vec<&str> = text.split(':').collect();
            let (source, destination, options) = match parts[..] {
                [source, destination] => (source, destination, ""),
                [source, destination, options] => (source, destination, options),
                [_] => return Err(no_volumes()),
                _ => return Err(Error::invalid_argument("it has more than three parts")),
            };
            if !source.is_empty() && !source.contains('/') {
                return Err(no_volumes());
            }
            let (mut read_only, mut recursive) = (false, true);
            let mut propagation = Propagation::default();
            for option in options.split(',').filter(|option| !option.is_empty()) {
                match option {
                    "ro" | "rw" => read_only = option == "ro",
                    "bind" | "rbind" => recursive = option == "rbind",
                    _ => propagation = Propagation::of(option).ok_or_else(|| unknown(option))?,
                }
            }
            let source = path("the source of a mount", source)?;
            Mount::new(Kind::Bind { source, recursive, propagation }, destination, read_only)
        })
    }

    /// Reads `--tmpfs destination[:option[,option…]]`. Options are `ro`, `rw`, `exec`, `noexec`,
    /// `size=` as [`limits::bytes`] reads it, and `mode=` in octal digits.
    ///
    /// # Errors
    /// InvalidArgument that quotes the text.
    pub fn tmpfs(text: &str) -> Result<Mount> {
        quoting("--tmpfs", text, || {
            let (destination, options) = text.split_once(':').unwrap_or((text, ""));
            let (mut read_only, mut exec, mut size, mut mode) = (false, false, None, None);
            for option in options.split(',').filter(|option| !option.is_empty()) {
                match option.split_once('=').unwrap_or((option, "")) {
                    ("ro" | "rw", "") => read_only = option == "ro",
                    ("exec" | "noexec", "") => exec = option == "exec",
                    // Always so.
                    ("nosuid" | "nodev", "") => {}
                    ("size", value) => size = Some(limits::bytes(value)?),
                    ("mode", value) => mode = Some(octal(value)?),
                    _ => return Err(unknown(option)),
                }
            }
            Mount::new(Kind::Tmpfs { size, mode, exec }, destination, read_only)
        })
    }

    /// Reads `--mount key[=value][,key[=value]…]`: `type` (`bind`, `tmpfs`), `source` or `src`,
    /// `destination`, `dst` or `target`, `readonly` or `ro`, `rw`, `bind-propagation`,
    /// `bind-nonrecursive`, `tmpfs-size`, `tmpfs-mode`, `tmpfs-exec`. Values have no commas.
    ///
    /// # Errors
    /// InvalidArgument that quotes the text, also for a key given twice or of the other type;
    /// Unimplemented for the type `volume`.
    pub fn parse(text: &str) -> Result<Mount> {
        quoting("--mount", text, || {
            let fields = Fields::read(text)?;
            let kind = match fields.kind {
                None | Some("volume") => return Err(no_volumes()),
                Some("bind") => fields.bind()?,
                Some("tmpfs") => fields.tmpfs()?,
                Some(other) => {
                    let message = format!("there is no type {:?} of mounts", clip(other));
                    return Err(Error::invalid_argument(message));
                }
            };
            let place = fields.destination.ok_or_else(|| missing("destination"))?;
            Mount::new(kind, place, fields.read_only.unwrap_or(false))
        })
    }
}

/// As [`Mount::parse`] reads it. A path with a comma cannot be written so.
impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Bind { source, recursive, propagation } => {
                write!(f, "type=bind,source={source},destination={}", self.destination)?;
                if !recursive {
                    f.write_str(",bind-nonrecursive")?;
                }
                if *propagation != Propagation::default() {
                    write!(f, ",bind-propagation={}", propagation.name())?;
                }
            }
            Kind::Tmpfs { size, mode, exec } => {
                write!(f, "type=tmpfs,destination={}", self.destination)?;
                if let Some(size) = size {
                    write!(f, ",tmpfs-size={size}")?;
                }
                if let Some(mode) = mode {
                    write!(f, ",tmpfs-mode={mode:o}")?;
                }
                if *exec {
                    f.write_str(",tmpfs-exec")?;
                }
            }
        }
        if self.read_only { f.write_str(",readonly") } else { Ok(()) }
    }
}

/// What stands in `--mount`.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<&'a str>,
    source: Option<&'a str>,
    destination: Option<&'a str>,
    read_only: Option<bool>,
    propagation: Option<Propagation>,
    nonrecursive: Option<bool>,
    size: Option<u64>,
    mode: Option<u32>,
    exec: Option<bool>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Fields<'a>> {
        let mut fields = Fields::default();
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            };
            let given = || value.ok_or_else(|| missing(key));
            match key {
                "type" => once(key, &mut fields.kind, given()?)?,
                "source" | "src" => once(key, &mut fields.source, given()?)?,
                "destination" | "dst" | "target" => once(key, &mut fields.destination, given()?)?,
                "readonly" | "ro" => once(key, &mut fields.read_only, yes(value)?)?,
                "rw" => once(key, &mut fields.read_only, !yes(value)?)?,
                "bind-propagation" => {
                    let value = given()?;
                    let known = Propagation::of(value).ok_or_else(|| unknown(value))?;
                    once(key, &mut fields.propagation, known)?;
                }
                "bind-nonrecursive" => once(key, &mut fields.nonrecursive, yes(value)?)?,
                "tmpfs-size" => once(key, &mut fields.size, limits::bytes(given()?)?)?,
                "tmpfs-mode" => once(key, &mut fields.mode, octal(given()?)?)?,
                "tmpfs-exec" => once(key, &mut fields.exec, yes(value)?)?,
                _ => return Err(unknown(key)),
            }
        }
        Ok(fields)
    }

    fn bind(&self) -> Result<Kind> {
        if self.size.is_some() || self.mode.is_some() || self.exec.is_some() {
            return Err(Error::invalid_argument("a bind mount has no options of a tmpfs"));
        }
        let source = self.source.ok_or_else(|| missing("source"))?;
        Ok(Kind::Bind {
            source: path("the source of a mount", source)?,
            recursive: !self.nonrecursive.unwrap_or(false),
            propagation: self.propagation.unwrap_or_default(),
        })
    }

    fn tmpfs(&self) -> Result<Kind> {
        if self.source.is_some() || self.propagation.is_some() || self.nonrecursive.is_some() {
            return Err(Error::invalid_argument("a tmpfs has no source, and no options of one"));
        }
        Ok(Kind::Tmpfs { size: self.size, mode: self.mode, exec: self.exec.unwrap_or(false) })
    }
}

fn once<T>(key: &str, field: &mut Option<T>, value: T) -> Result<()> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid_argument(format!("{key} is given twice"))),
    }
}

/// A key alone says yes.
fn yes(value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => {
            let message = format!("{:?} is neither true nor false", clip(other));
            Err(Error::invalid_argument(message))
        }
    }
}

fn octal(text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
    mode.ok_or_else(|| {
        Error::invalid_argument(format!("{:?} is no mode, such as 1777", clip(text)))
    })
}

fn unknown(option: &str) -> Error {
    Error::invalid_argument(format!("there is no option {:?}", clip(option)))
}

fn missing(key: &str) -> Error {
    Error::invalid_argument(format!("{} has no value", clip(key)))
}

fn no_volumes() -> Error {
    Error::new(
        lamina_core::Kind::Unimplemented,
        "volumes that Lamina would have to make or to find by name are not offered; name a directory",
    )
}

fn quoting(flag: &str, text: &str, read: impl FnOnce() -> Result<Mount>) -> Result<Mount> {
    read().map_err(|error| error.context(format!("{flag} {:?}", clip(text))))
}
