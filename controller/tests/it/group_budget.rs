//! Budgets of arrays and sweeps.

use serde_json::{Value, json};
use spore_crds::conditions;

use crate::{
    group_world::{OTHER_REGION, Object, Universe},
    world::REGION,
};

/// An array of four members that live an hour at 3.60 dollars an hour.
fn with_budget(budget: &str) -> Universe {
    let spec = json!({
        "replicas": 4, "peers": "Disabled", "budget": budget,
        "template": {"instanceType": "m7i.large", "ttl": "1h", "command": ["work"]},
    });
    let object: Value = json!({"apiVersion": "spore.host/v1alpha1", "kind": "SporeArray",
        "metadata": {}, "spec": spec});
    let array = serde_json::from_value(object).expect("an array");
    let mut it = Universe::new(Object::Array(array));
    it.list(REGION);
    it.list(OTHER_REGION);
    it.copy = it.group.clone();
    for _ in 0..8 {
        if it.group_round() == Ok(false) {
            break;
        }
    }
    it
}

fn told(it: &mut Universe) -> (u32, String) {
    let status = it.status();
    let ready = conditions::get(&status.conditions, conditions::READY);
    let reason = ready.map(|ready| ready.reason.clone());
    (status.launched, reason.unwrap_or_default())
}

#[test]
fn no_more_members_are_launched_than_the_budget_could_pay_to_their_deadline() {
    let mut it = with_budget("8");
    assert_eq!(told(&mut it), (2, "BudgetReached".into()));
}

#[test]
fn a_budget_that_pays_for_none_stalls_before_anything_is_launched() {
    let mut it = with_budget("3");
    assert_eq!(told(&mut it), (0, "BudgetReached".into()));
    let status = it.status();
    assert!(conditions::is_true(&status.conditions, conditions::STALLED));
}

#[test]
fn a_budget_that_pays_for_all_holds_nobody_back() {
    let mut it = with_budget("20");
    assert_eq!(told(&mut it).0, 4);
}
