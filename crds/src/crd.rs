//! The CRDs as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, ValidationRule,
};
use kube::CustomResourceExt;

use serde_json::json;

use crate::{
    SporeArray, SporeInstance, SporeResults, SporeSchedule, SporeSweep, conditions, schedule,
};

/// Spec fields that may change while an instance lives, and how.
const CHANGEABLE: [&str; 1] = ["extendTo"];

/// Every CRD with the name of the file that holds it.
#[must_use]
pub fn all() -> Vec<(&'static str, CustomResourceDefinition)> {
    let mut instance = SporeInstance::crd();
    fix_at_launch(&mut instance);
    begin_reconciling(&mut instance);
    let (mut array, mut sweep) = (SporeArray::crd(), SporeSweep::crd());
    begin_reconciling(&mut array);
    begin_reconciling(&mut sweep);
    let mut schedule = SporeSchedule::crd();
    begin_reconciling(&mut schedule);
    limit_name(&mut schedule, schedule::LONGEST_NAME);
    vec![
        ("spore.host_sporeinstances.yaml", instance),
        ("spore.host_sporearrays.yaml", array),
        ("spore.host_sporesweeps.yaml", sweep),
        ("spore.host_sporeschedules.yaml", schedule),
        ("spore.host_sporeresults.yaml", SporeResults::crd()),
    ]
}

/// Makes a spore begin with the condition Reconciling, before any controller has seen it: an object
/// without conditions counts as finished to kstatus, and so to Flux and `kubectl`'s like.
fn begin_reconciling(crd: &mut CustomResourceDefinition) {
    for root in schemas(crd) {
        if let Some(status) = root
            .properties
            .as_mut()
            .and_then(|all| all.get_mut("status"))
        {
            status.default = Some(JSON(json!({
                "conditions": [{
                    "type": conditions::RECONCILING,
                    "status": "True",
                    "reason": "Pending",
                    "message": "no controller has looked at it yet",
                    "lastTransitionTime": conditions::NEVER.to_string(),
                }]
            })));
        }
    }
}

/// Refuses names that are too long for what is named after the object.
fn limit_name(crd: &mut CustomResourceDefinition, most: usize) {
    for root in schemas(crd) {
        let rule = ValidationRule {
            rule: format!("self.metadata.name.size() <= {most}"),
            message: Some(format!(
                "the name may have {most} characters: what is created is named after it"
            )),
            ..ValidationRule::default()
        };
        root.x_kubernetes_validations
            .get_or_insert_default()
            .push(rule);
    }
}

fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = crd.spec.versions.iter_mut();
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// Adds a rule for every spec field: once an instance is launched the field may not change.
///
/// The rules are made here rather than written beside each field because they look at the status,
/// which only a rule at the root of the object can see, and so that no field can be forgotten.
fn fix_at_launch(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        let rules = fixed_fields(root)
            .map(|field| fixed(&field))
            .collect::<Vec<_>>();
        root.x_kubernetes_validations
            .get_or_insert_default()
            .extend(rules);
    }
}

fn fixed_fields(root: &JSONSchemaProps) -> impl Iterator<Item = String> + use<> {
    let spec = root
        .properties
        .as_ref()
        .and_then(|properties| properties.get("spec"))
        .cloned();
    spec.and_then(|spec| spec.properties)
        .unwrap_or_default()
        .into_keys()
        .filter(|field| !CHANGEABLE.contains(&field.as_str()))
}

fn fixed(field: &str) -> ValidationRule {
    let advice = match field {
        "ttl" => "move the deadline with `kubectl spawn extend` or spec.extendTo",
        _ => "delete this spore and create another",
    };
    // Spelled out with `has`: the API server cannot bound the cost of comparing optionals, and refuses.
    let same = format!(
        "has(self.spec.{field}) == has(oldSelf.spec.{field}) && (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
    );
    ValidationRule {
        rule: format!("!has(oldSelf.status) || !has(oldSelf.status.launch) || ({same})"),
        message: Some(format!(
            "{field} is fixed once the instance is launched: {advice}"
        )),
        field_path: Some(format!(".spec.{field}")),
        ..ValidationRule::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_committed_crds_are_current() {
        for (name, crd) in all() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            let committed = fs::read_to_string(&path).unwrap_or_default();
            let generated = serde_saphyr::to_string(&crd).unwrap();
            assert!(
                committed == generated,
                "{} is stale: run `make crds`",
                path.display()
            );
        }
    }

    #[test]
    fn every_field_but_the_extension_is_fixed_at_launch() {
        let (_, crd) = all().remove(0);
        let root = crd.spec.versions[0]
            .schema
            .clone()
            .unwrap()
            .open_api_v3_schema
            .unwrap();
        let fields = fixed_fields(&root).collect::<Vec<_>>();
        assert!(fields.contains(&"instanceType".to_owned()), "{fields:?}");
        assert!(!fields.contains(&"extendTo".to_owned()), "{fields:?}");
        let rules = root.x_kubernetes_validations.unwrap();
        assert_eq!(rules.len(), fields.len());
    }
}
