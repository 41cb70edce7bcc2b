//! The mark: which things are reachable. Pure and in memory.

use std::collections::{HashMap, HashSet};

use super::node::Node;

/// How a thing is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// By a flat lease: only the parents of snapshots are followed.
    Flat,
    /// By anything else: everything is followed.
    Full,
}

/// The things of one namespace, as they refer to each other.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// What is kept for its own sake.
    pub(crate) roots: Vec<(Node, Reach)>,
    /// What a thing keeps.
    pub(crate) edges: HashMap<Node, Edges>,
}

/// What one thing keeps.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    /// Its parent, followed also from a flat lease.
    pub(crate) parent: Option<Node>,
    /// Everything else.
    pub(crate) others: Vec<Node>,
}

/// What was reached, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marked {
    full: HashSet<Node>,
    flat: HashSet<Node>,
}

impl Graph {
    /// Says that `from` keeps `to`.
    pub(crate) fn keep(&mut self, from: Node, to: Node) {
        self.edges.entry(from).or_default().others.push(to);
    }

    /// Everything reachable from the roots.
    pub(crate) fn mark(&self) -> Marked {
        let mut marked = Marked::default();
        let mut next: Vec<(Node, Reach)> = self.roots.clone();
        while let Some((node, reach)) = next.pop() {
            if !marked.add(&node, reach) {
                continue;
            }
            let Some(edges) = self.edges.get(&node) else { continue };
            next.extend(edges.parent.iter().map(|parent| (parent.clone(), reach)));
            if reach == Reach::Full {
                next.extend(edges.others.iter().map(|other| (other.clone(), Reach::Full)));
            }
        }
        marked
    }
}

impl Marked {
    /// Whether the thing is to be kept.
    pub(crate) fn contains(&self, node: &Node) -> bool {
        self.full.contains(node) || self.flat.contains(node)
    }

    /// Notes that a thing was reached; false when that says nothing new.
    pub(crate) fn add(&mut self, node: &Node, reach: Reach) -> bool {
        if self.full.contains(node) {
            return false;
        }
        match reach {
            Reach::Full => self.full.insert(node.clone()),
            Reach::Flat => self.flat.insert(node.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is reachable, said as plainly as it can be: grow the set until nothing changes.
    fn naive(graph: &Graph) -> HashSet<Node> {
        let mut reached: HashSet<(Node, bool)> =
            graph.roots.iter().map(|(node, reach)| (node.clone(), *reach == Reach::Full)).collect();
        loop {
            let mut more = reached.clone();
            for (node, full) in &reached {
                if let Some(edges) = graph.edges.get(node) {
                    more.extend(edges.parent.iter().map(|p| (p.clone(), *full)));
                    if *full {
                        more.extend(edges.others.iter().map(|o| (o.clone(), true)));
                    }
                }
            }
            if more == reached {
                return reached.into_iter().map(|(node, _)| node).collect();
            }
            reached = more;
        }
    }

    fn node(n: u8) -> Node {
        if n.is_multiple_of(2) {
            Node::content(n.to_string())
        } else {
            Node::snapshot("s", n.to_string())
        }
    }

    proptest! {
        #[test]
        fn mark_is_reachability(
            roots in prop::collection::vec((0_u8..24, any::<bool>()), 0..5),
            parents in prop::collection::vec((0_u8..24, 0_u8..24), 0..16),
            others in prop::collection::vec((0_u8..24, 0_u8..24), 0..40),
        ) {
            let mut graph = Graph::default();
            for (n, full) in roots {
                graph.roots.push((node(n), if full { Reach::Full } else { Reach::Flat }));
            }
            for (from, to) in parents {
                graph.edges.entry(node(from)).or_default().parent = Some(node(to));
            }
            for (from, to) in others {
                graph.keep(node(from), node(to));
            }
            let (marked, want) = (graph.mark(), naive(&graph));
            for n in 0..24 {
                prop_assert_eq!(marked.contains(&node(n)), want.contains(&node(n)), "{}", n);
            }
        }
    }
}
