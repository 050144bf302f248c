//! `kubectl spawn`, as kubectl finds it on the path, with a real cluster behind it.

mod change;
mod launch;
mod look;
mod schedule;

use std::{env, process::Stdio};

use serde_json::{Value, json};
use spore_crds::conditions::LAUNCHED;
use spore_e2e::{PATIENCE, create, kubectl, until_true, without_machines};
use spore_world::{
    Output, World, WorldOptions, eventually,
    layout::{self, Tools},
};
use tokio::process::Command;

/// Runs the plugin through kubectl; the line is split at spaces.
async fn spawn(world: &World, line: &str) -> Output {
    spawn_words(world, &line.split_whitespace().collect::<Vec<_>>()).await
}

/// The same, word by word.
async fn spawn_words(world: &World, words: &[&str]) -> Output {
    let mut args = vec!["spawn"];
    args.extend(words);
    world.kubectl(&args).await.expect("kubectl runs")
}

/// What the plugin prints when it succeeds.
async fn spawned(world: &World, line: &str) -> String {
    let output = spawn(world, line).await.ok();
    output.expect("the plugin succeeds")
}

/// The plugin without kubectl around it, for terminals and signals.
fn plugin(world: &World, line: &str) -> Command {
    let mut command = Command::new(layout::bin("kubectl-spawn").expect("it is built"));
    command
        .args(line.split_whitespace())
        .env("KUBECONFIG", world.kubeconfig())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Checks how a command ended and that its standard error says all of these.
#[track_caller]
fn assert_failed(output: &Output, code: i32, says: &[&str]) {
    let Output { stdout, stderr, .. } = output;
    assert_eq!(output.code, Some(code), "{stdout}{stderr}");
    for words in says {
        assert!(stderr.contains(words), "no {words:?} in:\n{stderr}");
    }
}

/// Progress where nothing can be redrawn: whole lines about the spore, and no control characters.
#[track_caller]
fn assert_plain(name: &str, progress: &str) {
    for line in progress.lines() {
        assert!(
            line.starts_with(&format!("{name}: ")),
            "{line:?} in\n{progress}"
        );
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// A world in which nobody looks at objects.
pub(crate) async fn without_controller(name: &str) -> World {
    let options = WorldOptions {
        no_machines: true,
        no_controller: true,
        ..WorldOptions::default()
    };
    World::start_with(name, options)
        .await
        .expect("a world starts")
}

// ---- who may do what, and what is not there ----

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_ends_with_5_and_names_the_nearest() {
    let world = without_controller("plugin-not-found").await;
    create(&world, "train", json!({})).await.unwrap();
    for line in ["status trian", "extend trian 1h", "delete trian --yes"] {
        let output = spawn(&world, line).await;
        assert_failed(
            &output,
            5,
            &["there is no spore named trian", "Did you mean train?"],
        );
        assert_eq!(output.stdout, "", "{line}");
    }
    let elsewhere = spawn(&world, "status whatever").await;
    assert_failed(&elsewhere, 5, &["kubectl spawn list -A --all"]);
    let nowhere = spawn(&world, "launch x --instance-type t3.micro -n no-such-place").await;
    assert_failed(
        &nowhere,
        5,
        &[
            "there is no namespace named no-such-place",
            "kubectl create namespace",
        ],
    );
}

/// Makes a service account that holds a cluster role in the world's namespace, and waits until it
/// works: the controller manager puts `view` and `edit` together from the chart's parts.
async fn account(world: &World, name: &str, role: Option<(&str, &str)>) -> String {
    kubectl(world, &["create", "serviceaccount", name]).await;
    let config = world.kubeconfig_of(name).await.unwrap();
    let config = config.to_str().unwrap().to_owned();
    let Some((role, may)) = role else {
        return config;
    };
    let role = format!("--clusterrole={role}");
    let subject = format!("--serviceaccount={}:{name}", world.namespace());
    kubectl(world, &["create", "rolebinding", name, &role, &subject]).await;
    let ask = [
        "auth",
        "can-i",
        may,
        "sporeinstances.spore.host",
        "--kubeconfig",
        &config,
    ];
    eventually(&format!("{name} may {may}"), PATIENCE, async || {
        let answer = world.kubectl(&ask).await.ok()?;
        (answer.code == Some(0)).then_some(())
    })
    .await;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_rights_is_told_so_with_4_by_every_verb() {
    let world = without_controller("plugin-forbidden").await;
    create(&world, "train", json!({})).await.unwrap();
    let nobody = account(&world, "nobody", None).await;
    let viewer = account(&world, "viewer", Some(("view", "list"))).await;
    let changes = [
        ("launch x --instance-type t3.micro", "create", "edit"),
        ("extend train --to 2100-01-01T00:00:00Z", "patch", "edit"),
        ("delete train --yes", "delete", "edit"),
    ];
    let looks = [("list", "list", "view"), ("status train", "get", "view")];
    for (line, verb, role) in looks {
        let output = spawn(&world, &format!("{line} --kubeconfig {nobody}")).await;
        let can = format!(
            "kubectl auth can-i {verb} sporeinstances.spore.host -n {}",
            world.namespace()
        );
        assert_failed(
            &output,
            4,
            &[
                &format!("not allowed to {verb}"),
                &format!("cluster role {role}"),
                &can,
            ],
        );
        spawned(&world, &format!("{line} --kubeconfig {viewer}")).await;
    }
    let everywhere = spawn(&world, &format!("list -A --kubeconfig {viewer}")).await;
    assert_failed(&everywhere, 4, &["not allowed to list", " -A`"]);
    for (line, verb, role) in changes {
        let output = spawn(&world, &format!("{line} --kubeconfig {viewer}")).await;
        let says = [
            format!("not allowed to {verb}"),
            format!("cluster role {role}"),
        ];
        assert_failed(&output, 4, &says.each_ref().map(String::as_str));
    }
    let eve = spawn(&world, "list --as eve").await;
    assert_failed(&eve, 4, &["User \"eve\" cannot list"]);
    let names = spawned(&world, "list -o name").await;
    assert_eq!(
        names, "sporeinstance.spore.host/train\n",
        "nothing has changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_edit_is_enough_for_every_verb() {
    let world = without_machines("plugin-edit").await;
    let editor = account(&world, "editor", Some(("edit", "create"))).await;
    let may = |line: &str| format!("{line} --kubeconfig {editor}");
    spawned(&world, &may("launch box --instance-type t3.micro --ttl 1h")).await;
    until_true(&world, "box", LAUNCHED).await;
    spawned(&world, &may("extend box 1h --wait")).await;
    let status = spawned(&world, &may("status box")).await;
    assert!(
        status.contains("\nEvents:\n"),
        "it may read Events, too: {status}"
    );
    assert!(!status.contains("not shown"), "{status}");
    spawned(&world, &may("delete box --yes")).await;
    assert_eq!(world.sim().audit().await.unwrap().live_instances, 0);
}

// ---- version, completion ----

#[tokio::test(flavor = "multi_thread")]
async fn version_tells_what_the_plugin_is_and_what_the_cluster_serves() {
    let world = without_controller("plugin-version").await;
    let ours = env!("CARGO_PKG_VERSION");
    let server: Value =
        serde_json::from_str(&kubectl(&world, &["version", "-o", "json"]).await).unwrap();
    let kubernetes = server["serverVersion"]["gitVersion"].as_str().unwrap();
    let json: Value = serde_json::from_str(&spawned(&world, "version -o json").await).unwrap();
    assert_eq!(json["client"], ours);
    assert_eq!(json["server"]["kubernetes"], kubernetes);
    assert_eq!(json["server"]["api"], "spore.host/v1alpha1");
    let text = spawned(&world, "version").await;
    for words in [ours, kubernetes, "spore.host/v1alpha1"] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    let yaml = spawned(&world, "version --client -o yaml").await;
    assert_eq!(yaml, format!("client: \"{ours}\"\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectls_own_completion_offers_verbs_flags_and_the_names_of_spores() {
    let world = without_controller("plugin-completion").await;
    for name in ["train", "transcode", "render"] {
        create(&world, name, json!({})).await.unwrap();
    }
    // As docs/kubectl-spawn.md says to set it up.
    let dir = world.dir().join("bin");
    std::fs::create_dir(&dir).unwrap();
    let program = layout::bin("kubectl-spawn").unwrap();
    for name in ["kubectl-spawn", "kubectl_complete-spawn"] {
        std::os::unix::fs::symlink(&program, dir.join(name)).unwrap();
    }
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths([dir].into_iter().chain(env::split_paths(&path))).unwrap();
    let kubectl = Tools::find().unwrap().kubectl;
    let complete = async |words: &[&str]| {
        let output = Command::new(&kubectl)
            .args(["__complete", "spawn"])
            .args(words)
            .env("PATH", &path)
            .env("KUBECONFIG", world.kubeconfig())
            .output()
            .await
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        text.lines().map(word).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["exte"]).await, ["extend", ":4"]);
    assert_eq!(
        complete(&["status", "tra"]).await,
        ["train", "transcode", ":4"]
    );
    assert_eq!(complete(&["delete", "train", "re"]).await, ["render", ":4"]);
    assert_eq!(
        complete(&["launch", "--instance-t"]).await,
        ["--instance-type", ":4"]
    );
    let namespace = format!("--namespace={}", world.namespace());
    assert_eq!(
        complete(&["extend", &namespace, "ren"]).await,
        ["render", ":4"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_completion_script_is_one_that_bash_takes() {
    let world = without_controller("plugin-bash").await;
    create(&world, "train", json!({})).await.unwrap();
    let script = spawned(&world, "completion bash").await;
    let ask = r#"
        eval "$1"
        complete -p kubectl-spawn >/dev/null || exit 1
        # As bash calls it when somebody presses the tabulator key behind "status tr".
        COMP_WORDS=(kubectl-spawn status tr) COMP_CWORD=2 COMP_TYPE=9
        function=$(complete -p kubectl-spawn | sed 's/.* -F \([^ ]*\) .*/\1/')
        "$function" kubectl-spawn tr status
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let program = layout::bin("kubectl-spawn").unwrap();
    let dir = program.parent().unwrap().to_path_buf();
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths([dir].into_iter().chain(env::split_paths(&path))).unwrap();
    let output = Command::new("bash")
        .args(["-c", ask, "bash", &script])
        .env("PATH", path)
        .env("KUBECONFIG", world.kubeconfig())
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "train\n", "{told}");
}
