//! `kubectl spawn version`.

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{cli::Global, client::Cluster, error::Error, kind::Kind, print};

/// Show the versions of the plugin and of what the cluster serves
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// Only the plugin's; asks no cluster
    #[arg(long)]
    pub(crate) client: bool,
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<VersionFormat>,
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VersionFormat {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    url: String,
    kubernetes: String,
    /// Absent: not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
}

/// Shows the versions.
pub(crate) async fn run(args: VersionArgs, global: &Global) -> Result<(), Error> {
    let client = env!("CARGO_PKG_VERSION").to_owned();
    let server = match args.client {
        true => Ok(None),
        false => server(global).await.map(Some),
    };
    // The plugin's own version is known even if the cluster is not there.
    let (server, failure) = match server {
        Ok(server) => (server, None),
        Err(error) => (None, Some(error)),
    };
    let versions = Versions { client, server };
    print::out(&match args.output {
        Some(VersionFormat::Json) => print::json(&versions),
        Some(VersionFormat::Yaml) => print::yaml(&versions),
        None => render(&versions),
    })?;
    failure.map_or(Ok(()), Err)
}

async fn server(global: &Global) -> Result<Server, Error> {
    let cluster = Cluster::connect(global).await?;
    let kubernetes = cluster
        .ask("get", "/version", cluster.client.apiserver_version())
        .await?;
    let api = format!("{}/v1alpha1", spore_crds::GROUP);
    let served = cluster
        .ask(
            "get",
            Kind::Spore.resource(),
            cluster.client.list_api_group_resources(&api),
        )
        .await;
    let api = match served {
        Ok(served) => served
            .resources
            .iter()
            .any(|resource| resource.kind == "SporeInstance")
            .then_some(api),
        Err(Error::NotInstalled { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Server {
        url: cluster.server,
        kubernetes: kubernetes.git_version,
        api,
    })
}

fn render(versions: &Versions) -> String {
    let mut text = format!("kubectl spawn  {}\n", versions.client);
    if let Some(Server {
        url,
        kubernetes,
        api,
    }) = &versions.server
    {
        let api = api.as_deref().unwrap_or(
            "not installed: helm install spore charts/spore -n spore-system --create-namespace",
        );
        text.push_str(&format!(
            "Kubernetes     {kubernetes} at {url}\nSpore API      {api}\n"
        ));
    }
    text
}
