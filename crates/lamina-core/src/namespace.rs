//! Namespaces: the partitions that clients live in, and the scope a store handle is opened with.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::labels::Labels;
use crate::{Error, Result};

/// The most characters an identifier may have (`containerd/pkg/identifiers`).
pub const MAX_IDENTIFIER: usize = 76;

/// Checks an identifier (namespace, container, lease, sandbox, …): at most 76 characters, groups of
/// `[A-Za-z0-9]` joined by single `.`, `_` or `-`.
///
/// # Errors
/// InvalidArgument that names the identifier and the rule it breaks.
pub fn check_identifier(text: &str) -> Result<()> {
    let bad = |why: String| Err(Error::invalid_argument(format!("identifier {text:?} {why}")));
    if text.is_empty() {
        return bad("must not be empty".into());
    }
    if text.len() > MAX_IDENTIFIER {
        return Err(Error::invalid_argument(format!(
            "identifier of {} characters is longer than {MAX_IDENTIFIER}",
            text.len()
        )));
    }
    let groups = text.split(['.', '_', '-']);
    for group in groups {
        if group.is_empty() || !group.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return bad("must be groups of A-Z a-z 0-9 joined by single '.', '_' or '-'".into());
        }
    }
    Ok(())
}

/// The name of a namespace, checked. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// InvalidArgument as of [`check_identifier`].
    pub fn new(name: &str) -> Result<Self> {
        check_identifier(name).map_err(|e| e.context(format!("invalid namespace {name:?}")))?;
        Ok(Namespace(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Whose view a store handle shows, and whom it makes things for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What is seen and made belongs to this namespace.
    pub namespace: Namespace,
    /// What is made is also added to this lease, which must exist.
    pub lease: Option<Arc<str>>,
}

impl Scope {
    /// A scope with no lease.
    pub fn new(namespace: Namespace) -> Self {
        Scope { namespace, lease: None }
    }

    /// The same namespace, with everything that is made held by `lease`.
    #[must_use]
    pub fn with_lease(mut self, lease: &str) -> Self {
        self.lease = Some(lease.into());
        self
    }
}

/// The namespaces of a host. A namespace also appears by itself with the first thing made in it.
#[async_trait]
pub trait NamespaceStore: Send + Sync + fmt::Debug {
    /// All namespaces with their labels, by name.
    async fn list(&self) -> Result<Vec<(Namespace, Labels)>>;

    /// The labels of one; none for a namespace that does not exist, which is no error.
    async fn labels(&self, name: &Namespace) -> Result<Labels>;

    /// Makes a namespace. AlreadyExists when it is there.
    async fn create(&self, name: &Namespace, labels: Labels) -> Result<()>;

    /// Changes labels: those of `paths` (`labels`, `labels.<key>`), or all when `paths` is empty. An
    /// empty value deletes. Makes the namespace when it is not there. Returns the labels after it.
    async fn update(&self, name: &Namespace, labels: Labels, paths: &[String]) -> Result<Labels>;

    /// Deletes an empty namespace. NotFound when absent, FailedPrecondition while images, blobs,
    /// containers or snapshots remain in it.
    async fn delete(&self, name: &Namespace) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for good in ["default", "k8s.io", "plugins.moby", "a-b_c.d", "A1", &"x".repeat(76)] {
            check_identifier(good).unwrap();
        }
        for bad in ["", ".", "a..b", "-a", "a-", "a/b", "ä", "a b", "a\0b", &"x".repeat(77)] {
            assert!(check_identifier(bad).is_err(), "{bad:?}");
        }
    }
}
