//! Tables in ctr's manner: columns as wide as their widest cell, one blank between them.

use std::borrow::Cow;
use std::fmt;

/// Rows of cells, the first being the heads of the columns.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(heads: [&str; N]) -> Self {
        Table { rows: vec![heads.map(str::to_owned).to_vec()] }
    }

    /// Adds a row. Control characters in it are made visible: names come from anybody, and a
    /// terminal obeys what is written to it.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(|cell| visible(cell).into_owned()).to_vec());
    }
}

impl fmt::Display for Table {
    /// Lines without blanks at their ends, and without a last newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 1 - cell.chars().count()));
            }
            let newline = if number == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Text with control characters escaped (`\n`, `\u{1b}`).
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["KEY", "PARENT", "KIND"]);
        table.row(["a", "", "Active"]);
        table.row(["längere", "a", "Committed"]);
        table.row(["x", "y", ""]);
        let want = "KEY     PARENT KIND\n\
                    a              Active\n\
                    längere a      Committed\n\
                    x       y";
        assert_eq!(table.to_string(), want);
        assert_eq!(Table::new(["A", "B"]).to_string(), "A B");
    }

    #[test]
    fn a_terminal_is_not_commanded() {
        let mut table = Table::new(["KEY"]);
        table.row(["\u{1b}[2Jx\ny"]);
        assert_eq!(table.to_string(), "KEY\n\\u{1b}[2Jx\\ny");
    }
}
