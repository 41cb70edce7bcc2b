//! Id maps in labels: whose the root of a layer is, as the host sees it.

use lamina_core::{Error, Labels, Result, labels};

use super::Facts;
use crate::mount::parse_id_map;

/// User and group that root in the container is on the host. `None` when the labels have no map; if
/// only one of the two is there, the other maps nothing.
///
/// # Errors
/// InvalidArgument for a map that is malformed, or does not map 0.
pub(in super::super) fn root_owner(labels: &Labels) -> Result<Option<(u32, u32)>> {
    let root = |label: &str| labels.get(label).map(|map| host_root(label, map)).transpose();
    match (root(labels::SNAPSHOT_UID_MAP)?, root(labels::SNAPSHOT_GID_MAP)?) {
        (None, None) => Ok(None),
        (uid, gid) => Ok(Some((uid.unwrap_or(0), gid.unwrap_or(0)))),
    }
}

/// The id maps as options, where mounts can have them.
pub(in super::super) fn options(facts: &Facts, labels: &Labels) -> Vec<String> {
    if !facts.id_mapped {
        return Vec::new();
    }
    [("uidmap", labels::SNAPSHOT_UID_MAP), ("gidmap", labels::SNAPSHOT_GID_MAP)]
        .into_iter()
        .filter_map(|(option, label)| Some(format!("{option}={}", labels.get(label)?)))
        .collect()
}

fn host_root(label: &str, map: &str) -> Result<u32> {
    let ranges =
        parse_id_map(map).map_err(|error| error.context(format!("label {label} is {map:?}")))?;
    let root = ranges.iter().find(|range| range.inside == 0);
    root.map(|range| range.outside).ok_or_else(|| {
        Error::invalid_argument(format!("label {label} is {map:?}, which does not map 0"))
    })
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;

    fn owner(uids: Option<&str>, gids: Option<&str>) -> Result<Option<(u32, u32)>> {
        let maps = [(labels::SNAPSHOT_UID_MAP, uids), (labels::SNAPSHOT_GID_MAP, gids)];
        root_owner(
            &maps.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect(),
        )
    }

    #[test]
    fn root_is_who_the_maps_say() {
        for (uids, gids, want) in [
            (None, None, None),
            (Some("0:1000:1"), Some("0:2000:65536"), Some((1000, 2000))),
            (Some("0:1000:1"), None, Some((1000, 0))),
            (None, Some("0:2000:1"), Some((0, 2000))),
            (Some("1:7:1,0:8:1"), Some("0:0:4294967295"), Some((8, 0))),
        ] {
            assert_eq!(owner(uids, gids).unwrap(), want, "{uids:?} {gids:?}");
        }
    }

    #[test]
    fn bad_maps() {
        for bad in [
            "",
            ",",
            "0",
            "0:1",
            "0:1:",
            "0:1:1:1",
            "0:1:0",
            "-1:1:1",
            "0:-1:1",
            "0:1:-1",
            "a:1:1",
            "0:b:1",
            "0:1:c",
            "+0:1:1",
            "0:1:1,",
            "0:1:1,x",
            "0:4294967296:1",
            "1:1000:10",
            " 0:1:1",
        ] {
            for (uids, gids) in [(Some(bad), None), (None, Some(bad)), (Some("0:1:1"), Some(bad))] {
                let error = owner(uids, gids).unwrap_err();
                assert_eq!(error.kind(), Kind::InvalidArgument, "{bad:?}");
                assert!(error.message().contains(bad), "{error}");
            }
        }
    }
}
