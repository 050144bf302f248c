//! Which cluster a command is about, told as to kubectl.

use std::{env, path::PathBuf};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::{
    cli::Global,
    error::{Error, chain},
};

/// The connection's settings, and the name of the context they come from.
pub(crate) async fn load(global: &Global) -> Result<(Config, String), Error> {
    let options = KubeConfigOptions {
        context: global.context.clone(),
        ..KubeConfigOptions::default()
    };
    let kubeconfig = match &global.kubeconfig {
        Some(file) => Kubeconfig::read_from(file).map(Some),
        None => from_environment(),
    };
    let Some(kubeconfig) = kubeconfig.map_err(|error| unusable(&error))? else {
        let config =
            Config::incluster().map_err(|_| Error::Config("there is no kubeconfig".into()))?;
        return Ok((config, "in-cluster".into()));
    };
    let context = options
        .context
        .clone()
        .or_else(|| kubeconfig.current_context.clone())
        .unwrap_or_default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| unusable(&error))?;
    Ok((config, context))
}

/// Why a kubeconfig cannot be used.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others say it well enough themselves"
)]
fn unusable(error: &KubeconfigError) -> Error {
    Error::Config(match error {
        KubeconfigError::ReadConfig(cause, file) => format!("{}: {cause}", file.display()),
        KubeconfigError::LoadContext(context) => format!("there is no context named {context}"),
        KubeconfigError::CurrentContextNotSet => "the kubeconfig has no current context".into(),
        other => chain(other),
    })
}

/// The merged files of `KUBECONFIG`, else `~/.kube/config`. Files that do not exist are passed over,
/// as kubectl does.
fn from_environment() -> Result<Option<Kubeconfig>, KubeconfigError> {
    let files = match env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(list) => env::split_paths(&list).collect(),
        None => env::home_dir()
            .map(|home| home.join(".kube/config"))
            .into_iter()
            .collect::<Vec<_>>(),
    };
    files
        .into_iter()
        .filter(|file: &PathBuf| file.is_file())
        .map(Kubeconfig::read_from)
        .reduce(|one, other| one?.merge(other?))
        .transpose()
}
