//! Exact search.
mod bits;
mod choice;
mod dive;
mod failures;
mod key;
mod restart;
mod sections;
mod state;

/// Temporary.
pub fn decide(problem: &super::Problem, capacity: u64, nodes: u64) -> (String, u64, Option<Vec<u64>>) {
    let Some(sections) = sections::Sections::new(problem) else { return ("large".into(), 0, None) };
    let mut r = restart::Restarts::new(&sections, capacity, 1 << 16);
    let (o, p) = r.search(nodes);
    (format!("{o:?}"), r.nodes, p)
}
