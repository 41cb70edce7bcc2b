//! The OCI runtime spec of a container: its image's config, and what the user asked for, on top of
//! containerd's defaults.
//!
//! [`build`] is a function of its arguments. What needs the host is beside it: [`user::find`] looks
//! into the root file system, [`Privileges`] at what this process may do. The spec is a JSON value,
//! because nobody here reads it again: it goes into a container record, and to a shim.

mod capabilities;
pub mod env;
pub mod host;
pub mod labels;
pub mod limits;
mod linux;
pub mod mount;
mod mounts;
mod options;
mod process;
mod seccomp;
pub mod signal;
pub mod user;

use lamina_core::oci::ExecConfig;
use lamina_core::{Any, Namespace, Result};
use serde_json::{Value, json};

pub use host::Privileges;
pub use mount::Mount;
pub use options::{Network, Options};
pub use user::User;

/// The type of a spec in a container record.
pub const TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// The version of the OCI's text that the spec is written by; there is nothing newer in it.
const VERSION: &str = "1.0.2";

/// Which container a spec is for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// Its identifier.
    pub id: &'a str,
    /// The processor, named as `std::env::consts::ARCH` does.
    pub arch: &'a str,
    /// Whether the host has control groups of version 2 only.
    pub unified_cgroups: bool,
}

/// The spec. The root file system is `rootfs` in the bundle. `user` is who [`Options::user`] or
/// else the config names. The config's volumes and ports are not looked at.
///
/// # Errors
/// InvalidArgument for what no runtime would take: no command, a malformed variable, a path that is
/// not absolute, two mounts at one place.
pub fn build(
    target: &Target<'_>,
    config: &ExecConfig,
    user: &User,
    options: &Options,
) -> Result<Value> {
    let hostname = options.hostname(target.id);
    let capabilities = match (&options.privileged, &options.capabilities) {
        (Some(privileges), _) => privileges.capabilities.clone(),
        (None, Some(chosen)) => chosen.clone(),
        (None, None) => capabilities::DEFAULT.to_vec(),
    };
    let mut spec = json!({
        "ociVersion": VERSION,
        "process": process::of(config, user, options, hostname, &capabilities)?,
        "root": {"path": "rootfs", "readonly": options.read_only},
        "mounts": mounts::of(options)?,
        "linux": linux::of(target, options, &capabilities)?,
    });
    if let Some(hostname) = hostname {
        spec["hostname"] = hostname.into();
    }
    Ok(spec)
}

/// A spec as it stands in a container record.
pub fn to_any(spec: &Value) -> Any {
    Any { type_url: TYPE_URL.to_owned(), value: spec.to_string().into_bytes() }
}

/// The beginning of a text that may be long, for a message.
fn clip(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
