//! Mounts as users write them: `--volume`, `--tmpfs` and `--mount`.

mod parse;

use lamina_core::{Error, Result};
use serde_json::{Value, json};

use super::clip;

/// A mount that a user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    destination: String,
    kind: Kind,
    read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A directory or file of the host.
    Bind {
        source: String,
        /// With what is mounted below it.
        recursive: bool,
        propagation: Propagation,
    },
    /// Memory.
    Tmpfs {
        /// In bytes; none is the kernel's default.
        size: Option<u64>,
        mode: Option<u32>,
        exec: bool,
    },
}

/// How mounts below the source and the destination are seen on the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Propagation {
    #[default]
    RPrivate,
    Private,
    RSlave,
    Slave,
    RShared,
    Shared,
}

impl Propagation {
    const ALL: [Propagation; 6] = [
        Propagation::RPrivate,
        Propagation::Private,
        Propagation::RSlave,
        Propagation::Slave,
        Propagation::RShared,
        Propagation::Shared,
    ];

    fn name(self) -> &'static str {
        match self {
            Propagation::RPrivate => "rprivate",
            Propagation::Private => "private",
            Propagation::RSlave => "rslave",
            Propagation::Slave => "slave",
            Propagation::RShared => "rshared",
            Propagation::Shared => "shared",
        }
    }

    fn of(name: &str) -> Option<Propagation> {
        Propagation::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl Mount {
    /// A bind mount with what is mounted below its source.
    ///
    /// # Errors
    /// InvalidArgument unless both paths are absolute and without `..`, and if the destination is `/`.
    pub fn bind(source: &str, destination: &str, read_only: bool) -> Result<Mount> {
        let kind = Kind::Bind {
            source: path("the source of a mount", source)?,
            recursive: true,
            propagation: Propagation::default(),
        };
        Mount::new(kind, destination, read_only)
    }

    /// Where it is in the container: absolute, without `.`, `..`, double slashes or one at the end.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The directory or file of the host that a bind mount shows.
    pub fn source(&self) -> Option<&str> {
        match &self.kind {
            Kind::Bind { source, .. } => Some(source),
            Kind::Tmpfs { .. } => None,
        }
    }

    fn new(kind: Kind, destination: &str, read_only: bool) -> Result<Mount> {
        let destination = path("the place of a mount", destination)?;
        if destination == "/" {
            return Err(Error::invalid_argument("a mount cannot take the place of the root"));
        }
        Ok(Mount { destination, kind, read_only })
    }

    pub(super) fn spec(&self) -> Value {
        let access = if self.read_only { "ro" } else { "rw" };
        let (kind, source, options) = match &self.kind {
            Kind::Bind { source, recursive, propagation } => {
                let bind = if *recursive { "rbind" } else { "bind" };
                let options = [bind, propagation.name(), access].map(str::to_owned).to_vec();
                ("bind", source.as_str(), options)
            }
            Kind::Tmpfs { size, mode, exec } => {
                let exec = if *exec { "exec" } else { "noexec" };
                let mut options = ["nosuid", "nodev", exec, access].map(str::to_owned).to_vec();
                options.extend(size.map(|size| format!("size={size}")));
                options.extend(mode.map(|mode| format!("mode={mode:o}")));
                ("tmpfs", "tmpfs", options)
            }
        };
        json!({
            "destination": self.destination, "type": kind, "source": source, "options": options
        })
    }
}

fn path(what: &str, text: &str) -> Result<String> {
    clean(text).ok_or_else(|| {
        let message = format!("{what} {:?} is not an absolute path without `..`", clip(text));
        Error::invalid_argument(message)
    })
}

/// An absolute path without what means nothing; None if it is relative or has `..` or NUL in it.
pub(super) fn clean(path: &str) -> Option<String> {
    let absolute = path.strip_prefix('/').filter(|rest| !rest.contains('\0'))?;
    let parts = absolute.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"..") { None } else { Some(format!("/{}", parts.join("/"))) }
}

#[cfg(test)]
mod tests;
