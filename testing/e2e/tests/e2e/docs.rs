//! What the documentation says is so.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use spore_crds::conditions;
use spore_e2e::Health;
use spore_world::{
    World, WorldOptions,
    layout::{self, Tools},
};
use tokio::process::Command;

/// A page of documentation.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: &str) -> Self {
        let path = layout::root().join(path);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Self { path, text }
    }

    fn name(&self) -> String {
        let path = self.path.strip_prefix(layout::root()).unwrap();
        path.display().to_string()
    }

    /// The code blocks in a language.
    fn blocks(&self, language: &str) -> Vec<String> {
        let parts = self.text.split("\n```").collect::<Vec<_>>();
        // What is inside and what is outside take turns.
        let inside = parts.iter().skip(1).step_by(2);
        inside
            .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
            .map(|code| format!("{code}\n"))
            .collect()
    }

    /// The text without code blocks.
    fn prose(&self) -> String {
        self.text.split("\n```").step_by(2).collect()
    }

    /// What stands between backquotes, and the commands of console blocks, each on one line.
    fn commands(&self) -> Vec<String> {
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
    fn first_column(&self, heading: &str) -> BTreeSet<String> {
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

fn pages() -> Vec<Page> {
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

// ---- manifests ----

#[tokio::test(flavor = "multi_thread")]
async fn every_manifest_in_examples_and_docs_is_one_that_the_api_server_takes() {
    let options = WorldOptions {
        no_controller: true,
        no_machines: true,
        ..WorldOptions::default()
    };
    let world = World::start_with("docs-manifests", options).await.unwrap();
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

// ---- commands ----

async fn help(of: &[&str]) -> String {
    let program = layout::bin("kubectl-spawn").unwrap();
    let output = Command::new(program)
        .args(of)
        .arg("--help")
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{of:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a help page describes a flag, and not one whose name only begins alike.
fn has_flag(help: &str, flag: &str) -> bool {
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.into_iter().any(|word| word == flag)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_and_flag_of_the_plugin_that_docs_name_exists() {
    let verbs = help(&[]).await;
    let mut named = BTreeSet::new();
    for page in pages() {
        for command in page.commands() {
            let Some((_, words)) = command.split_once("kubectl spawn ") else {
                continue;
            };
            let ours = words.split(" -- ").next().unwrap();
            let mut words = ours.split_whitespace();
            let verb = words.next().unwrap();
            let exists = verbs
                .lines()
                .any(|line| line.trim_start().starts_with(&format!("{verb} ")));
            assert!(exists, "{}: no verb {verb}: {command}", page.name());
            let flags = help(&[verb]).await;
            for word in words.filter(|word| word.starts_with('-') && *word != "--") {
                let flag = word.split('=').next().unwrap();
                assert!(
                    has_flag(&flags, flag),
                    "{}: no flag {flag}: {command}",
                    page.name()
                );
            }
            named.insert(verb.to_owned());
        }
    }
    let all = [
        "completion",
        "delete",
        "extend",
        "launch",
        "list",
        "status",
        "version",
    ];
    assert!(
        all.iter().all(|verb| named.contains(*verb)),
        "only {named:?} are told of"
    );

    let launch = help(&["launch"]).await;
    let table = Page::read("docs/kubectl-spawn.md").first_column("## Launch");
    let flags = table
        .iter()
        .filter_map(|cell| cell.split(' ').next())
        .collect::<BTreeSet<_>>();
    assert!(flags.contains("--instance-type"), "{flags:?}");
    for flag in flags {
        assert!(has_flag(&launch, flag), "no flag {flag}");
    }
}

#[test]
fn every_make_target_that_docs_name_exists() {
    let makefile = fs::read_to_string(layout::root().join("Makefile")).unwrap();
    let mut named = 0;
    for page in pages() {
        for command in page.commands() {
            let Some(target) = command.strip_prefix("make ") else {
                continue;
            };
            let target = target.split([' ', ';']).next().unwrap();
            let exists = makefile
                .lines()
                .any(|line| line.starts_with(&format!("{target}:")));
            assert!(exists, "{}: no target {target}", page.name());
            named += 1;
        }
    }
    assert!(named >= 10, "only {named}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_helm_install_in_the_docs_renders_the_chart() {
    let helm = Tools::find().unwrap().helm;
    let dir = layout::local("test/docs-helm");
    fs::create_dir_all(&dir).unwrap();
    for agent in ["spored", "spored-x86_64"] {
        fs::write(dir.join(agent), "an agent").unwrap();
    }
    // The page leaves out what would fill a line.
    let digest = "0123456789abcdef".repeat(4);
    let install = Page::read("docs/install.md");
    let block = install
        .blocks("console")
        .into_iter()
        .find(|block| block.contains("cat > values.yaml"));
    let values = block
        .as_deref()
        .and_then(|block| block.split("<<'END'\n").nth(1)?.split("END\n").next());
    let values = values
        .unwrap()
        .replace("0123…", &digest)
        .replace("4567…", &digest);
    fs::write(dir.join("values.yaml"), values).unwrap();

    let chart = layout::root().join("charts/spore").display().to_string();
    let mut rendered = 0;
    for page in pages() {
        for command in page
            .commands()
            .iter()
            .filter(|command| command.starts_with("helm install"))
        {
            // A short form in a sentence names no values.
            if !command.contains("--set") && !command.contains("-f ") {
                continue;
            }
            let command = command
                .replace("helm install", &format!("{} template", helm.display()))
                .replace("charts/spore", &chart);
            let bash = Command::new("bash")
                .args(["-c", &command])
                .current_dir(&dir)
                .output();
            let output = bash.await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{}: {command}\n{said}",
                page.name()
            );
            let objects = String::from_utf8_lossy(&output.stdout);
            assert!(
                objects.contains("kind: Deployment"),
                "{}: {command}",
                page.name()
            );
            rendered += 1;
        }
    }
    assert!(rendered >= 3, "only {rendered}");
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
