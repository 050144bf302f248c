//! Completion of the command line: for shells, for kubectl, and of spores' names from the cluster.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::CommandFactory;
use clap_complete::{
    CompleteEnv,
    engine::{self, CompletionCandidate},
};

use crate::{
    cli::{Cli, Global, Limit},
    client::Cluster,
    cmd::schedule,
    error::Error,
};

/// The plugin's program.
pub(crate) const PROGRAM: &str = "kubectl-spawn";
/// The environment variable by which the scripts ask.
pub(crate) const VARIABLE: &str = "COMPLETE";
/// The name under which kubectl asks plugins.
const KUBECTL_ASKS: &str = "kubectl_complete-spawn";
/// What tells kubectl not to add names of files.
const NO_FILES: &str = ":4";
/// Nobody waits longer for a suggestion.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Whether this was a question for completion; if so it is answered.
pub(crate) fn answered() -> bool {
    let program = env::args_os().next().unwrap_or_default();
    if Path::new(&program).file_stem() == Some(OsStr::new(KUBECTL_ASKS)) {
        let words = env::args_os().skip(1).collect();
        // A question that cannot be answered is answered with nothing.
        let _ = std::io::stdout().write_all(for_kubectl(words).as_bytes());
        return true;
    }
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(env::args_os(), env::current_dir().ok().as_deref())
        .unwrap_or_else(|error| error.exit())
}

/// The answer in kubectl's format: a candidate a line with its description, then a directive.
fn for_kubectl(mut words: Vec<OsString>) -> String {
    words.insert(0, PROGRAM.into());
    let last = words.len() - 1;
    let flags_wanted = words[last].to_string_lossy().starts_with('-');
    let mut candidates =
        engine::complete(&mut Cli::command(), words, last, None).unwrap_or_default();
    // As kubectl does: flags only for who has begun one.
    candidates.retain(|candidate| flags_wanted || !is_flag(candidate));
    let mut text = String::new();
    for candidate in candidates {
        text.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            text.push('\t');
            text.push_str(help.to_string().lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    text + NO_FILES + "\n"
}

fn is_flag(candidate: &CompletionCandidate) -> bool {
    candidate.get_value().to_string_lossy().starts_with('-')
}

/// The names of the namespace's spores that begin like this.
pub(crate) fn names(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, async |cluster| cluster.names().await)
}

/// The names of the namespace's schedules that begin like this.
pub(crate) fn schedules(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, schedule::names)
}

fn candidates(
    current: &OsStr,
    names: impl AsyncFnOnce(Cluster) -> Result<Vec<String>, Error>,
) -> Vec<CompletionCandidate> {
    let Some(begin) = current.to_str() else {
        return Vec::new();
    };
    let global = global(env::args_os());
    let names = ask(&global, names).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| name.starts_with(begin))
        .map(CompletionCandidate::new)
        .collect()
}

fn ask(
    global: &Global,
    names: impl AsyncFnOnce(Cluster) -> Result<Vec<String>, Error>,
) -> Option<Vec<String>> {
    crate::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let names = async { names(Cluster::connect(global).await?).await };
        tokio::time::timeout(PATIENCE, names).await.ok()?.ok()
    })
}

/// Which cluster and namespace a command line that is not finished is about.
fn global(words: impl Iterator<Item = OsString>) -> Global {
    let mut global = Global {
        request_timeout: Limit(Some(PATIENCE)),
        ..Global::default()
    };
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let mut value = || value.clone().or_else(|| words.next());
        match flag.as_str() {
            "-n" | "--namespace" => global.namespace = value(),
            "--context" => global.context = value(),
            "--kubeconfig" => global.kubeconfig = value().map(PathBuf::from),
            "--as" => global.as_user = value(),
            _ => {}
        }
    }
    global
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn kubectl_is_answered_in_its_own_format() {
        let answer = for_kubectl(words("st"));
        assert_eq!(
            answer,
            "status\tShow what a spore is, why it waits, and what ends it when\n:4\n"
        );
        let answer = for_kubectl(words("--req"));
        assert!(answer.starts_with("--request-timeout\t"), "{answer}");
        assert!(!for_kubectl(words("completion ")).contains("--"));
        let answer = for_kubectl(words("launch --on-idle "));
        assert!(
            answer.starts_with("terminate\t") && answer.contains("\nstop\t"),
            "{answer}"
        );
    }

    #[test]
    fn an_unfinished_command_line_tells_the_cluster_and_the_namespace() {
        let global = global(words("status -n lab --context=test --kubeconfig /k tr").into_iter());
        assert_eq!(global.namespace.as_deref(), Some("lab"));
        assert_eq!(global.context.as_deref(), Some("test"));
        assert_eq!(global.kubeconfig, Some(PathBuf::from("/k")));
    }
}
