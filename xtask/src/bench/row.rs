//! Figures side by side.

use serde_json::{Value, json};

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Better {
    Less,
    More,
}

/// One line of the table: what was measured in pairs.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    better: Option<Better>,
    ours: Vec<f64>,
    peer: Vec<f64>,
    /// Seconds of processor time.
    cpu: [Vec<f64>; 2],
    /// The most memory, in MB.
    peak: [Vec<f64>; 2],
    pub(crate) limits: Vec<(String, f64)>,
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, better: Better) -> Row {
        Row { what: what.into(), unit, better: Some(better), ..Row::default() }
    }

    pub(crate) fn add(&mut self, ours: bool, figure: f64) {
        if ours { &mut self.ours } else { &mut self.peer }.push(figure);
    }

    pub(crate) fn cost(&mut self, ours: bool, cpu: Option<f64>, peak: Option<f64>) {
        let side = usize::from(!ours);
        self.cpu[side].extend(cpu);
        self.peak[side].extend(peak);
    }

    pub(crate) fn ours(&self) -> Option<f64> {
        median(&self.ours)
    }

    /// How many times better we are: the median of the pairs.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let pairs = self.ours.iter().zip(&self.peer);
        let ratios = pairs.map(|(ours, peer)| match self.better {
            Some(Better::More) => ours / peer,
            _ => peer / ours,
        });
        median(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
    }
}

pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    let lower = if sorted.len().is_multiple_of(2) { *sorted.get(half - 1)? } else { upper };
    Some((lower + upper) / 2.0)
}

pub(crate) struct Table {
    ours: String,
    peer: String,
    rows: Vec<(String, Row)>,
}

impl Table {
    pub(crate) fn new(ours: &str, peer: &str) -> Table {
        Table { ours: ours.to_owned(), peer: peer.to_owned(), rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, scenario: &str, row: Row) {
        println!("{}", line(scenario, &row));
        self.rows.push((scenario.to_owned(), row));
    }

    pub(crate) fn failed(&mut self, scenario: &str, why: &str) {
        let note = format!("failed: {}", why.lines().next().unwrap_or_default());
        self.rows.push((scenario.to_owned(), Row { note, ..Row::default() }));
    }

    pub(crate) fn print(&self) {
        println!("ours: {}\npeer: {}", self.ours, self.peer);
        println!(
            "medians; the ratio says how many times better ours is, as the median of the pairs\n"
        );
        println!(
            "| scenario | ours | peer | ratio | CPU s ours/peer | peak MB ours/peer | limits |\n\
             |---|---|---|---|---|---|---|"
        );
        for (scenario, row) in &self.rows {
            println!("{}", line(scenario, row));
        }
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(scenario, row)| {
                let limits: serde_json::Map<String, Value> =
                    row.limits.iter().map(|(name, it)| (name.clone(), json!(it))).collect();
                json!({
                    "scenario": scenario, "what": row.what, "unit": row.unit,
                    "ours": row.ours, "peer": row.peer, "ratio": row.ratio(),
                    "cpu_seconds": {"ours": row.cpu[0], "peer": row.cpu[1]},
                    "peak_mb": {"ours": row.peak[0], "peer": row.peak[1]},
                    "limits": limits, "note": row.note,
                })
            })
            .collect();
        json!({"ours": self.ours, "peer": self.peer, "rows": rows})
    }
}

fn line(scenario: &str, row: &Row) -> String {
    let figure = |figures: &[f64]| match median(figures) {
        Some(figure) => format!("{} {}", short(figure), row.unit),
        None => "-".to_owned(),
    };
    let pair = |[ours, peer]: &[Vec<f64>; 2]| {
        let show = |figures: &[f64]| median(figures).map_or("-".to_owned(), short);
        format!("{}/{}", show(ours), show(peer))
    };
    let limits = row.limits.iter().map(|(name, limit)| format!("{name} {}", short(*limit)));
    let mut notes: Vec<String> = limits.collect();
    if !row.note.is_empty() {
        notes.push(row.note.clone());
    }
    let ratio = row.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}x"));
    let name = format!("{scenario} {}", row.what);
    format!(
        "| {} | {} | {} | {ratio} | {} | {} | {} |",
        name.trim(),
        figure(&row.ours),
        figure(&row.peer),
        pair(&row.cpu),
        pair(&row.peak),
        notes.join(", ")
    )
}

/// With about three digits that mean something.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.1 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_pairs_and_not_a_quotient_of_medians() {
        let mut row = Row::new("", "s", Better::Less);
        for (ours, peer) in [(1.0, 2.0), (2.0, 10.0), (4.0, 12.0)] {
            row.add(true, ours);
            row.add(false, peer);
        }
        assert_eq!(row.ratio(), Some(3.0));
        row.better = Some(Better::More);
        assert_eq!(row.ratio(), Some(1.0 / 3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert!(line("a", &row).starts_with("| a | 2.00 s | 10.0 s | 0.33x | -/- |"));
    }
}
