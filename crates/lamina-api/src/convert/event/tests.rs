#![allow(clippy::unwrap_used)] // In tests a panic is the report.

use jiff::Timestamp;
use lamina_core::{Digest, Fields, Filters, Kind, Labels};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value,
};

use super::*;
use crate::proto::DESCRIPTORS;

fn every_event() -> Vec<(&'static str, &'static str, Event)> {
    let text = |text: &str| text.to_owned();
    let labels = || Labels::from([("a.b".to_owned(), "c".to_owned())]);
    let (name, key, snapshotter) = (text("n"), text("k"), text("overlayfs"));
    let options = Any { type_url: text("containerd.runc.v1.Options"), value: vec![1] };
    vec![
        (
            "/namespaces/create",
            "containerd.events.NamespaceCreate",
            Event::NamespaceCreate { name: name.clone(), labels: labels() },
        ),
        (
            "/namespaces/update",
            "containerd.events.NamespaceUpdate",
            Event::NamespaceUpdate { name: name.clone(), labels: labels() },
        ),
        (
            "/namespaces/delete",
            "containerd.events.NamespaceDelete",
            Event::NamespaceDelete { name: name.clone() },
        ),
        (
            "/images/create",
            "containerd.services.images.v1.ImageCreate",
            Event::ImageCreate { name: name.clone(), labels: labels() },
        ),
        (
            "/images/update",
            "containerd.services.images.v1.ImageUpdate",
            Event::ImageUpdate { name: name.clone(), labels: labels() },
        ),
        (
            "/images/delete",
            "containerd.services.images.v1.ImageDelete",
            Event::ImageDelete { name: name.clone() },
        ),
        (
            "/content/create",
            "containerd.events.ContentCreate",
            Event::ContentCreate { digest: Digest::sha256(b"x"), size: 1 },
        ),
        (
            "/content/delete",
            "containerd.events.ContentDelete",
            Event::ContentDelete { digest: Digest::sha256(b"x") },
        ),
        (
            "/snapshot/prepare",
            "containerd.events.SnapshotPrepare",
            Event::SnapshotPrepare {
                key: key.clone(),
                parent: text("p"),
                snapshotter: snapshotter.clone(),
            },
        ),
        (
            "/snapshot/commit",
            "containerd.events.SnapshotCommit",
            Event::SnapshotCommit { key: key.clone(), name, snapshotter: snapshotter.clone() },
        ),
        (
            "/snapshot/remove",
            "containerd.events.SnapshotRemove",
            Event::SnapshotRemove { key: key.clone(), snapshotter },
        ),
        (
            "/containers/create",
            "containerd.events.ContainerCreate",
            Event::ContainerCreate {
                id: text("c"),
                image: text("i"),
                runtime: text("r"),
                runtime_options: Some(options.clone()),
            },
        ),
        (
            "/containers/update",
            "containerd.events.ContainerUpdate",
            Event::ContainerUpdate {
                id: text("c"),
                image: text("i"),
                labels: labels(),
                snapshot_key: key,
            },
        ),
        (
            "/containers/delete",
            "containerd.events.ContainerDelete",
            Event::ContainerDelete { id: text("c") },
        ),
        (
            "/x/y",
            "containerd.runc.v1.Options",
            Event::Other { topic: text("/x/y"), payload: options },
        ),
    ]
}

fn envelope(event: Event) -> Envelope {
    Envelope {
        timestamp: Timestamp::new(1, 2).unwrap(),
        namespace: Namespace::new("default").unwrap(),
        event,
    }
}

#[test]
fn every_event_has_its_topic_and_message_and_comes_back() {
    for (topic, message, event) in every_event() {
        let sent = encode_envelope(envelope(event.clone()));
        assert_eq!((sent.topic.as_str(), sent.namespace.as_str()), (topic, "default"));
        assert_eq!(sent.event.as_ref().unwrap().type_url, message);
        assert_eq!(sent.timestamp, Some(prost_types::Timestamp { seconds: 1, nanos: 2 }));
        let back = decode_envelope(sent.clone()).unwrap();
        assert_eq!(back, envelope(event));
    }
}

#[test]
fn what_is_not_the_topics_message_stays_unread() {
    let (_, delete) = encode(Event::ContainerDelete { id: "c".to_owned() });
    let broken = prost_types::Any { value: vec![0xff; 3], ..delete.clone() };
    let digest = proto::ContentDelete { digest: "sha256:no".to_owned() };
    let size = proto::ContentCreate {
        digest: Digest::sha256(b"").to_string(),
        size: -1,
        ..Default::default()
    };
    for (topic, payload) in [
        ("/my/own", delete.clone()),
        ("/containers/create", delete),
        ("/containers/delete", broken),
        ("/containers/delete", prost_types::Any::default()),
        ("/content/delete", any::pack(&digest)),
        ("/content/create", any::pack(&size)),
    ] {
        let event = decode(topic.to_owned(), payload.clone());
        let unread =
            Event::Other { topic: topic.to_owned(), payload: any::decode(payload.clone()) };
        assert_eq!(event, unread);
        assert_eq!(encode(event), (topic.to_owned(), payload));
    }
}

#[test]
fn envelopes_are_checked_as_containerd_does() {
    let good = encode_envelope(envelope(Event::ContainerDelete { id: "c".to_owned() }));
    let topic = |topic: &str| types::Envelope { topic: topic.to_owned(), ..good.clone() };
    let time = |seconds, nanos| types::Envelope {
        timestamp: Some(prost_types::Timestamp { seconds, nanos }),
        ..good.clone()
    };
    let broken = [
        types::Envelope { namespace: String::new(), ..good.clone() },
        types::Envelope { namespace: "a/b".to_owned(), ..good.clone() },
        types::Envelope { timestamp: None, ..good.clone() },
        time(timestamp::MIN_SECONDS, 0),
        time(0, -1),
        topic(""),
        topic("tasks/exit"),
        topic("/"),
        topic("/tasks/"),
        topic("//exit"),
        topic("/tasks/../exit"),
        topic("/tasks/ex it"),
    ];
    for envelope in broken {
        let error = decode_envelope(envelope).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
    }
    let error = check_topic("/tasks//exit").unwrap_err();
    assert!(error.chain().starts_with("envelope topic \"/tasks//exit\": "), "{}", error.chain());
    check_topic("/tasks/exec-started").unwrap();
    decode_envelope(time(0, 0)).unwrap();
}

fn matches(envelope: &types::Envelope, filter: &str) -> bool {
    Filters::parse_all(&[filter]).unwrap().matches(&Subject::new(envelope))
}

#[test]
fn filters_look_into_events() {
    let exit = proto::TaskExit {
        container_id: "redis".to_owned(),
        id: "exec-1".to_owned(),
        pid: 7,
        ..Default::default()
    };
    let mut event = any::pack(&exit);
    event.type_url.insert_str(0, "type.googleapis.com/");
    let envelope = types::Envelope {
        timestamp: None,
        namespace: "k8s.io".to_owned(),
        topic: "/tasks/exit".to_owned(),
        event: Some(event),
    };
    for filter in [
        "namespace==k8s.io",
        "topic~=^/tasks/",
        "topic~=|^/tasks/exit$|",
        "topic==\"/tasks/exit\"",
        "event.container_id==redis",
        "event.id!=redis,namespace",
        "event.container_id.more==redis",
    ] {
        assert!(matches(&envelope, filter), "{filter}");
    }
    for filter in [
        "namespace==default",
        "event.pid==7",
        "event.pid",
        "event",
        "timestamp",
        "topic~=^/images/",
    ] {
        assert!(!matches(&envelope, filter), "{filter}");
    }
    let other = types::Envelope {
        event: Some(prost_types::Any { type_url: "x.Y".to_owned(), value: vec![10, 1, 65] }),
        ..envelope.clone()
    };
    assert!(!matches(&other, "event.container_id"));
    assert!(!matches(&types::Envelope { event: None, ..envelope }, "event.container_id"));
}

/// The accessors are written by hand; the descriptors say what they have to cover.
#[test]
fn filters_see_each_text_and_label_of_each_event() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let messages: Vec<_> = pool
        .all_messages()
        .filter(|message| {
            message.parent_message().is_none()
                && (message.package_name() == "containerd.events"
                    || message.full_name().starts_with("containerd.services.images.v1.Image")
                        && message.name() != "Image")
        })
        .collect();
    assert_eq!(messages.len(), 28, "an event is new or gone");
    for message in messages {
        let mut dynamic = DynamicMessage::new(message.clone());
        let mut paths: Vec<(Vec<String>, Option<String>)> = Vec::new();
        fill(&mut dynamic, &[], &mut paths);
        assert!(!paths.is_empty());
        let envelope = types::Envelope {
            event: Some(prost_types::Any {
                type_url: message.full_name().to_owned(),
                value: dynamic.encode_to_vec(),
            }),
            ..Default::default()
        };
        let subject = Subject::new(&envelope);
        for (path, value) in paths {
            let mut whole = vec!["event"];
            whole.extend(path.iter().map(String::as_str));
            assert_eq!(
                subject.field(&whole).map(String::from),
                value,
                "{}.{path:?}",
                message.name()
            );
        }
    }
}

/// Sets every field and lists what filters should see of it.
fn fill(
    message: &mut DynamicMessage,
    above: &[String],
    paths: &mut Vec<(Vec<String>, Option<String>)>,
) {
    let fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
    for field in fields {
        let path = [above, &[field.name().to_owned()]].concat();
        let text = format!("the {}", path.join(" "));
        match Value::default_value_for_field(&field) {
            Value::String(_) => {
                message.set_field(&field, Value::String(text.clone()));
                paths.push((path, Some(text)));
            }
            Value::Bool(_) => {
                message.set_field(&field, Value::Bool(true));
                paths.push((path, Some("true".to_owned())));
            }
            Value::Map(_) => {
                let entry = (MapKey::String("a.b".to_owned()), Value::String(text.clone()));
                message.set_field(&field, Value::Map([entry].into()));
                let keys = ["a".to_owned(), "b".to_owned()];
                paths.push(([&path[..], &keys].concat(), Some(text)));
                paths.push((path, None));
            }
            Value::Message(mut inner)
                if inner.descriptor().package_name() == "containerd.events" =>
            {
                fill(&mut inner, &path, paths);
                message.set_field(&field, Value::Message(inner));
                paths.push((path, None));
            }
            // Numbers, times, values within values, lists.
            _ => paths.push((path, None)),
        }
    }
}
