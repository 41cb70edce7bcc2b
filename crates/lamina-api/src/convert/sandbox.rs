//! Sandbox records.

use lamina_core::{Result, Sandbox};

use super::{any, timestamp};
use crate::proto::containerd::types;

/// A sandbox. What is missing is empty; the store says what it needs.
///
/// # Errors
/// InvalidArgument for times that are none.
pub fn decode(sandbox: types::Sandbox) -> Result<Sandbox> {
    let runtime = sandbox.runtime.unwrap_or_default();
    Ok(Sandbox {
        id: sandbox.sandbox_id,
        labels: sandbox.labels,
        runtime: runtime.name,
        runtime_options: runtime.options.map(any::decode),
        spec: sandbox.spec.map(any::decode),
        sandboxer: sandbox.sandboxer,
        extensions: any::decode_map(sandbox.extensions),
        created: timestamp::decode("sandbox.created_at", sandbox.created_at)?,
        updated: timestamp::decode("sandbox.updated_at", sandbox.updated_at)?,
    })
}

/// A sandbox to send.
pub fn encode(sandbox: Sandbox) -> types::Sandbox {
    types::Sandbox {
        sandbox_id: sandbox.id,
        runtime: Some(types::sandbox::Runtime {
            name: sandbox.runtime,
            options: sandbox.runtime_options.map(any::encode),
        }),
        spec: sandbox.spec.map(any::encode),
        labels: sandbox.labels,
        created_at: Some(timestamp::encode(sandbox.created)),
        updated_at: Some(timestamp::encode(sandbox.updated)),
        extensions: any::encode_map(sandbox.extensions),
        sandboxer: sandbox.sandboxer,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use lamina_core::{Any, Labels};

    use super::*;

    #[test]
    fn sandboxes_come_back() {
        let any = |text: &str| Any { type_url: text.to_owned(), value: vec![1] };
        let sandbox = Sandbox {
            id: "pod".to_owned(),
            labels: Labels::from([("a".to_owned(), "b".to_owned())]),
            runtime: "io.containerd.runc.v2".to_owned(),
            runtime_options: Some(any("x.Options")),
            spec: Some(any("x.Spec")),
            sandboxer: "shim".to_owned(),
            extensions: BTreeMap::from([("x".to_owned(), any("x.Y"))]),
            created: Timestamp::new(1, 2).unwrap(),
            updated: Timestamp::new(3, 4).unwrap(),
        };
        let sent = encode(sandbox.clone());
        assert_eq!((sent.sandbox_id.as_str(), sent.sandboxer.as_str()), ("pod", "shim"));
        assert_eq!(decode(sent).unwrap(), sandbox);

        let named = types::Sandbox { sandbox_id: "pod".to_owned(), ..Default::default() };
        let named = decode(named).unwrap();
        assert_eq!((named.runtime.as_str(), named.spec, named.runtime_options), ("", None, None));
        let wrong = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
        decode(types::Sandbox { updated_at: wrong, ..Default::default() }).unwrap_err();
    }
}
