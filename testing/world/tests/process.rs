//! Processes are found again, told apart from others with the same id, and never left behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, thread, time::Duration};

use spore_world::{
    eventually,
    process::{Launch, Life, Process},
};

fn sleeper(dir: &Path, life: Life) -> Launch {
    Launch {
        name: "sleeper".into(),
        program: "/bin/sleep".into(),
        args: vec!["60".into()],
        env: Vec::new(),
        dir: dir.to_path_buf(),
        life,
    }
}

#[test]
fn a_process_outlives_the_thread_that_started_it() {
    let dir = tempfile::tempdir().unwrap();
    let launch = sleeper(dir.path(), Life::WithUs);
    let starter = thread::spawn(move || Process::start(&launch).unwrap());
    let mut process = starter.join().unwrap();
    // The kernel would have sent the death signal before the join returned.
    assert!(process.alive());
    process.kill();
    assert!(!process.alive());
}

#[tokio::test]
async fn a_detached_process_is_found_again_and_ends_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let launch = sleeper(dir.path(), Life::Detached);
    let mut process = Process::start(&launch).unwrap();
    let found = Process::find(dir.path(), "sleeper").expect("its pid file says so");
    assert_eq!(found.pid(), process.pid());
    eventually(
        "setsid has made way for it",
        Duration::from_secs(10),
        async || (found.args() == ["60"]).then_some(()),
    )
    .await;
    assert!(found.runs(Path::new("/bin/sleep")));
    assert!(!found.runs(Path::new("/bin/true")));
    assert!(
        process.terminate(Duration::from_secs(10)).await,
        "it ends by itself"
    );
    assert!(Process::find(dir.path(), "sleeper").is_none());
}

#[test]
fn another_process_with_the_same_id_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("{} 1\n", std::process::id());
    fs::write(dir.path().join("sleeper.pid"), line).unwrap();
    assert!(Process::find(dir.path(), "sleeper").is_none());
}

#[test]
fn a_process_that_cannot_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut launch = sleeper(dir.path(), Life::Detached);
    launch.program = "/no/such/program".into();
    let error = match Process::start(&launch) {
        Ok(process) => {
            while process.alive() {
                thread::yield_now();
            }
            process.check().unwrap_err()
        }
        Err(error) => error,
    };
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}
