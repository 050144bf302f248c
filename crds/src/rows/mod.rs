//! The rows of a sweep: what each member is and with which parameters it runs.
//!
//! A row is laid over `defaults`, and those over `template`; a key that names a field of an instance
//! sets that field and every other key is a parameter. The combinations of a grid are counted, not
//! made: row 700,000 costs what row 0 does.

mod check;
mod digest;
mod error;
mod fields;
mod file;
mod grid;
mod layer;
mod names;
mod rules;

use std::sync::OnceLock;

use serde_json::Value;

pub use self::{
    digest::RowsDigest,
    error::{Place, Problem, RowError, RowErrors},
    file::RowFile,
};
use self::{
    digest::Sums,
    fields::SPEC,
    grid::Grid,
    layer::{KeyProblem, Keys, Layer},
};
use crate::{
    instance::SporeInstanceSpec,
    sweep::{Row, RowFormat, SporeSweepSpec},
};

/// The most rows that a sweep may have.
pub const MAX_ROWS: u32 = 1_000_000;

/// The rows of a sweep: first `params`, then those of `paramsFrom`, then the combinations of `grid`.
#[derive(Clone, Debug)]
pub struct Rows {
    /// What `template` and `defaults` say together.
    base: Layer,
    /// What `defaults` alone say.
    defaults: Layer,
    explicit: Vec<Explicit>,
    grid: Grid,
    keys: Keys,
    len: u32,
    sums: OnceLock<Sums>,
}

/// A row that somebody wrote.
#[derive(Clone, Debug)]
struct Explicit {
    row: Row,
    line: Option<u64>,
}

/// What one member is.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedRow {
    /// The name that the row gives itself.
    pub name: Option<String>,
    /// The instance. `member` is not set.
    pub spec: SporeInstanceSpec,
    /// The parameters.
    pub parameters: Row,
}

impl Rows {
    /// The rows of a sweep, with the text that `paramsFrom` names and its format.
    ///
    /// # Errors
    /// The text cannot be read, `template` or `defaults` cannot be taken as they are, or there are no
    /// rows or too many. The rows themselves are looked at by [`Rows::check`].
    pub fn new(spec: &SporeSweepSpec, from: Option<(&str, RowFormat)>) -> Result<Self, RowError> {
        let file = match from {
            Some((text, format)) => RowFile::read(text, format)?,
            None => RowFile::default(),
        };
        let RowFile {
            defaults,
            params,
            grid: mut lists,
            lines,
        } = file;
        for (key, values) in &spec.grid {
            if lists.insert(key.clone(), values.clone()).is_some() {
                let problem = Problem::Invalid(
                    "is both in the grid of the sweep and in that of the file: keep one of the two"
                        .to_owned(),
                );
                return Err(RowError::at(Place::Grid, key, problem));
            }
        }
        if let Some((key, _)) = lists.iter().find(|(_, values)| values.is_empty()) {
            let problem = Problem::Invalid("has no values: add one, or leave it out".to_owned());
            return Err(RowError::at(Place::Grid, key, problem));
        }
        let grid = Grid::new(lists);
        let count = (spec.params.len() as u128)
            .saturating_add(params.len() as u128)
            .saturating_add(grid.len());
        let len = match u32::try_from(count) {
            Ok(0) => return Err(RowError::new(Place::Sweep, Problem::NoRows)),
            Ok(len) if len <= MAX_ROWS => len,
            _ => {
                let problem = Problem::TooMany {
                    rows: u64::try_from(count).unwrap_or(u64::MAX),
                };
                return Err(RowError::new(Place::Sweep, problem));
            }
        };
        let written = spec.params.iter().map(|row| Explicit {
            row: row.clone(),
            line: None,
        });
        let read = params.into_iter().enumerate().map(|(at, row)| Explicit {
            row,
            line: lines.get(at).copied(),
        });
        let explicit = written.chain(read).collect::<Vec<_>>();

        let mut keys = Keys::default();
        let in_rows = explicit.iter().flat_map(|explicit| explicit.row.keys());
        let in_grid = grid.dimensions().iter().map(|dimension| &dimension.key);
        in_rows.chain(in_grid).for_each(|key| keys.learn(key));

        let mut own = Layer::new();
        for (place, row) in [
            (Place::FileDefaults, &defaults),
            (Place::Defaults, &spec.defaults),
        ] {
            let layer = first_error(place, |problems| layer::read(row, &keys, problems))?;
            // Null has to reach the template below.
            layer::lay_over(&mut own, &layer);
            own.extend(layer.into_iter().filter(|(_, value)| value.is_null()));
        }
        let empty = Row::new();
        let template = spec.template.as_ref().unwrap_or(&empty);
        let mut base = first_error(Place::Template, |problems| {
            layer::read_template(template, problems)
        })?;
        layer::lay_over(&mut base, &own);
        Ok(Self {
            base,
            defaults: own,
            explicit,
            grid,
            keys,
            len,
            sums: OnceLock::new(),
        })
    }

    /// How many rows there are, from 1 to [`MAX_ROWS`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a row")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// What the member of this row is.
    ///
    /// # Errors
    /// There is no such row, or the first thing that is wrong with it.
    pub fn resolve(&self, index: u32) -> Result<ResolvedRow, RowError> {
        if index >= self.len {
            let problem = Problem::NoSuchRow { rows: self.len };
            return Err(RowError::new(self.place(index), problem));
        }
        let mut problems = Vec::new();
        let resolved = self.resolve_into(index, &mut problems);
        match (problems.into_iter().next(), resolved) {
            (None, Some(row)) => Ok(row),
            (problem, _) => {
                let (key, problem) = problem.unwrap_or_else(unexplained);
                Err(RowError::at(self.place(index), key, problem))
            }
        }
    }

    /// Digest of the first `n` rows: as long as it stays the same, so do they. It covers what
    /// `defaults` and the rows say and not `template`, which never changes.
    ///
    /// Whoever needs it for one `n` after another keeps a [`RowsDigest`].
    #[must_use]
    pub fn digest(&self, n: u32) -> String {
        let mut digest = RowsDigest::default();
        digest.advance(self, n);
        digest.text()
    }

    /// Everything that is wrong with a row goes to `problems`; without a problem there is a result.
    fn resolve_into(&self, index: u32, problems: &mut Vec<KeyProblem>) -> Option<ResolvedRow> {
        let own = self.own(index, problems);
        if !problems.is_empty() {
            return None;
        }
        let mut layer = self.base.clone();
        layer::lay_over(&mut layer, &own);
        let (name, spec, parameters) = layer::split(layer);
        let spec = Value::Object(spec);
        if let Err(mut fault) = SPEC.check(&spec, true) {
            let key = match fault.path.is_empty() {
                true => "spec".to_owned(),
                false => std::mem::take(&mut fault.path).join("."),
            };
            problems.push((key, fault.problem));
            return None;
        }
        match serde_json::from_value(spec) {
            Ok(spec) => Some(ResolvedRow {
                name,
                spec,
                parameters,
            }),
            Err(error) => {
                problems.push(("spec".to_owned(), Problem::Invalid(error.to_string())));
                None
            }
        }
    }

    /// What the row itself says.
    fn own(&self, index: u32, problems: &mut Vec<KeyProblem>) -> Layer {
        match self.explicit.get(index as usize) {
            Some(explicit) => layer::read(&explicit.row, &self.keys, problems),
            None => {
                let number = index.saturating_sub(self.first_of_grid());
                layer::read(self.grid.combination(number), &self.keys, problems)
            }
        }
    }

    fn first_of_grid(&self) -> u32 {
        u32::try_from(self.explicit.len()).unwrap_or(u32::MAX)
    }

    fn place(&self, index: u32) -> Place {
        let explicit = self.explicit.get(index as usize);
        let name = explicit.and_then(|explicit| explicit.row.get("name")?.as_str());
        Place::Row {
            index,
            name: name.map(str::to_owned),
            line: explicit.and_then(|explicit| explicit.line),
        }
    }

    fn sums(&self) -> &Sums {
        self.sums.get_or_init(|| Sums::new(self))
    }
}

fn first_error(
    place: Place,
    read: impl FnOnce(&mut Vec<KeyProblem>) -> Layer,
) -> Result<Layer, RowError> {
    let mut problems = Vec::new();
    let layer = read(&mut problems);
    match problems.into_iter().next() {
        None => Ok(layer),
        Some((key, problem)) => Err(RowError::at(place, key, problem)),
    }
}

fn unexplained() -> KeyProblem {
    let text = "cannot be taken as it is";
    ("spec".to_owned(), Problem::Invalid(text.to_owned()))
}

#[cfg(test)]
mod tests;
