//! containerd's services, one file each. A handler decodes, calls, and encodes.

mod containers;
mod content;
mod diff;
mod events;
mod health;
mod images;
mod introspection;
mod leases;
mod mounts;
mod namespaces;
mod pages;
mod sandbox_controller;
mod sandbox_store;
mod scope;
mod snapshots;
mod streaming;
mod tasks;
mod transfer;
mod version;

use std::sync::Arc;

use lamina_core::Snapshotter;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Response, Status};

use crate::config::Config;
use crate::parts::Parts;
use crate::plugin;

/// The size of a message in either direction, as containerd has it.
const MAX_MESSAGE: usize = 16 << 20;

/// What a handler answers.
type Answer<T> = Result<Response<T>, Status>;

/// The one list of services: their routes over the parts, and their names.
macro_rules! services {
    ($($server:path),* $(,)?) => {
        /// Every service over the parts that the configuration does not disable.
        pub(crate) fn routes(parts: &Parts) -> Routes {
            let mut routes = Routes::builder();
            $(if plugin::serves(&parts.config, name_of($server)) {
                routes.add_service(
                    $server(parts)
                        .max_decoding_message_size(MAX_MESSAGE)
                        .max_encoding_message_size(MAX_MESSAGE),
                );
            })*
            routes.routes()
        }

        /// The full names of the services that the configuration does not disable.
        pub(crate) fn names(config: &Config) -> Vec<&'static str> {
            let all = [$(name_of($server)),*];
            all.into_iter().filter(|name| plugin::serves(config, name)).collect()
        }
    };
}

services![
    containers::server,
    content::server,
    diff::server,
    events::server,
    health::server,
    images::server,
    introspection::server,
    leases::server,
    mounts::server,
    namespaces::server,
    sandbox_controller::server,
    sandbox_store::server,
    snapshots::server,
    streaming::server,
    tasks::server,
    transfer::server,
    version::server,
];

/// The service of snapshots over one snapshotter, and nothing else.
pub(crate) fn of_one(snapshotter: Arc<dyn Snapshotter>) -> Routes {
    let server = snapshots::server_of_one(snapshotter)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    Routes::new(server)
}

fn name_of<S: NamedService>(_: fn(&Parts) -> S) -> &'static str {
    S::NAME
}

/// A listing in one message.
///
/// # Errors
/// ResourceExhausted, as gRPC for Go has it, when it is too large for one.
fn whole<T: prost::Message>(what: &str, listing: T) -> Answer<T> {
    match listing.encoded_len() {
        0..=MAX_MESSAGE => Ok(Response::new(listing)),
        size => Err(status(lamina_core::Error::resource_exhausted(format!(
            "the list of {what} has {size} bytes, and a message at most {MAX_MESSAGE}: ask for fewer"
        )))),
    }
}

/// Turns an error of the store into a status.
fn status(error: lamina_core::Error) -> Status {
    lamina_api::status::to_status(&error)
}
