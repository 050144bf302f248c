//! Tables as kubectl prints them: columns as wide as they must be, three spaces between.

const GAP: usize = 3;

/// A table of text.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            rows: vec![columns.iter().map(|column| (*column).to_owned()).collect()],
        }
    }

    /// Adds a row. What is not known is shown as `-`.
    pub(crate) fn row(&mut self, cells: Vec<Option<String>>) {
        let shown = |cell: Option<String>| {
            cell.filter(|text| !text.is_empty())
                .unwrap_or_else(|| "-".into())
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// Whether there is nothing but the columns' names.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    /// The table as lines, each beginning with `indent`.
    pub(crate) fn render(&self, indent: &str) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                let padding = width + GAP - cell.chars().count();
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell: &String| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "STATE", "AGE"]);
        table.row(vec![
            Some("a-long-name".into()),
            Some("Running".into()),
            Some("5m".into()),
        ]);
        table.row(vec![Some("b".into()), None, Some(String::new())]);
        insta::assert_snapshot!(table.render(""), @"
        NAME          STATE     AGE
        a-long-name   Running   5m
        b             -         -
        ");
    }
}
