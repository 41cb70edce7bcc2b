//! Image records.

use lamina_core::image::DeleteOptions;
use lamina_core::{Descriptor, Digest, Image, Result};

use super::{descriptor, field, timestamp};
use crate::proto::containerd::services::images::v1 as proto;
use crate::proto::containerd::types;

/// An image.
///
/// # Errors
/// InvalidArgument for no target, one of wrong form, times that are none.
pub fn decode(mut image: proto::Image) -> Result<Image> {
    let target = field::required("image.target", image.target.take())?;
    with_target(image, |field| descriptor::decode(field, target))
}

/// An image that says what to change. Its target is read only if `paths` name it, or nothing: clients
/// that change labels send none. Annotations are in the target too and are always read.
///
/// # Errors
/// As [`decode`]; for the target only if it is read.
pub fn decode_update(mut image: proto::Image, paths: &[String]) -> Result<Image> {
    if paths.is_empty() || paths.iter().any(|path| path == "target") {
        return decode(image);
    }
    let target = image.target.take().unwrap_or_default();
    // Not looked at, but there is no descriptor without a digest.
    let unread = Descriptor::new("", Digest::sha256(b""), 0);
    with_target(image, |_| Ok(Descriptor { annotations: target.annotations, ..unread }))
}

fn with_target(
    image: proto::Image,
    target: impl FnOnce(&str) -> Result<Descriptor>,
) -> Result<Image> {
    Ok(Image {
        name: image.name,
        target: target("image.target")?,
        labels: image.labels,
        created: timestamp::decode("image.created_at", image.created_at)?,
        updated: timestamp::decode("image.updated_at", image.updated_at)?,
    })
}

/// An image to send.
pub fn encode(image: Image) -> proto::Image {
    proto::Image {
        name: image.name,
        labels: image.labels,
        target: Some(descriptor::encode(image.target)),
        created_at: Some(timestamp::encode(image.created)),
        updated_at: Some(timestamp::encode(image.updated)),
    }
}

/// What to delete, and how. A target without a digest is none.
///
/// # Errors
/// InvalidArgument for a digest of wrong form.
pub fn decode_delete(request: proto::DeleteImageRequest) -> Result<(String, DeleteOptions)> {
    let digest = request.target.map(|target| target.digest).unwrap_or_default();
    let target = field::decode_optional_digest("target.digest", &digest)?;
    Ok((request.name, DeleteOptions { sync: request.sync, target }))
}

/// What to delete, to send.
pub fn encode_delete(name: &str, options: DeleteOptions) -> proto::DeleteImageRequest {
    let target = options
        .target
        .map(|digest| types::Descriptor { digest: digest.to_string(), ..Default::default() });
    proto::DeleteImageRequest { name: name.to_owned(), sync: options.sync, target }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamina_core::{Kind, Labels};

    use super::*;

    fn image() -> Image {
        let mut target = Descriptor::of("application/vnd.oci.image.index.v1+json", b"{}");
        target.annotations.insert("a".to_owned(), "b".to_owned());
        Image {
            name: "docker.io/library/redis:7".to_owned(),
            target,
            labels: Labels::from([("c".to_owned(), "d".to_owned())]),
            created: Timestamp::new(1, 2).unwrap(),
            updated: Timestamp::new(3, 4).unwrap(),
        }
    }

    #[test]
    fn images_come_back() {
        let sent = encode(image());
        assert_eq!(sent.created_at, Some(prost_types::Timestamp { seconds: 1, nanos: 2 }));
        assert_eq!(decode(sent.clone()).unwrap(), image());
        assert_eq!(decode_update(sent.clone(), &[]).unwrap(), image());
        assert_eq!(decode_update(sent, &["target".to_owned()]).unwrap(), image());
    }

    #[test]
    fn what_has_no_target_is_refused_by_field() {
        let without = proto::Image { target: None, ..encode(image()) };
        let error = decode(without.clone()).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::InvalidArgument, "image.target is required")
        );
        let empty = proto::Image { target: Some(types::Descriptor::default()), ..without };
        for paths in [vec![], vec!["labels".to_owned(), "target".to_owned()]] {
            let error = decode_update(empty.clone(), &paths).unwrap_err();
            assert!(error.chain().starts_with("image.target.digest: "), "{}", error.chain());
        }
    }

    #[test]
    fn a_change_of_labels_or_annotations_needs_no_target() {
        let annotations = image().target.annotations;
        let target = types::Descriptor { annotations, size: -1, ..Default::default() };
        let sent = proto::Image { target: Some(target), ..encode(image()) };
        let paths = ["labels.c".to_owned(), "annotations.a".to_owned()];
        let update = decode_update(sent.clone(), &paths).unwrap();
        assert_eq!(update.target.annotations, image().target.annotations);
        assert_eq!((update.name, update.labels), (image().name, image().labels));
        let bare = proto::Image { target: None, ..sent };
        assert_eq!(decode_update(bare, &paths).unwrap().labels, image().labels);
    }

    #[test]
    fn deletes_name_their_target() {
        let options = DeleteOptions { sync: true, target: Some(Digest::sha256(b"x")) };
        let (name, back) = decode_delete(encode_delete("redis", options.clone())).unwrap();
        assert_eq!((name.as_str(), back.sync, back.target), ("redis", true, options.target));
        let plain = encode_delete("redis", DeleteOptions::default());
        assert_eq!(plain.target, None);
        assert_eq!(decode_delete(plain.clone()).unwrap().1.target, None);
        let without = types::Descriptor { size: 2, ..Default::default() };
        let request = proto::DeleteImageRequest { target: Some(without.clone()), ..plain.clone() };
        assert_eq!(decode_delete(request).unwrap().1.target, None);
        let broken = types::Descriptor { digest: "sha256:x".to_owned(), ..without };
        let request = proto::DeleteImageRequest { target: Some(broken), ..plain };
        assert_eq!(decode_delete(request).unwrap_err().kind(), Kind::InvalidArgument);
    }
}
