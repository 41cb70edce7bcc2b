//! Plugins, why they do not run, and the server.

use lamina_core::introspection::{Deprecation, InitError, PluginDetails, PluginInfo, Server};
use lamina_core::{Error, Kind, Result};
use tonic::{Code, Status};

use super::{any, field, platform, timestamp};
use crate::proto::containerd::services::introspection::v1 as proto;
use crate::proto::google::rpc;
use crate::status;

/// A plugin.
pub fn decode_plugin(plugin: proto::Plugin) -> PluginInfo {
    PluginInfo {
        kind: plugin.r#type,
        id: plugin.id,
        requires: plugin.requires,
        platforms: platform::decode_all(plugin.platforms),
        exports: plugin.exports,
        capabilities: plugin.capabilities,
        init_error: plugin.init_err.map(decode_init_error),
    }
}

/// A plugin to send.
pub fn encode_plugin(plugin: PluginInfo) -> proto::Plugin {
    proto::Plugin {
        r#type: plugin.kind,
        id: plugin.id,
        requires: plugin.requires,
        platforms: platform::encode_all(plugin.platforms),
        exports: plugin.exports,
        capabilities: plugin.capabilities,
        init_err: plugin.init_error.map(encode_init_error),
    }
}

/// Why a plugin does not run.
pub fn decode_init_error(error: rpc::Status) -> InitError {
    // A number that is no code reads as Unknown.
    match Code::from_i32(error.code) {
        Code::Unknown | Code::Ok => InitError { kind: Kind::Unknown, message: error.message },
        code => InitError::from(&status::from_status(&Status::new(code, error.message))),
    }
}

/// Why a plugin does not run, to send: the message with the text of its class at the end, as in any
/// status, unless the class says nothing.
pub fn encode_init_error(error: InitError) -> rpc::Status {
    let (code, message) = match error.kind {
        Kind::Unknown => (Code::Unknown, error.message),
        kind => {
            let status = status::to_status(&Error::new(kind, error.message));
            (status.code(), status.message().to_owned())
        }
    };
    rpc::Status { code: code.into(), message, details: Vec::new() }
}

/// A plugin with what it tells about itself.
///
/// # Errors
/// InvalidArgument for an answer without a plugin.
pub fn decode_details(response: proto::PluginInfoResponse) -> Result<PluginDetails> {
    let plugin = field::required("plugin", response.plugin)?;
    Ok(PluginDetails { plugin: decode_plugin(plugin), extra: response.extra.map(any::decode) })
}

/// A plugin with what it tells about itself, to send.
pub fn encode_details(details: PluginDetails) -> proto::PluginInfoResponse {
    proto::PluginInfoResponse {
        plugin: Some(encode_plugin(details.plugin)),
        extra: details.extra.map(any::encode),
    }
}

/// The server.
///
/// # Errors
/// InvalidArgument for times that are none.
pub fn decode_server(server: proto::ServerResponse) -> Result<Server> {
    let deprecations = server.deprecations.into_iter().map(decode_deprecation);
    Ok(Server {
        uuid: server.uuid,
        pid: server.pid,
        pid_namespace: server.pidns,
        deprecations: deprecations.collect::<Result<_>>()?,
    })
}

/// The server, to send.
pub fn encode_server(server: Server) -> proto::ServerResponse {
    proto::ServerResponse {
        uuid: server.uuid,
        pid: server.pid,
        pidns: server.pid_namespace,
        deprecations: server.deprecations.into_iter().map(encode_deprecation).collect(),
    }
}

fn decode_deprecation(warning: proto::DeprecationWarning) -> Result<Deprecation> {
    Ok(Deprecation {
        id: warning.id,
        message: warning.message,
        last_occurrence: timestamp::decode("last_occurrence", warning.last_occurrence)?,
    })
}

fn encode_deprecation(deprecation: Deprecation) -> proto::DeprecationWarning {
    proto::DeprecationWarning {
        id: deprecation.id,
        message: deprecation.message,
        last_occurrence: Some(timestamp::encode(deprecation.last_occurrence)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use lamina_core::introspection::PluginStatus;
    use lamina_core::{Any, Platform};

    use super::*;

    fn plugin() -> PluginInfo {
        PluginInfo {
            kind: "io.containerd.snapshotter.v1".to_owned(),
            id: "btrfs".to_owned(),
            requires: vec!["io.containerd.content.v1".to_owned()],
            platforms: vec![Platform::new("linux", "amd64")],
            exports: BTreeMap::from([("root".to_owned(), "/r".to_owned())]),
            capabilities: vec!["rebase".to_owned()],
            init_error: Some(InitError::skip("/r is not btrfs")),
        }
    }

    #[test]
    fn plugins_come_back() {
        let sent = encode_plugin(plugin());
        assert_eq!(sent.r#type, "io.containerd.snapshotter.v1");
        assert_eq!(decode_plugin(sent), plugin());
        let running = PluginInfo { init_error: None, ..plugin() };
        let extra = Some(Any { type_url: "x.Y".to_owned(), value: vec![1] });
        let details = PluginDetails { plugin: running, extra };
        assert_eq!(encode_details(details.clone()).plugin.unwrap().init_err, None);
        assert_eq!(decode_details(encode_details(details.clone())).unwrap(), details);
        decode_details(proto::PluginInfoResponse::default()).unwrap_err();
    }

    #[test]
    fn a_skip_is_known_by_its_text() {
        let sent = encode_init_error(InitError::skip("/r is not btrfs"));
        assert_eq!((sent.code, sent.message.as_str()), (2, "/r is not btrfs: skip plugin"));
        assert_eq!(decode_plugin(encode_plugin(plugin())).status(), PluginStatus::Skip);
    }

    #[test]
    fn faults_keep_class_and_message() {
        for (kind, code, message) in [
            (Kind::NotFound, 5, "open /x: not found"),
            (Kind::Conflict, 9, "open /x: conflict"),
            (Kind::Unknown, 2, "open /x"),
        ] {
            let error = InitError { kind, message: "open /x".to_owned() };
            let sent = encode_init_error(error.clone());
            assert_eq!((sent.code, sent.message.as_str()), (code, message));
            assert_eq!(decode_init_error(sent), error);
        }
        for code in [-1, 0, 99] {
            let sent = rpc::Status { code, message: "odd".to_owned(), details: Vec::new() };
            let error = decode_init_error(sent);
            assert_eq!((error.kind, error.message.as_str()), (Kind::Unknown, "odd"));
        }
    }

    #[test]
    fn the_server_comes_back() {
        let server = Server {
            uuid: "0b5c".to_owned(),
            pid: 7,
            pid_namespace: 4_026_531_836,
            deprecations: vec![Deprecation {
                id: "io.containerd.deprecation/x".to_owned(),
                message: "use y".to_owned(),
                last_occurrence: Timestamp::new(1, 2).unwrap(),
            }],
        };
        let sent = encode_server(server.clone());
        assert_eq!((sent.pid, sent.pidns), (7, 4_026_531_836));
        assert_eq!(decode_server(sent.clone()).unwrap(), server);
        let mut wrong = sent;
        wrong.deprecations[0].last_occurrence =
            Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
        assert_eq!(decode_server(wrong).unwrap_err().kind(), Kind::InvalidArgument);
    }
}
