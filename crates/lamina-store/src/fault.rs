//! Named steps at which tests cut an operation short.
//!
//! The seam is in the production code, so that crash tests run what users run: every step whose loss
//! would matter calls [`Steps::reach`] with its name. In production nothing listens, and a call is
//! one branch. A test's listener fails the step (a full disk, an I/O error) or kills the process.

use std::fmt;
use std::sync::Arc;

use lamina_core::Result;

/// Decides what happens at a step.
pub trait Faults: Send + Sync {
    /// Called when `step` is reached. An error is returned by the step as its own.
    fn reach(&self, step: &'static str) -> Result<()>;
}

/// A closure listens by being called.
impl<F: Fn(&'static str) -> Result<()> + Send + Sync> Faults for F {
    fn reach(&self, step: &'static str) -> Result<()> {
        self(step)
    }
}

/// A handle to whoever listens at the steps. Cheap to clone.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Faults>>);

impl Steps {
    /// Nobody listens.
    pub fn none() -> Self {
        Steps(None)
    }

    /// `faults` listens.
    pub fn watched(faults: Arc<dyn Faults>) -> Self {
        Steps(Some(faults))
    }

    /// Marks that `step` was reached: everything before it has happened, nothing after it.
    ///
    /// # Errors
    /// What the listener injects.
    #[inline]
    pub fn reach(&self, step: &'static str) -> Result<()> {
        match &self.0 {
            None => Ok(()),
            Some(faults) => faults.reach(step),
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Steps(watched)" } else { "Steps" })
    }
}
