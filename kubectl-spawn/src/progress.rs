//! Progress on standard error: rows that are redrawn on a terminal, one plain line per change
//! elsewhere.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::print;

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    /// Its turn has not come.
    Ahead,
    /// Under way.
    Doing,
    /// Done.
    Done,
    /// It cannot be done.
    Failed,
}

/// One thing that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it is called.
    pub(crate) name: String,
    /// How it stands.
    pub(crate) mark: Mark,
    /// What is to be said of it.
    pub(crate) detail: String,
}

/// Shows rows.
pub(crate) struct Progress {
    title: String,
    screen: Option<MultiProgress>,
    bars: BTreeMap<String, ProgressBar>,
    shown: BTreeMap<String, Row>,
}

impl Progress {
    /// Progress of what `title` names, for whoever watches.
    pub(crate) fn new(title: &str) -> Self {
        let screen =
            print::live().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self {
            title: title.to_owned(),
            screen,
            bars: BTreeMap::new(),
            shown: BTreeMap::new(),
        }
    }

    /// Shows the rows as they are now.
    pub(crate) fn show(&mut self, rows: &[Row]) {
        for row in rows {
            if self.shown.get(&row.name) == Some(row) {
                continue;
            }
            if let Some(screen) = &self.screen {
                let bar = self.bars.entry(row.name.clone());
                draw(bar.or_insert_with(|| screen.add(bar_of(row))), row);
            } else if let Some(line) = plain(&self.title, row) {
                print::note(&line);
            }
            self.shown.insert(row.name.clone(), row.clone());
        }
    }

    /// Says something that is no row.
    pub(crate) fn say(&self, text: &str) {
        match &self.screen {
            // Fails only if standard error is gone; then there is nobody to tell.
            Some(screen) => {
                let _ = screen.println(text);
            }
            None => print::note(text),
        }
    }

    /// Leaves the rows as they are.
    pub(crate) fn finish(self) {
        for bar in self.bars.values() {
            bar.abandon();
        }
    }
}

/// A bar that has its text before it is first drawn.
fn bar_of(row: &Row) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    draw(&bar, row);
    bar
}

fn draw(bar: &ProgressBar, row: &Row) {
    let template = match row.mark {
        Mark::Ahead => "  {msg:.dim}",
        Mark::Doing => "{spinner:.cyan} {wide_msg}",
        Mark::Done => "{prefix:.green} {msg}",
        Mark::Failed => "{prefix:.red} {msg}",
    };
    let style = ProgressStyle::with_template(template)
        .expect("the templates above are well-formed")
        .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", "⠏"]);
    bar.set_prefix(if row.mark == Mark::Failed {
        "✗"
    } else {
        "✓"
    });
    bar.set_message(text(row));
    bar.set_style(style);
    if row.mark == Mark::Doing {
        bar.enable_steady_tick(Duration::from_millis(120));
    } else {
        bar.disable_steady_tick();
        bar.tick();
    }
}

/// What a row says where nothing can be redrawn. What is still ahead is not worth a line.
fn plain(title: &str, row: &Row) -> Option<String> {
    match row.mark {
        Mark::Ahead => None,
        Mark::Doing if row.detail.is_empty() => None,
        Mark::Doing => Some(format!("{title}: {}: {}", row.name, row.detail)),
        Mark::Done => Some(format!("{title}: {}: done{}", row.name, tail(&row.detail))),
        Mark::Failed => Some(format!(
            "{title}: {}: failed{}",
            row.name,
            tail(&row.detail)
        )),
    }
}

fn text(row: &Row) -> String {
    format!("{}{}", row.name, tail(&row.detail))
}

fn tail(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_say_what_happened_and_nothing_of_what_is_ahead() {
        let line = |mark, detail: &str| {
            plain(
                "train",
                &Row {
                    name: "Launched".into(),
                    mark,
                    detail: detail.into(),
                },
            )
        };
        assert_eq!(line(Mark::Ahead, ""), None);
        assert_eq!(line(Mark::Doing, ""), None);
        assert_eq!(
            line(Mark::Doing, "asking EC2").as_deref(),
            Some("train: Launched: asking EC2")
        );
        assert_eq!(
            line(Mark::Done, "i-0abc").as_deref(),
            Some("train: Launched: done: i-0abc")
        );
        assert_eq!(
            line(Mark::Failed, "").as_deref(),
            Some("train: Launched: failed")
        );
    }
}
