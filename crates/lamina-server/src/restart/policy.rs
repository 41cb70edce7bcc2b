//! What is to be done about a container, by its labels and the state of its task. Pure.

use lamina_core::task::Status;
use lamina_core::{Error, Labels, Result};

/// The state that is wanted: `running` or `stopped`. A container without it is left alone.
pub(super) const STATUS: &str = "containerd.io/restart.status";
/// How often it was started again.
pub(super) const COUNT: &str = "containerd.io/restart.count";
/// Where its output goes.
pub(super) const LOG: &str = "containerd.io/restart.loguri";
/// When it is started again.
const POLICY: &str = "containerd.io/restart.policy";
/// A user has stopped it.
const EXPLICITLY_STOPPED: &str = "containerd.io/restart.explicitly-stopped";

/// A task that there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) status: Status,
    /// Of one that has ended.
    pub(super) exit_status: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Stop,
    /// Start it again, for the `count`th time.
    Start {
        count: u64,
    },
}

/// Decides.
///
/// # Errors
/// InvalidArgument for a state or policy that is none.
pub(super) fn decide(labels: &Labels, found: Option<Found>) -> Result<Change> {
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    match label(STATUS) {
        "running" => {}
        "stopped" => {
            return Ok(match found {
                None | Some(Found { status: Status::Stopped, .. }) => Change::None,
                Some(_) => Change::Stop,
            });
        }
        other => {
            let message = format!("{STATUS} is {other:?}, not running or stopped");
            return Err(Error::invalid_argument(message));
        }
    }
    // One that was frozen is to go on some time, and one that does not answer may well run: to start
    // them again would end them.
    if let Some(found) = found
        && !matches!(found.status, Status::Created | Status::Stopped)
    {
        return Ok(Change::None);
    }
    let count = label(COUNT).parse().unwrap_or(0_u64);
    let policy = Policy::parse(label(POLICY))?;
    if is_stopped(labels) {
        return Ok(Change::None);
    }
    let again = match policy {
        Policy::No => false,
        Policy::Always => true,
        Policy::OnFailure { most } => {
            let failed = found.is_some_and(|found| found.exit_status != 0);
            failed && (most == 0 || count < most)
        }
        Policy::UnlessStopped => true,
    };
    Ok(if again { Change::Start { count: count + 1 } } else { Change::None })
}

/// Whether a user has stopped it. Whatever the policy: `stop` is to end it.
pub(super) fn is_stopped(labels: &Labels) -> bool {
    let label = labels.get(EXPLICITLY_STOPPED).map_or("", String::as_str);
    ["1", "t", "T", "true", "TRUE", "True"].contains(&label)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    No,
    Always,
    /// So often at most; 0 without a bound.
    OnFailure {
        most: u64,
    },
    UnlessStopped,
}

impl Policy {
    fn parse(text: &str) -> Result<Policy> {
        let bad = || Error::invalid_argument(format!("{POLICY} {text:?} is none"));
        let (name, most) = match text.split_once(':') {
            None => (text, None),
            Some((name, most)) => (name, Some(most.parse().map_err(|_| bad())?)),
        };
        match (name, most) {
            ("" | "always", None) => Ok(Policy::Always),
            ("no", None) => Ok(Policy::No),
            ("unless-stopped", None) => Ok(Policy::UnlessStopped),
            ("on-failure", most) => Ok(Policy::OnFailure { most: most.unwrap_or(0) }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;

    fn change(labels: &[(&str, &str)], found: Option<(Status, u32)>) -> Result<Change> {
        let labels = labels
            .iter()
            .map(|(key, value)| (format!("containerd.io/restart.{key}"), (*value).to_owned()))
            .collect();
        decide(&labels, found.map(|(status, exit_status)| Found { status, exit_status }))
    }

    #[test]
    fn what_is_as_wanted_is_left_alone() {
        for (wanted, found) in [
            ("running", Some((Status::Running, 0))),
            ("running", Some((Status::Unknown, 0))),
            ("running", Some((Status::Paused, 0))),
            ("stopped", Some((Status::Stopped, 1))),
            ("stopped", None),
        ] {
            assert_eq!(change(&[("status", wanted)], found).unwrap(), Change::None, "{wanted}");
        }
        for status in [Status::Running, Status::Created, Status::Paused] {
            let stopped = change(&[("status", "stopped")], Some((status, 0)));
            assert_eq!(stopped.unwrap(), Change::Stop);
        }
    }

    #[test]
    fn policies_decide_about_what_has_ended() {
        let (well, badly) = (Some((Status::Stopped, 0)), Some((Status::Stopped, 3)));
        let start = |count| Change::Start { count };
        for (labels, found, expected) in [
            (&[][..], well, start(1)),
            (&[("count", "4")], well, start(5)),
            (&[("count", "many")], None, start(1)),
            (&[("policy", "no")], badly, Change::None),
            (&[("policy", "always")], None, start(1)),
            (&[("policy", "on-failure")], well, Change::None),
            (&[("policy", "on-failure")], None, Change::None),
            (&[("policy", "on-failure"), ("count", "100")], badly, start(101)),
            (&[("policy", "on-failure:2"), ("count", "1")], badly, start(2)),
            (&[("policy", "on-failure:2"), ("count", "2")], badly, Change::None),
            (&[("policy", "unless-stopped")], well, start(1)),
            (&[("policy", "unless-stopped"), ("explicitly-stopped", "false")], well, start(1)),
            (&[("policy", "unless-stopped"), ("explicitly-stopped", "true")], well, Change::None),
            (&[("explicitly-stopped", "true")], None, Change::None),
            (&[("policy", "on-failure"), ("explicitly-stopped", "1")], badly, Change::None),
            (&[], Some((Status::Created, 0)), start(1)),
        ] {
            let labels = [&[("status", "running")], labels].concat();
            assert_eq!(change(&labels, found).unwrap(), expected, "{labels:?}");
        }
    }

    #[test]
    fn what_is_no_policy_is_an_error() {
        for labels in [
            &[("status", "paused")][..],
            &[("status", "running"), ("policy", "sometimes")],
            &[("status", "running"), ("policy", "always:3")],
            &[("status", "running"), ("policy", "on-failure:often")],
        ] {
            assert_eq!(change(labels, None).unwrap_err().kind(), Kind::InvalidArgument);
        }
    }
}
