//! What the documentation says is so.

mod commands;
mod page;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};
use spore_core::lifecycle::EndReason;
use spore_crds::conditions::{self, LAUNCHED};
use spore_e2e::{Health, PATIENCE, create, until_true, without_machines};
use spore_world::{eventually, layout};

use self::page::{Page, pages};
use crate::plugin::without_controller;

// ---- manifests ----

#[tokio::test(flavor = "multi_thread")]
async fn every_manifest_in_examples_and_docs_is_one_that_the_api_server_takes() {
    let world = without_controller("docs-manifests").await;
    let mut manifests = Vec::new();
    for entry in fs::read_dir(layout::root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        manifests.push((
            path.display().to_string(),
            fs::read_to_string(&path).unwrap(),
        ));
    }
    for page in pages() {
        for block in page.blocks("yaml") {
            serde_saphyr::from_str::<Value>(&block)
                .unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.name()));
            if block.starts_with("apiVersion: spore.host/") {
                manifests.push((page.name(), block));
            }
        }
    }
    assert!(manifests.len() >= 5, "only {}", manifests.len());
    let check = ["apply", "--dry-run=server", "-f", "-"];
    for (place, manifest) in manifests {
        let output = world.kubectl_with(&check, &manifest).await.unwrap();
        assert_eq!(output.stderr, "", "{place}:\n{manifest}");
        assert!(
            output.stdout.contains("created (server dry run)"),
            "{place}: {}",
            output.stdout
        );
    }
}

#[test]
fn every_field_of_spec_and_status_is_described_and_no_other() {
    let path = "charts/spore/files/crds/spore.host_sporeinstances.yaml";
    let text = fs::read_to_string(layout::root().join(path)).unwrap();
    let definition: Value = serde_saphyr::from_str(&text).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let fields = |part: &str| {
        let fields = schema[part]["properties"].as_object().unwrap().iter();
        fields
            .map(|(name, field)| (name.clone(), field.clone()))
            .collect::<Vec<_>>()
    };
    let page = Page::read("docs/spore-instance.md");
    let mut spec = BTreeSet::new();
    for (name, field) in fields("spec") {
        match field["properties"].as_object() {
            Some(inner) => spec.extend(inner.keys().map(|key| format!("{name}.{key}"))),
            None => {
                spec.insert(name);
            }
        }
    }
    assert_eq!(page.first_column("## Fields of `spec`"), spec);
    let mut status = page.first_column("## `status`");
    // The API machinery's own, of which nobody who is no program need know.
    status.insert("observedGeneration".into());
    let described = fields("status").into_iter().map(|(name, _)| name);
    assert_eq!(status, described.collect());
    for condition in conditions::ALL {
        assert!(
            page.text.contains(&format!("\n| `{condition}` |")),
            "no condition {condition}"
        );
    }
}

#[test]
fn every_field_of_a_schedule_is_described_and_no_other() {
    let path = "charts/spore/files/crds/spore.host_sporeschedules.yaml";
    let text = fs::read_to_string(layout::root().join(path)).unwrap();
    let definition: Value = serde_saphyr::from_str(&text).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let names = |fields: &Value| {
        let fields = fields["properties"].as_object().unwrap();
        fields.keys().cloned().collect::<BTreeSet<_>>()
    };
    let page = Page::read("docs/schedules.md");
    let mut spec = names(&schema["spec"]);
    spec.remove("template");
    let template = names(&schema["spec"]["properties"]["template"]);
    spec.extend(template.iter().map(|field| format!("template.{field}")));
    assert_eq!(page.first_column("## Fields of `spec`"), spec);
    let mut status = page.first_column("## `status`");
    status.insert("observedGeneration".into());
    assert_eq!(status, names(&schema["status"]));
}

#[test]
fn every_field_of_arrays_and_sweeps_is_described_and_no_other() {
    for (kind, page, heading) in [
        ("sporearrays", "docs/arrays.md", "## Fields of an array"),
        ("sporesweeps", "docs/sweeps.md", "## Fields of a sweep"),
    ] {
        let path = format!("charts/spore/files/crds/spore.host_{kind}.yaml");
        let text = fs::read_to_string(layout::root().join(path)).unwrap();
        let definition: Value = serde_saphyr::from_str(&text).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let fields = schema["properties"]["spec"]["properties"].as_object();
        let fields = fields.unwrap().keys().cloned().collect();
        assert_eq!(Page::read(page).first_column(heading), fields, "{kind}");
    }
}

// ---- rights in AWS ----

#[test]
fn the_policies_in_the_docs_are_those_of_the_chart() {
    let blocks = Page::read("docs/aws-permissions.md").blocks("json");
    let files = ["iam-policy.json", "agent-policy.json"];
    assert_eq!(blocks.len(), files.len());
    for (block, file) in blocks.iter().zip(files) {
        let page: Value = serde_json::from_str(block).unwrap();
        let path = layout::root().join("charts/spore/files").join(file);
        let chart: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(page, chart, "{file}");
    }
    for page in pages() {
        for block in page.blocks("json") {
            serde_json::from_str::<Value>(&block)
                .unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.name()));
        }
    }
}

// ---- links ----

/// What a heading is linked by.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(file: &Path) -> BTreeSet<String> {
    let path = file.strip_prefix(layout::root()).unwrap().to_str().unwrap();
    let prose = Page::read(path).prose();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut broken = Vec::new();
    for page in pages() {
        let prose = page.prose();
        let targets = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.path.clone(),
                file => page.path.parent().unwrap().join(file),
            };
            let found = file
                .canonicalize()
                .is_ok_and(|file| anchor.is_empty() || anchors(&file).contains(anchor));
            if !found {
                broken.push(format!("{}: {target}", page.name()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

// ---- names ----

/// The text of all files of a crate.
fn source(of: &str) -> String {
    let mut dirs = vec![layout::root().join(of).join("src")];
    let mut text = String::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => text.push_str(&fs::read_to_string(path).unwrap()),
            }
        }
    }
    text
}

#[test]
fn every_reason_that_docs_explain_is_one_that_the_controller_gives() {
    let source = source("controller") + &source("core");
    let page = Page::read("docs/troubleshooting.md");
    let mut reasons = page.first_column("### It cannot go on (`Stalled`)");
    reasons.extend(page.first_column("### It is on its way (`Reconciling`)"));
    reasons.extend(["Running", "Stopped", "Finished", "EndedFromOutside"].map(str::to_owned));
    for reason in &reasons {
        assert!(
            source.contains(&format!("\"{reason}\"")),
            "no reason {reason}"
        );
    }
    assert!(reasons.len() > 20, "only {reasons:?}");
}

#[test]
fn every_end_that_the_docs_list_is_one_that_is_recorded() {
    let page = Page::read("docs/lifecycle.md");
    for reason in EndReason::ALL {
        // An object that is deleted is gone before anybody could read that of it.
        if reason == EndReason::UserRequested {
            continue;
        }
        let named = page.text.contains(&format!("`{}`", reason.as_str()));
        assert!(named, "nothing on {}", reason.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_in_the_docs_are_those_that_the_controller_serves() {
    let mut world = without_machines("docs-metrics").await;
    create(&world, "counted", json!({})).await.unwrap();
    until_true(&world, "counted", LAUNCHED).await;
    let controller = world.controller();
    let metrics = eventually("a pass is counted", PATIENCE, async || {
        let metrics = controller.get("/metrics").await.ok()?;
        metrics
            .contains("spore_reconciles_total")
            .then_some(metrics)
    })
    .await;
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let served = types.filter_map(|line| {
        let (name, kind) = line.split_once(' ')?;
        let ours = name.starts_with("spore_");
        let total = if kind == "counter" { "_total" } else { "" };
        ours.then(|| format!("{name}{total}"))
    });
    let page = Page::read("docs/architecture.md");
    let mut told = page.first_column("## Metrics");
    told.retain(|name| name.starts_with("spore_"));
    // What was never counted is not served.
    told.remove("spore_orphans_total");
    assert_eq!(told, served.collect());
}

// ---- Argo CD ----

#[tokio::test(flavor = "multi_thread")]
async fn argo_cds_interpreter_sees_the_health_that_the_charts_cases_tell() {
    let dir = layout::root().join("charts/spore/files/argocd");
    let yaml = |path: &str| {
        let text = fs::read_to_string(dir.join(path)).unwrap();
        serde_saphyr::from_str::<Value>(&text).unwrap()
    };
    let cases = yaml("health_test.yaml");
    let cases = cases["tests"].as_array().unwrap();
    assert_eq!(
        cases.len(),
        fs::read_dir(dir.join("testdata")).unwrap().count()
    );
    let health = Health::new().await.unwrap();
    for case in cases {
        let path = case["inputPath"].as_str().unwrap();
        let (status, message) = health.of(&yaml(path)).await.unwrap();
        let expected = &case["healthStatus"];
        assert_eq!(expected["status"], status, "{path}");
        assert_eq!(expected["message"], message, "{path}");
    }
}
