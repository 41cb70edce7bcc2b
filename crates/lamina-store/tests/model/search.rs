//! The search for an order that explains what clients were told (Wing and Gong).

use std::collections::HashSet;

use super::spec::{Answer, Model, Op};

/// An operation in one namespace, when it was under way, and what it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) space: usize,
    pub(crate) op: Op,
    pub(crate) answer: Answer,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// Whether some order explains the history of one namespace; a state it can end in, if so.
///
/// `collections` are when others collected meanwhile. Such a collection is no single step: while it
/// is under way it may drop, one by one, what nothing keeps at that moment, or let it be.
pub(crate) fn explain(
    history: &[&Event],
    collections: &[(u64, u64)],
    start: &Model,
) -> Option<Model> {
    let all = (1_u64 << history.len()) - 1;
    let mut seen = HashSet::new();
    let mut next = vec![(0_u64, start.clone())];
    while let Some((done, model)) = next.pop() {
        if done == all {
            return Some(model);
        }
        if !seen.insert((done, model.clone())) {
            continue;
        }
        // What ended first among the rest bounds what can come now; what began last among what is
        // done bounds it from below.
        let open = || history.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
        let first_end = open().map(|(_, event)| event.ended).min().unwrap_or(u64::MAX);
        let past = history.iter().enumerate().filter(|(n, _)| done & (1 << n) != 0);
        let last_begin = past.map(|(_, event)| event.began).max().unwrap_or(0);
        for (n, event) in open().filter(|(_, event)| event.began < first_end) {
            let mut after = model.clone();
            if after.step(event.op) == event.answer {
                next.push((done | 1 << n, after));
            }
        }
        if collections.iter().any(|(began, ended)| *began < first_end && *ended > last_begin) {
            next.extend(model.collections().into_iter().map(|model| (done, model)));
        }
    }
    None
}
