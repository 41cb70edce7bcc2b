//! The tiers, and which one a test belongs to.

use anyhow::{Result, bail};

/// A tier of tests. They run in this order: what is quick and finds much comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// `cargo fmt`.
    Fmt,
    /// `cargo clippy`, where a warning is an error.
    Clippy,
    /// `cargo xtask tidy`.
    Tidy,
    /// `cargo deny`: licences, sources, banned crates, advisories.
    Deny,
    /// Tests beside the code, documentation examples, and integration tests of no other tier.
    Unit,
    /// `tests/contract*.rs`: one suite per trait, over every implementor.
    Contract,
    /// `tests/crash*.rs`: a fault at every step.
    Crash,
    /// `privileged_*`, wherever they are: real mounts, as root.
    Privileged,
    /// `tests/conformance*.rs`: unmodified clients and other projects' suites.
    Conformance,
    /// `vm_*`, wherever they are: in a guest with a kernel of its own (`cargo xtask vm`).
    Vm,
}

impl Tier {
    pub(crate) const ALL: &[Tier] = &[
        Tier::Fmt,
        Tier::Clippy,
        Tier::Tidy,
        Tier::Deny,
        Tier::Unit,
        Tier::Contract,
        Tier::Crash,
        Tier::Privileged,
        Tier::Conformance,
        Tier::Vm,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tier::Fmt => "fmt",
            Tier::Clippy => "clippy",
            Tier::Tidy => "tidy",
            Tier::Deny => "deny",
            Tier::Unit => "unit",
            Tier::Contract => "contract",
            Tier::Crash => "crash",
            Tier::Privileged => "privileged",
            Tier::Conformance => "conformance",
            Tier::Vm => "vm",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Tier> {
        let Some(tier) = Tier::ALL.iter().find(|tier| tier.name() == name) else {
            let names: Vec<&str> = Tier::ALL.iter().map(|tier| tier.name()).collect();
            bail!("no tier is called {name}; there are {}", names.join(", "));
        };
        Ok(*tier)
    }

    /// Whether the tier runs test executables, which have to be built for it.
    pub(crate) fn runs_executables(self) -> bool {
        self >= Tier::Unit
    }

    /// The one tier of a test: `target` is the name of the file under `tests/` that it is in, none
    /// for tests beside the code; `test` its full name.
    pub(crate) fn of(target: Option<&str>, test: &str) -> Tier {
        let name = test.rsplit("::").next().unwrap_or(test);
        let file = target.unwrap_or_default();
        match () {
            () if name.starts_with("vm_") => Tier::Vm,
            () if name.starts_with("privileged_") => Tier::Privileged,
            () if file.starts_with("contract") => Tier::Contract,
            () if file.starts_with("crash") => Tier::Crash,
            () if file.starts_with("conformance") => Tier::Conformance,
            () => Tier::Unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_belongs_to_the_tier_its_names_say() {
        let cases = [
            (None, "gc::tests::marks", Tier::Unit),
            (None, "mount::tests::privileged_overlay", Tier::Privileged),
            (None, "contract::tests::x", Tier::Unit),
            (Some("content"), "resumes", Tier::Unit),
            (Some("contract"), "overlay::cases", Tier::Contract),
            (Some("contract_snapshots"), "privileged_overlay", Tier::Privileged),
            (Some("crash_commit"), "killed_at_each_step", Tier::Crash),
            (Some("conformance_ctr"), "pulls", Tier::Conformance),
            (Some("contract_snapshots"), "zfs::vm_update", Tier::Vm),
            (None, "vm::tests::x", Tier::Unit),
        ];
        for (target, test, tier) in cases {
            assert_eq!(Tier::of(target, test), tier, "{target:?} {test}");
        }
    }

    #[test]
    fn tiers_are_found_by_name() {
        for tier in Tier::ALL {
            assert_eq!(Tier::parse(tier.name()).unwrap(), *tier);
        }
        assert!(Tier::parse("units").unwrap_err().to_string().contains("unit, contract"));
    }
}
