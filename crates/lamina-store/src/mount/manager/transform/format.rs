//! `format/`: templates that name what was mounted before. Pure.
//!
//! `{{ source i }}`, `{{ target i }}` and `{{ mount i }}` are the source, the sub-path and the mount
//! point of an earlier mount, counted from 0. `{{ overlay a b }}` is the mount points from `a` to `b`
//! as overlay's `lowerdir` wants them, downwards if `a` is larger. Anything else in `{{ }}` is an
//! error, so that a typo does not become a path.

use std::path::Path;

use lamina_core::mount::ActiveMount;
use lamina_core::{Error, Mount, Result};

use crate::mount::layers::escape;

/// Fills the templates in source, target and options.
pub(super) fn format(mut mount: Mount, active: &[ActiveMount]) -> Result<Mount> {
    for text in [&mut mount.source, &mut mount.target].into_iter().chain(&mut mount.options) {
        *text = fill(text, active)?;
    }
    Ok(mount)
}

fn fill(text: &str, active: &[ActiveMount]) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, template)) = rest.split_once("{{") {
        let bad = |why: &str| Error::invalid_argument(format!("mount template {text:?}: {why}"));
        let (template, after) = template.split_once("}}").ok_or_else(|| bad("no closing }}"))?;
        filled.push_str(before);
        filled.push_str(&value(template, active).map_err(|why| bad(&why))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn value(template: &str, active: &[ActiveMount]) -> Result<String, String> {
    let words: Vec<&str> = template.split_whitespace().collect();
    let earlier = |word: &str| -> Result<&ActiveMount, String> {
        let index: usize = word.parse().map_err(|_| format!("{word:?} is no number"))?;
        let count = active.len();
        active.get(index).ok_or_else(|| format!("mount {index} of {count} before it"))
    };
    match words.as_slice() {
        ["source", index] => Ok(earlier(index)?.mount.source.clone()),
        ["target", index] => Ok(earlier(index)?.mount.target.clone()),
        ["mount", index] => Ok(earlier(index)?.mount_point.clone()),
        ["overlay", from, to] => {
            earlier(from)?;
            earlier(to)?;
            let index = |word: &str| word.parse::<usize>().unwrap_or_default();
            let (from, to) = (index(from), index(to));
            let (low, high) = (from.min(to), from.max(to));
            let range = active.get(low..=high).unwrap_or_default();
            let mut points: Vec<String> =
                range.iter().map(|mount| escape(Path::new(&mount.mount_point))).collect();
            if from > to {
                points.reverse();
            }
            Ok(points.join(":"))
        }
        _ => Err(format!("{:?} is no template", template.trim())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use jiff::Timestamp;

    fn active() -> Vec<ActiveMount> {
        (0..3)
            .map(|index| ActiveMount {
                mount: Mount {
                    target: format!("sub{index}"),
                    ..Mount::new("erofs", format!("/blob/{index}"), ["ro"])
                },
                mount_point: format!("/t/1/{index}"),
                mounted_at: Timestamp::UNIX_EPOCH,
                data: BTreeMap::new(),
            })
            .collect()
    }

    #[test]
    fn templates() {
        for (text, want) in [
            ("plain", "plain"),
            ("}} alone {", "}} alone {"),
            ("{{ source 1 }}", "/blob/1"),
            ("{{target 2}}", "sub2"),
            ("upperdir={{ mount 0 }}/upper", "upperdir=/t/1/0/upper"),
            ("lowerdir={{ overlay 0 2 }}", "lowerdir=/t/1/0:/t/1/1:/t/1/2"),
            ("lowerdir={{ overlay 2 1 }}:/x", "lowerdir=/t/1/2:/t/1/1:/x"),
            ("{{ overlay 1 1 }}{{mount 1}}", "/t/1/1/t/1/1"),
        ] {
            assert_eq!(fill(text, &active()).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, says) in [
            ("{{ mount 3 }}", "mount 3 of 3"),
            ("{{ overlay 0 3 }}", "mount 3 of 3"),
            ("{{ mount -1 }}", "no number"),
            ("{{ mount }}", "no template"),
            ("{{ mount 1", "closing"),
            ("{{ env \"HOME\" }}", "no template"),
        ] {
            let error = fill(text, &active()).unwrap_err();
            assert_eq!(error.kind(), lamina_core::Kind::InvalidArgument);
            assert!(error.message().contains(says), "{error}");
        }
    }

    #[test]
    fn every_part_of_a_mount_is_filled() {
        let mount = Mount {
            target: "{{ target 0 }}".into(),
            ..Mount::new("overlay", "{{ source 0 }}", ["a", "b={{ mount 0 }}"])
        };
        let found = format(mount, &active()).unwrap();
        assert_eq!((found.source.as_str(), found.target.as_str()), ("/blob/0", "sub0"));
        assert_eq!(found.options, ["a", "b=/t/1/0"]);
    }
}
