//! Combinations and digests.

use std::{collections::BTreeMap, time::Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::rows;
use crate::rows::{RowsDigest, grid::Grid};

#[test]
fn names_are_sorted_and_the_last_varies_fastest() {
    let rows = rows(json!({
        "template": {"instanceType": "t3.micro"},
        "params": [{"a": "written"}],
        "grid": {"b": [1, 2, 3], "a": ["x", "y"]},
    }))
    .unwrap();
    let all = (0..rows.len()).map(|index| json!(rows.resolve(index).unwrap().parameters));
    assert_eq!(
        all.collect::<Vec<_>>(),
        [
            json!({"a": "written"}),
            json!({"a": "x", "b": 1}),
            json!({"a": "x", "b": 2}),
            json!({"a": "x", "b": 3}),
            json!({"a": "y", "b": 1}),
            json!({"a": "y", "b": 2}),
            json!({"a": "y", "b": 3}),
        ]
    );
}

#[test]
fn no_rows_and_too_many_are_refused() {
    let said = |parts: Value| rows(parts).unwrap_err().to_string();
    assert!(said(json!({})).starts_with("there are no rows: "));
    let thousand = (0..1000).collect::<Vec<_>>();
    let million = json!({"a": thousand, "b": thousand});
    assert_eq!(rows(json!({"grid": million})).unwrap().len(), 1_000_000);
    let more = json!({"params": [{}], "grid": million});
    assert!(said(more).starts_with("there are 1000001 rows, and a sweep may have 1000000"));
    let endless = (0..64)
        .map(|n| (format!("n{n}"), thousand.clone()))
        .collect::<BTreeMap<_, _>>();
    assert!(said(json!({"grid": endless})).contains("split it"));
    assert!(said(json!({"grid": {"a": []}})).starts_with("grid, a: has no values"));
}

#[test]
fn a_value_of_a_grid_is_refused_where_it_stands() {
    let said = |grid: Value| {
        let rows = rows(json!({"template": {"instanceType": "t3.micro"}, "grid": grid})).unwrap();
        rows.check().unwrap_err().to_string()
    };
    assert!(said(json!({"ttl": ["1h", 2]})).starts_with("grid, ttl[1]: found the number 2"));
    assert!(said(json!({"regoin": [1]})).starts_with("grid, regoin: is not a field"));
    assert!(said(json!({"x": ["\u{0}"]})).starts_with("grid, x[0]: contains a NUL"));
    assert!(said(json!({"spot": [true], "market": ["Spot"]})).contains("sets the same as"));
    // Only one combination of four is impossible, and it is found.
    let both = json!({"spot": [false, true], "on_complete": ["terminate", "stop"], "x": [1, 2]});
    assert!(said(both).starts_with("row 6, spec: a Spot instance cannot be stopped"));
    let half = json!({"idle_action": ["Stop"], "idle_timeout": ["5m", null]});
    assert!(said(half).starts_with("row 1, idle.timeout: is said neither"));
    let none = json!({"instance_type": ["t3.small", null], "x": [1, 2]});
    assert!(said(none).starts_with("row 2, instanceType: is said neither"));
}

#[test]
fn a_million_combinations_are_checked_and_digested_in_no_time() {
    let hundred = (0..100).collect::<Vec<_>>();
    let start = Instant::now();
    let rows = rows(json!({
        "template": {"instanceType": "t3.micro"},
        "defaults": {"ttl": "1h"},
        "grid": {
            "a": hundred, "b": hundred, "instance_type": ["t3.micro", "t3.small"],
            "ttl": (1..=25).map(|hours| format!("{hours}h")).collect::<Vec<_>>(), "spot": [true, false],
        },
    }))
    .unwrap();
    assert_eq!(rows.len(), 1_000_000);
    rows.check().unwrap();
    assert_eq!(rows.types().len(), 2);
    let checked = start.elapsed();
    assert!(checked.as_secs() < 1, "{checked:?}");
    let start = Instant::now();
    assert_eq!(rows.digest(100_000).len(), 32);
    let digested = start.elapsed();
    println!("check of 1,000,000 {checked:?}, digest of 100,000 {digested:?}");
    assert!(digested.as_secs() < 5, "{digested:?}");
}

#[test]
fn as_many_rows_as_an_object_holds_are_checked_in_seconds() {
    let params =
        (0..100_000).map(|n| json!({"instance_type": "t3.micro", "ttl": "1h", "alpha": n}));
    let start = Instant::now();
    let rows = rows(json!({"params": params.collect::<Vec<_>>()})).unwrap();
    let made = start.elapsed();
    rows.check().unwrap();
    let checked = start.elapsed() - made;
    assert_eq!(rows.types().len(), 1);
    assert_eq!(rows.digest(100_000).len(), 32);
    println!(
        "made {made:?}, checked {checked:?}, with types and digest {:?}",
        start.elapsed()
    );
    assert!(checked.as_secs() < 60, "{checked:?}");
}

#[test]
fn the_digest_is_of_what_rows_say_and_not_of_how() {
    let digest = |parts: Value, n| rows(parts).unwrap().digest(n);
    let written =
        json!({"params": [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 2, "b": 2}]});
    let grid = json!({"grid": {"a": [1, 2], "b": [1, 2]}});
    let longer = json!({"grid": {"a": [1, 2, 3], "b": [1, 2]}});
    let wider = json!({"grid": {"a": [1, 2], "b": [1, 2, 3]}});
    assert_eq!(digest(written.clone(), 4), digest(grid.clone(), 4));
    assert_eq!(digest(grid.clone(), 4), digest(longer.clone(), 4));
    assert_ne!(digest(longer.clone(), 6), digest(longer, 4));
    assert_eq!(digest(wider.clone(), 2), digest(grid.clone(), 2));
    assert_ne!(digest(wider, 3), digest(grid, 3));
    let defaults = json!({"defaults": {"b": 1}, "params": [{"a": 1}, {"a": 1, "b": 2}, {"a": 2}, {"a": 2, "b": 2}]});
    assert_eq!(digest(written, 4), digest(defaults, 4));
    assert_eq!(
        digest(
            json!({"params": [{"spot": true, "instance_type": "t3.micro"}]}),
            1
        ),
        digest(
            json!({"params": [{"market": "Spot", "instanceType": "t3.micro"}]}),
            1
        )
    );
    for (one, other) in [
        (json!({"a": 1}), json!({"a": "1"})),
        (json!({"a": 1}), json!({"b": 1})),
        (json!({"a": null}), json!({})),
        (json!({"ttl": "1h"}), json!({"param:ttl": "1h"})),
        (json!({"env": {"A": "1"}}), json!({"env": {"A": "2"}})),
        (json!({"idle": null}), json!({})),
        (json!({"ttl": 1}), json!({"ttl": 2})),
        (json!({"name": "a"}), json!({"name": "b"})),
    ] {
        assert_ne!(
            digest(json!({"params": [one]}), 1),
            digest(json!({"params": [other]}), 1),
            "{one} {other}"
        );
    }
}

#[test]
fn the_digest_stays_the_same_from_version_to_version() {
    // It is stored in the status of sweeps: a new version must find the same for the same rows.
    let rows = rows(json!({
        "defaults": {"instance_type": "t3.micro", "env": {"A": "1"}},
        "params": [{"name": "one", "alpha": 0.1}],
        "grid": {"beta": [1, true, null], "spot": [true]},
    }))
    .unwrap();
    assert_eq!(rows.digest(0), "e3b0c44298fc1c149afbf4c8996fb924");
    assert_eq!(rows.digest(4), "14e60d6f2e8119aa6769f014024efd6b");
}

fn parameters() -> impl Strategy<Value = BTreeMap<String, i8>> {
    prop::collection::btree_map("[a-c]", 0..3_i8, 0..3)
}

proptest! {
    #[test]
    fn a_combination_is_that_of_nested_loops(
        lists in prop::collection::btree_map("[a-z]{1,3}", prop::collection::vec(any::<i8>(), 1..5), 1..5),
    ) {
        let mut nested = vec![Vec::new()];
        for (key, values) in &lists {
            nested = nested
                .iter()
                .flat_map(|row: &Vec<(String, i8)>| values.iter().map(|value| {
                    let mut row = row.clone();
                    row.push((key.clone(), *value));
                    row
                }))
                .collect();
        }
        let grid = Grid::new(lists.into_iter().map(|(key, values)| {
            (key, values.into_iter().map(Value::from).collect())
        }).collect());
        prop_assert_eq!(grid.len(), nested.len() as u128);
        for (number, row) in (0..).zip(&nested) {
            let made = grid.combination(number).map(|(key, value)| (key.clone(), value.clone()));
            let row = row.iter().map(|(key, value)| (key.clone(), Value::from(*value)));
            prop_assert!(made.eq(row));
            let positions = grid.positions(number).enumerate();
            prop_assert_eq!(grid.number(positions), number);
        }
    }

    #[test]
    fn the_digest_changes_if_and_only_if_a_row_does(
        before in (parameters(), prop::collection::vec(parameters(), 1..4)),
        after in (parameters(), prop::collection::vec(parameters(), 1..4)),
        n in 0..4_u32,
    ) {
        let made = [before, after].map(|(defaults, params)| {
            let template = json!({"instanceType": "t3.micro"});
            rows(json!({"template": template, "defaults": defaults, "params": params})).unwrap()
        });
        let [before, after] = made.each_ref().map(|rows| {
            (0..n.min(rows.len())).map(|index| rows.resolve(index).unwrap().parameters).collect::<Vec<_>>()
        });
        prop_assert_eq!(made[0].digest(n) == made[1].digest(n), before == after);
    }

    #[test]
    fn a_digest_that_grows_is_that_of_the_whole(steps in prop::collection::vec(0..20_u32, 0..6)) {
        let rows = rows(json!({"params": [{"x": 0}], "grid": {"a": [1, 2, 3], "b": [1, 2, 3]}})).unwrap();
        let mut digest = RowsDigest::default();
        for step in steps {
            digest.advance(&rows, step);
            prop_assert_eq!(digest.text(), rows.digest(digest.rows()));
        }
    }
}
