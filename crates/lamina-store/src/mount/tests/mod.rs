//! Real mounts, one file a subject. What can be done by both APIs is done by both.

mod fuse;
mod idmap;
mod kinds;
mod layers;
mod loopback;
mod place;
mod temp;
mod unmounting;

use super::{Api, Mounter};

fn by(api: Api) -> Mounter {
    Mounter { api, helpers: None }
}

/// The two ways that differ for mounts without id maps.
const APIS: [Api; 2] = [Api::Newest, Api::Classic];
