//! Specs as a whole: compared with some that were written down, with containerd's own, and run.

// Test code fails by panicking; the lints that forbid it are for the product.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod cage;
mod golden;
mod peer;
mod run;

use lamina_core::Namespace;
use lamina_core::oci::ExecConfig;
use lamina_runtime::spec::{Options, Target, User, build};
use serde_json::Value;

const ID: &str = "0123456789abcdef";

/// The spec of a container in the namespace `blue`.
fn spec(config: &ExecConfig, user: &User, options: &Options, unified_cgroups: bool) -> Value {
    let namespace = Namespace::new("blue").unwrap();
    let target =
        Target { namespace: &namespace, id: ID, arch: std::env::consts::ARCH, unified_cgroups };
    build(&target, config, user, options).unwrap()
}

/// An image that starts a shell.
fn shell() -> ExecConfig {
    ExecConfig { cmd: strings(&["/bin/sh"]), ..ExecConfig::default() }
}

fn root() -> User {
    User { groups: vec![0], ..User::default() }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}
