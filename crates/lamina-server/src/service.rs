//! containerd's services, one file each. A handler decodes, calls, and encodes.

mod containers;
mod content;
mod diff;
mod events;
mod health;
mod images;
mod leases;
mod mounts;
mod namespaces;
mod pages;
mod sandbox_controller;
mod scope;
mod snapshots;
mod streaming;
mod tasks;
mod version;

use tonic::service::Routes;
use tonic::{Response, Status};

use crate::parts::Parts;

/// The size of a message in either direction, as containerd has it.
const MAX_MESSAGE: usize = 16 << 20;

/// What a handler answers.
type Answer<T> = Result<Response<T>, Status>;

/// Every service over the parts.
pub(crate) fn routes(parts: &Parts) -> Routes {
    /// One service with the limits that all have.
    macro_rules! add {
        ($routes:ident, $($server:expr),* $(,)?) => {
            $($routes.add_service(
                $server
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE),
            );)*
        };
    }
    let mut routes = Routes::builder();
    add!(
        routes,
        containers::server(parts),
        content::server(parts),
        diff::server(parts),
        events::server(parts),
        health::server(parts),
        images::server(parts),
        leases::server(parts),
        mounts::server(parts),
        namespaces::server(parts),
        sandbox_controller::server(parts),
        snapshots::server(parts),
        streaming::server(parts),
        tasks::server(parts),
        version::server(parts),
    );
    routes.routes()
}

/// Turns an error of the store into a status.
fn status(error: lamina_core::Error) -> Status {
    lamina_api::status::to_status(&error)
}
