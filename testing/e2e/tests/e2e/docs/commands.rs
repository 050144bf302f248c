//! Commands that pages tell people to run.

use std::{collections::BTreeSet, fs};

use spore_world::layout::{self, Tools};
use tokio::process::Command;

use super::page::{Page, pages};

/// The help of a program, or of a verb of it.
async fn help(program: &str, verb: &[&str]) -> String {
    let program = layout::bin(program).unwrap();
    let output = Command::new(program).args(verb).arg("--help").output();
    let output = output.await.unwrap();
    assert!(output.status.success(), "{verb:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a help page describes a flag, and not one whose name only begins alike.
fn has_flag(help: &str, flag: &str) -> bool {
    let mut words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.any(|word| word == flag)
}

/// Checks that verb and flags exist wherever a page calls a program, and returns the verbs.
async fn verbs_named(program: &str, called: &str) -> BTreeSet<String> {
    let verbs = help(program, &[]).await;
    let mut named = BTreeSet::new();
    for page in pages() {
        for command in page.commands() {
            let plain = command.strip_prefix("sudo ").unwrap_or(&command);
            let Some(words) = plain.strip_prefix(called) else {
                continue;
            };
            let place = format!("{}: {command}", page.name());
            let ours = words.split(" -- ").next().unwrap();
            let mut words = ours.split_whitespace();
            let verb = words.next().unwrap();
            let begin = format!("{verb} ");
            let exists = verbs
                .lines()
                .any(|line| line.trim_start().starts_with(&begin));
            assert!(exists, "no verb {verb} in {place}");
            let mut flags = help(program, &[verb]).await;
            let inner = match flags.contains("\nVerbs:\n") {
                true => words.next(),
                false => None,
            };
            if let Some(inner) = inner {
                let begin = format!("{inner} ");
                let mut lines = flags.lines();
                let exists = lines.any(|line| line.trim_start().starts_with(&begin));
                assert!(exists, "no verb {verb} {inner} in {place}");
                flags = help(program, &[verb, inner]).await;
            }
            for word in words.filter(|word| word.starts_with('-') && *word != "--") {
                let flag = word.split('=').next().unwrap();
                assert!(has_flag(&flags, flag), "no flag {flag} in {place}");
            }
            named.insert(verb.to_owned());
        }
    }
    named
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_and_flag_of_our_programs_that_docs_name_exists() {
    let verbs = verbs_named("kubectl-spawn", "kubectl spawn ").await;
    let all = [
        "completion",
        "delete",
        "extend",
        "launch",
        "list",
        "schedule",
        "status",
        "version",
    ];
    let told = all.into_iter().filter(|verb| verbs.contains(*verb));
    assert_eq!(told.count(), all.len(), "only {verbs:?} are told of");
    let verbs = verbs_named("spored", "spored ").await;
    let all = ["complete", "status", "wait-peers"];
    assert_eq!(verbs, all.map(str::to_owned).into());

    let launch = help("kubectl-spawn", &["launch"]).await;
    let table = Page::read("docs/kubectl-spawn.md").first_column("## Launch");
    let flags = table.iter().filter_map(|cell| cell.split(' ').next());
    let flags = flags.filter(|cell| *cell != "--").collect::<BTreeSet<_>>();
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
