//! Events: what the store did and what clients publish, on its way to those who subscribe.

mod hub;
#[cfg(test)]
mod tests;

pub(crate) use hub::{Bounds, Dispatcher, Hub};
