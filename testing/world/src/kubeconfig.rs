//! Kubeconfig files for the parties of the local world.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::pki::{Pki, write_secret};

/// How one proves who one is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A client certificate, by the party's name in the PKI.
    Certificate(String),
    /// A service account's token.
    Token(String),
}

/// Writes a kubeconfig file, readable by its owner only.
pub fn write(
    path: &Path,
    server: &str,
    pki: &Pki,
    namespace: &str,
    credential: &Credential,
) -> Result<()> {
    let user: Value = match credential {
        Credential::Certificate(party) => {
            json!({"client-certificate": pki.cert(party), "client-key": pki.key(party)})
        }
        Credential::Token(token) => json!({"token": token}),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "spore",
            "cluster": {"server": server, "certificate-authority": pki.ca()},
        }],
        "users": [{"name": "spore", "user": user}],
        "contexts": [{
            "name": "spore",
            "context": {"cluster": "spore", "user": "spore", "namespace": namespace},
        }],
        "current-context": "spore",
    });
    write_secret(path, &serde_saphyr::to_string(&config)?)
}

/// A client as a kubeconfig file says.
pub async fn client(path: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path)
        .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Asks the API server for a token of a service account.
pub async fn service_account_token(client: &Client, namespace: &str, name: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            // A world that is kept up for weeks should go on working.
            expiration_seconds: Some(365 * 24 * 3600),
            ..Default::default()
        },
        ..Default::default()
    };
    let answer = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .with_context(|| format!("no token for service account {namespace}/{name}"))?;
    Ok(answer
        .status
        .context("the API server answered a token request without a token")?
        .token)
}

/// The file that holds the admin's configuration of the control plane in this directory.
pub fn admin(dir: &Path) -> PathBuf {
    dir.join("admin.kubeconfig")
}
