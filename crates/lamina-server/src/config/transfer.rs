//! Pulls and pushes that the daemon makes for its clients.

use std::path::PathBuf;

/// The settings of the transfer service, with containerd's names, meanings and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// So many layers of a pull are downloaded side by side.
    pub max_concurrent_downloads: usize,
    /// So many layers of a push are uploaded side by side.
    pub max_concurrent_uploaded_layers: usize,
    /// So many layers of a pull are unpacked side by side.
    pub max_concurrent_unpacks: usize,
    /// Bytes that one request for a part of a layer asks for; 0: layers are not asked for in parts.
    pub concurrent_layer_fetch_buffer: usize,
    /// Whether a layer is unpacked only for a platform of `unpack` with its architecture too.
    pub check_platform_supported: bool,
    /// Where `hosts.toml` files lie.
    pub config_path: Option<PathBuf>,
    /// What is unpacked for which platform; without, layers of this host's into the default snapshotter.
    pub unpack: Option<Vec<Unpack>>,
}

/// Where the layers of a platform are unpacked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpack {
    /// The platform, as `os/architecture`.
    pub platform: String,
    /// The snapshotter that gets the layers.
    pub snapshotter: String,
    /// What lays them; empty for any.
    pub differ: String,
    /// Media type of the configs it is for; empty for any.
    pub config_type: String,
    /// Media types of the layers it is for; none for any.
    pub layer_types: Vec<String>,
    /// Whether it may be passed over if the snapshotter does not work.
    pub optional: bool,
}

impl Default for Transfer {
    fn default() -> Self {
        Transfer {
            max_concurrent_downloads: 3,
            max_concurrent_uploaded_layers: 3,
            max_concurrent_unpacks: 1,
            concurrent_layer_fetch_buffer: 0,
            check_platform_supported: false,
            config_path: None,
            unpack: None,
        }
    }
}
