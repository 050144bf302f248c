//! All rows at once: whether each can be launched, and what they ask for.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::{
    Rows,
    error::{Place, RowError, RowErrors},
    grid::Dimension,
    layer::{self, Layer, Target},
    names::Meaning,
    rules::RELATED,
};

/// The fields that say which instance type is needed in which region.
const WHERE_AND_WHAT: [&str; 2] = ["region", "instanceType"];

/// How many errors are collected.
const ENOUGH: usize = 10;

impl Rows {
    /// Whether every row can be launched.
    ///
    /// Rows that somebody wrote are looked at one by one. Of a grid every value is looked at, and
    /// every combination of values between which rules hold; its other combinations can bring
    /// nothing new.
    ///
    /// # Errors
    /// What is wrong, up to ten errors.
    pub fn check(&self) -> Result<(), RowErrors> {
        let mut errors = Vec::new();
        for index in 0..self.first_of_grid() {
            if errors.len() >= ENOUGH {
                break;
            }
            self.check_row(index, &mut errors);
        }
        if errors.len() < ENOUGH {
            self.check_grid(&mut errors);
        }
        let more = errors.len() >= ENOUGH;
        errors.truncate(ENOUGH);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(RowErrors { errors, more })
        }
    }

    /// The region and instance type of every row, each pair once. No region: the controller's
    /// default. Rows that cannot be launched are left out.
    #[must_use]
    pub fn types(&self) -> BTreeSet<(Option<String>, String)> {
        let (mut types, mut seen) = (BTreeSet::new(), HashSet::new());
        let mut add = |own: &Layer| {
            let value = |field| {
                let target = Target::Field(field);
                let value = own.get(&target).or_else(|| self.base.get(&target));
                value.and_then(Value::as_str).map(str::to_owned)
            };
            if let Some(instance_type) = value("instanceType") {
                types.insert((value("region"), instance_type));
            }
        };
        for explicit in &self.explicit {
            let chosen = explicit
                .row
                .iter()
                .filter(|(key, _)| self.sets_field(key, |field| WHERE_AND_WHAT.contains(&field)));
            let chosen = chosen.collect::<Vec<_>>();
            // Most rows say the same of them, and it is not read again.
            if seen.insert(chosen.clone()) {
                add(&layer::read(chosen, &self.keys, &mut Vec::new()));
            }
        }
        if self.grid.len() > 0 {
            let chosen = |layer: &Layer| {
                let field = |field| layer.get(&Target::Field(field)).map(Value::to_string);
                format!("{:?}", (field("region"), field("instanceType")))
            };
            for number in self.differing(&WHERE_AND_WHAT, chosen) {
                add(&self.own(self.first_of_grid() + number, &mut Vec::new()));
            }
        }
        types
    }

    fn check_row(&self, index: u32, errors: &mut Vec<RowError>) {
        let mut problems = Vec::new();
        self.resolve_into(index, &mut problems);
        let place = self.place(index);
        errors.extend(
            problems
                .into_iter()
                .map(|(key, problem)| RowError::at(place.clone(), key, problem)),
        );
    }

    fn check_grid(&self, errors: &mut Vec<RowError>) {
        if self.grid.len() == 0 {
            return;
        }
        let before = errors.len();
        for dimension in self.grid.dimensions() {
            self.check_values(dimension, errors);
            if errors.len() >= ENOUGH {
                return;
            }
        }
        if errors.len() > before {
            return;
        }
        // Each value once in a whole row, then what holds between fields.
        let mut numbers = BTreeSet::from([0]);
        for (at, dimension) in self.grid.dimensions().iter().enumerate() {
            if self.sets_field(&dimension.key, |_| true) {
                let values = 0..dimension.values.len();
                numbers.extend(values.map(|value| self.grid.number([(at, value)])));
            }
        }
        numbers.extend(self.differing(&RELATED, related));
        for number in numbers {
            self.check_row(self.first_of_grid() + number, errors);
            if errors.len() >= ENOUGH {
                return;
            }
        }
    }

    /// Each value of the name on its own.
    fn check_values(&self, dimension: &Dimension, errors: &mut Vec<RowError>) {
        let key = &dimension.key;
        if let Err(problem) = self.keys.meaning(key).as_ref() {
            errors.push(RowError::at(Place::Grid, key, problem.clone()));
            return;
        }
        for (value, item) in dimension.values.iter().enumerate() {
            let mut problems = Vec::new();
            layer::read([(key, item)], &self.keys, &mut problems);
            let place = Place::GridValue { value };
            errors.extend(
                problems
                    .into_iter()
                    .map(|(key, problem)| RowError::at(place.clone(), key, problem)),
            );
            if errors.len() >= ENOUGH {
                return;
            }
        }
    }

    /// Numbers of combinations in which everything occurs that `like` tells apart in the fields, each
    /// once. Names that set none of the fields stay at their first value.
    fn differing(&self, fields: &[&str], like: impl Fn(&Layer) -> String) -> Vec<u32> {
        let mut choices = vec![Vec::new()];
        for (at, dimension) in self.grid.dimensions().iter().enumerate() {
            if !self.sets_field(&dimension.key, |field| fields.contains(&field)) {
                continue;
            }
            let mut seen = HashSet::new();
            let values = dimension.values.iter().enumerate().filter(|(_, value)| {
                let row = [(&dimension.key, *value)];
                seen.insert(like(&layer::read(row, &self.keys, &mut Vec::new())))
            });
            let values = values.map(|(position, _)| position).collect::<Vec<_>>();
            choices = choices
                .iter()
                .flat_map(|chosen| {
                    values.iter().map(move |position| {
                        let mut chosen = chosen.clone();
                        chosen.push((at, *position));
                        chosen
                    })
                })
                .collect();
        }
        choices
            .into_iter()
            .map(|chosen| self.grid.number(chosen))
            .collect()
    }

    fn sets_field(&self, key: &str, which: impl Fn(&str) -> bool) -> bool {
        match self.keys.meaning(key).as_ref() {
            Ok(Meaning::Field(field) | Meaning::Inner(field, _)) => which(field),
            Ok(Meaning::Spot) => which("market"),
            Ok(Meaning::Name) => which("name"),
            Ok(Meaning::Parameter(_)) | Err(_) => false,
        }
    }
}

/// What of a value the rules between fields can tell apart: how long a time is, they cannot.
fn related(layer: &Layer) -> String {
    let parts = layer.iter().map(|(target, value)| match target {
        Target::Inner(_, inner) if inner == "timeout" || inner == "delay" => {
            format!("{target:?}{}", value.is_null())
        }
        Target::Name | Target::Field(_) | Target::Inner(..) | Target::Parameter(_) => {
            format!("{target:?}{value}")
        }
    });
    parts.collect::<Vec<_>>().join(",")
}
