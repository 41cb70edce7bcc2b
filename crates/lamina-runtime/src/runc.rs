//! Options for containerd's shim of runc.

use std::path::Path;

use lamina_api::proto::containerd::runc::v1::Options;
use lamina_core::Any;

/// Options for a container record with which runc keeps its state below `root`.
pub fn options(root: &Path) -> Any {
    let root = root.display().to_string();
    let value = prost::Message::encode_to_vec(&Options { root, ..Options::default() });
    Any { type_url: "containerd.runc.v1.Options".to_owned(), value }
}
