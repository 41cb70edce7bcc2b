//! Options for containerd's shim of runc.

use std::path::Path;

use lamina_api::proto::containerd::runc::v1::Options;
use lamina_core::Any;

/// Options for a container record with which runc keeps its state below `root`, and has systemd make
/// the control group if it is told so.
pub fn options(root: &Path, systemd_cgroup: bool) -> Any {
    let root = root.display().to_string();
    let options = Options { root, systemd_cgroup, ..Options::default() };
    let value = prost::Message::encode_to_vec(&options);
    Any { type_url: "containerd.runc.v1.Options".to_owned(), value }
}
