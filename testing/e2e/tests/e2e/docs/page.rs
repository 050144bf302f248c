//! Pages of documentation, and what is in them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use spore_world::layout;

/// A page of documentation.
pub(super) struct Page {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Page {
    /// Reads one, by its path in the repository.
    pub(super) fn read(path: &str) -> Self {
        let path = layout::root().join(path);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Self { path, text }
    }

    /// Its path in the repository.
    pub(super) fn name(&self) -> String {
        let path = self.path.strip_prefix(layout::root()).unwrap();
        path.display().to_string()
    }

    /// The code blocks in a language.
    pub(super) fn blocks(&self, language: &str) -> Vec<String> {
        let parts = self.text.split("\n```").collect::<Vec<_>>();
        // What is inside and what is outside take turns.
        let inside = parts.iter().skip(1).step_by(2);
        inside
            .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
            .map(|code| format!("{code}\n"))
            .collect()
    }

    /// The text without code blocks.
    pub(super) fn prose(&self) -> String {
        self.text.split("\n```").step_by(2).collect()
    }

    /// What stands between backquotes, and the commands of console blocks, each on one line.
    pub(super) fn commands(&self) -> Vec<String> {
        let prose = self.prose();
        let spans = prose.split('`').skip(1).step_by(2);
        let mut all = spans
            .map(|span| span.replace('\n', " "))
            .collect::<Vec<_>>();
        for block in self.blocks("console") {
            let joined = block.replace("\\\n", " ");
            let commands = joined.lines().filter_map(|line| line.strip_prefix("$ "));
            all.extend(commands.map(str::to_owned));
        }
        all
    }

    /// The first cells of the table below a heading, taken apart where several share a row.
    pub(super) fn first_column(&self, heading: &str) -> BTreeSet<String> {
        let (_, below) = self
            .text
            .split_once(&format!("\n{heading}\n"))
            .expect(heading);
        let table = below.lines().skip_while(|line| !line.starts_with('|'));
        let rows = table.take_while(|line| line.starts_with('|')).skip(2);
        let cells = rows.map(|row| row.split('|').nth(1).unwrap());
        cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect()
    }
}

/// All pages.
pub(super) fn pages() -> Vec<Page> {
    let docs = fs::read_dir(layout::root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut pages = docs
        .map(|path| Page::read(path.strip_prefix(layout::root()).unwrap().to_str().unwrap()))
        .collect::<Vec<_>>();
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "charts/spore/README.md",
    ];
    pages.extend(others.map(Page::read));
    pages
}
