//! The program as a script sees it, where no cluster is needed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

fn spawn(dir: &Path, args: &[&str]) -> Output {
    spawn_with(dir, args, &dir.join("kubeconfig"))
}

fn spawn_with(dir: &Path, args: &[&str], kubeconfig: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-spawn"))
        .args(args)
        .env_clear()
        .env("HOME", dir)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A cluster where nobody listens: no program may bind port 1 without privileges.
fn write_kubeconfig(path: &Path, context: &str) {
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: {context},
        clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1'}}}}],
        contexts: [{{name: {context}, context: {{cluster: c, user: u}}}}],
        users: [{{name: u, user: {{}}}}]}}"
    );
    fs::write(path, text).unwrap();
}

#[test]
fn a_cluster_that_is_down_is_named_with_its_url_and_context() {
    let dir = tempfile::tempdir().unwrap();
    write_kubeconfig(&dir.path().join("kubeconfig"), "lost");
    for args in [
        &["list"][..],
        &["status", "train"],
        &["launch", "train", "--instance-type", "t3.micro"],
        &["extend", "train", "1h"],
        &["delete", "train", "--yes"],
        &["schedule", "list"],
        &["schedule", "cancel", "nightly"],
    ] {
        let (code, out, err) = said(&spawn(dir.path(), args));
        assert_eq!(code, 1, "{args:?}: {err}");
        assert!(out.is_empty(), "{args:?}: {out}");
        assert!(
            err.contains("cannot reach the cluster at https://127.0.0.1:1 (context lost)"),
            "{err}"
        );
        assert!(err.contains("kubectl cluster-info"), "{err}");
    }
}

#[test]
fn the_plugins_own_version_is_known_even_if_the_cluster_is_down() {
    let dir = tempfile::tempdir().unwrap();
    write_kubeconfig(&dir.path().join("kubeconfig"), "lost");
    let (code, out, _) = said(&spawn(dir.path(), &["version"]));
    assert_eq!(code, 1);
    assert!(out.contains(env!("CARGO_PKG_VERSION")), "{out}");
    let (code, out, err) = said(&spawn(dir.path(), &["version", "--client", "-o", "json"]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains(&format!("\"client\": \"{}\"", env!("CARGO_PKG_VERSION"))),
        "{out}"
    );
}

#[test]
fn without_a_kubeconfig_the_way_to_give_one_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = said(&spawn(dir.path(), &["list"]));
    assert_eq!(code, 1);
    assert!(
        err.contains("there is no kubeconfig") && err.contains("--kubeconfig"),
        "{err}"
    );
}

#[test]
fn kubeconfig_files_are_merged_and_missing_ones_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    write_kubeconfig(&file("one"), "first");
    write_kubeconfig(&file("two"), "second");
    let list = std::env::join_paths([file("missing"), file("one"), file("two")]).unwrap();
    let (_, _, err) = said(&spawn_with(dir.path(), &["list"], Path::new(&list)));
    assert!(err.contains("(context first)"), "{err}");
    let args = ["list", "--context", "second"];
    let (_, _, err) = said(&spawn_with(dir.path(), &args, Path::new(&list)));
    assert!(err.contains("(context second)"), "{err}");
    let args = ["list", "--context", "third"];
    let (_, _, err) = said(&spawn_with(dir.path(), &args, Path::new(&list)));
    assert!(err.contains("there is no context named third"), "{err}");
}

#[test]
fn a_dry_run_of_the_client_needs_no_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "launch",
        "train",
        "--instance-type",
        "g5.xlarge",
        "--dry-run=client",
        "-o",
        "yaml",
    ];
    let (code, out, err) = said(&spawn(dir.path(), &args));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("name: train") && out.contains("instanceType: g5.xlarge"),
        "{out}"
    );
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    for (args, says) in [
        (
            &["launch", "--instance-type", "t3micro"][..],
            "did you mean t3.micro?",
        ),
        (
            &["launch", "--instance-type", "t3.micro", "--ttl", "2 hours"],
            "did you mean 2h?",
        ),
        (
            &[
                "launch",
                "--instance-type",
                "t3.micro",
                "--spot",
                "--on-complete",
                "stop",
            ],
            "Spot",
        ),
        (&["lanch"], "launch"),
        (&[], "Usage: kubectl spawn"),
    ] {
        let (code, _, err) = said(&spawn(dir.path(), args));
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
}

#[cfg(unix)]
#[test]
fn under_the_name_by_which_kubectl_asks_it_completes() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("kubectl_complete-spawn");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-spawn"), &link).unwrap();
    let ask = |args: &[&str]| {
        let output = Command::new(&link)
            .args(args)
            .env_clear()
            .env("HOME", dir.path())
            .output();
        said(&output.unwrap())
    };
    let (code, out, _) = ask(&["ext"]);
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "extend\tGive a spore, an array or a sweep more time\n:4\n"
        )
    );
    // Names cannot be asked for: that is no reason to disturb the command line.
    let (code, out, err) = ask(&["status", ""]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, ":4\n", ""));
}
