//! What is wrong with a row, and what to do.

use std::fmt;

/// Something in the rows of a sweep that cannot be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct RowError {
    /// Where it stands.
    pub place: Place,
    /// The key, as it was written.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// Where something stands in what a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the sweep as a whole.
    Sweep,
    /// In `template`.
    Template,
    /// In `defaults`.
    Defaults,
    /// In the file that `paramsFrom` names, outside its rows.
    File {
        /// Line, from 1, if it is known.
        line: Option<u64>,
    },
    /// In `defaults` of the file.
    FileDefaults,
    /// In `grid`, for all values of the key.
    Grid,
    /// In one value of a key of `grid`.
    GridValue {
        /// Which value of the list, from 0.
        value: usize,
    },
    /// In one row.
    Row {
        /// Its index in the sweep, from 0.
        index: u32,
        /// The name that it gives itself.
        name: Option<String>,
        /// Its line in a CSV file, from 1.
        line: Option<u64>,
    },
}

/// What is wrong. The texts continue the name of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A value of another type than the field's.
    #[error("found {found}, expected {expected}")]
    WrongType {
        /// What was found.
        found: String,
        /// What the field takes.
        expected: String,
    },
    /// A value that the field does not take.
    #[error("{0}")]
    Invalid(String),
    /// A key that is probably a field's, misspelt.
    #[error(
        "is not a field, but close to {nearest}: write {nearest}, or param:{key} if a parameter of this name is meant"
    )]
    NearMiss {
        /// The key.
        key: String,
        /// The nearest name that is known.
        nearest: String,
    },
    /// A key that means something elsewhere, but not here.
    #[error(
        "is not a field of a row: {advice}; or write param:{key} if a parameter of this name is meant"
    )]
    Misplaced {
        /// The key.
        key: String,
        /// What to write instead.
        advice: &'static str,
    },
    /// A field that Spore does not have yet.
    #[error(
        "is not available yet: {advice}; if a parameter of this name is meant, write param:{key}"
    )]
    NotYet {
        /// The key.
        key: String,
        /// What to do until then.
        advice: &'static str,
    },
    /// A key that is neither a field nor can name a parameter.
    #[error(
        "cannot name a parameter: names have up to 128 letters, digits and underscores and begin with no digit"
    )]
    BadName,
    /// Two keys that set the same.
    #[error("sets the same as {other}: keep one of the two")]
    Twice {
        /// The other key.
        other: String,
    },
    /// The row sets no such field and neither do `template` and `defaults`.
    #[error("is said neither by the row nor by defaults nor by template: add it to one of them")]
    Missing,
    /// The file cannot be read.
    #[error("the file cannot be read as {format}: {message}")]
    Syntax {
        /// JSON, YAML or CSV.
        format: &'static str,
        /// What the parser says.
        message: String,
    },
    /// More rows than a sweep may have.
    #[error(
        "there are {rows} rows, and a sweep may have {}: split it",
        super::MAX_ROWS
    )]
    TooMany {
        /// How many there are; so many or more, if it is the largest number.
        rows: u64,
    },
    /// No rows at all.
    #[error("there are no rows: write params or grid, or name a ConfigMap with rows in paramsFrom")]
    NoRows,
    /// There is no row at this index.
    #[error("there is no such row: there are {rows}, and the first has index 0")]
    NoSuchRow {
        /// How many there are.
        rows: u32,
    },
}

impl RowError {
    pub(super) fn new(place: Place, problem: Problem) -> Self {
        Self {
            place,
            key: None,
            problem: Box::new(problem),
        }
    }

    pub(super) fn at(place: Place, key: impl Into<String>, problem: Problem) -> Self {
        Self {
            place,
            key: Some(key.into()),
            problem: Box::new(problem),
        }
    }

    fn sentence(&self) -> String {
        let Self {
            place,
            key,
            problem,
        } = self;
        match (place, key) {
            (Place::Sweep, None) => problem.to_string(),
            (Place::Sweep, Some(key)) => format!("{key}: {problem}"),
            (Place::GridValue { value }, Some(key)) => format!("grid, {key}[{value}]: {problem}"),
            (place, Some(key)) => format!("{place}, {key}: {problem}"),
            (place, None) => format!("{place}: {problem}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sweep => f.write_str("sweep"),
            Self::Template => f.write_str("template"),
            Self::Defaults => f.write_str("defaults"),
            Self::File { line: None } => f.write_str("file"),
            Self::File { line: Some(line) } => write!(f, "file, line {line}"),
            Self::FileDefaults => f.write_str("defaults of the file"),
            Self::Grid => f.write_str("grid"),
            Self::GridValue { value } => write!(f, "grid, value {value}"),
            Self::Row { index, name, line } => {
                write!(f, "row {index}")?;
                if let Some(name) = name {
                    write!(f, " ({name:?})")?;
                }
                if let Some(line) = line {
                    write!(f, ", line {line} of the file")?;
                }
                Ok(())
            }
        }
    }
}

/// Everything that was found wrong, or the first of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowErrors {
    /// What is wrong, in the order of the rows.
    pub errors: Vec<RowError>,
    /// Whether the search was given up with rows still to be looked at.
    pub more: bool,
}

impl fmt::Display for RowErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        if self.more {
            f.write_str("; and there may be more")?;
        }
        Ok(())
    }
}

impl std::error::Error for RowErrors {}
