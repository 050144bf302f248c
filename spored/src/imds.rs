//! The instance's metadata service.
//!
//! It may be absent, slow or switched off: every request is bounded, and nothing here is waited for by
//! anything but the task that asked.

use std::time::Duration;

use aws_config::{
    imds::{Client, client::error::ImdsError},
    provider_config::ProviderConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::{sync::SetOnce, time};

/// How long one question may take, with its retries and the token.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// The shortest and the longest wait between two attempts to learn what must be known.
const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// See [`MIN_BACKOFF`].
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// None came in time.
    #[error("the metadata service did not answer {path} within {TIMEOUT:?}")]
    Timeout {
        /// What was asked.
        path: String,
    },
    /// It answered that it will not, or could not be reached.
    #[error("the metadata service did not answer {path}: {message}")]
    Failed {
        /// What was asked.
        path: String,
        /// What went wrong.
        message: String,
    },
}

/// Who this instance is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) instance_id: String,
    pub(crate) region: String,
}

/// The metadata service.
#[derive(Debug)]
pub(crate) struct Imds {
    client: Client,
    identity: SetOnce<Identity>,
}

/// The HTTP client of every request that leaves the agent.
pub(crate) fn http_client() -> SharedHttpClient {
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

impl Imds {
    pub(crate) fn new(http: SharedHttpClient) -> Self {
        let client = Client::builder()
            .configure(&ProviderConfig::without_region().with_http_client(http))
            .max_attempts(2)
            .connect_timeout(TRY_TIMEOUT)
            .read_timeout(TRY_TIMEOUT)
            .operation_attempt_timeout(TRY_TIMEOUT)
            .operation_timeout(TIMEOUT)
            .build();
        Self {
            client,
            identity: SetOnce::new(),
        }
    }

    /// The client, for the credentials of the instance's role.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// One piece of metadata, by its path below `meta-data/`; `None` if the instance has no such piece.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<String>, Error> {
        let full = format!("/latest/meta-data/{path}");
        match time::timeout(TIMEOUT, self.client.get(full)).await {
            Err(_) => Err(Error::Timeout {
                path: path.to_owned(),
            }),
            Ok(Ok(text)) => Ok(Some(text.into())),
            Ok(Err(ImdsError::ErrorResponse(context)))
                if context.response().status().as_u16() == 404 =>
            {
                Ok(None)
            }
            Ok(Err(error)) => Err(failed(path, chain(&error))),
        }
    }

    /// Who this instance is, as soon as that is known.
    pub(crate) async fn identity(&self) -> &Identity {
        self.identity.wait().await
    }

    /// Asks who this instance is until it is known.
    pub(crate) async fn learn_identity(&self) {
        let mut backoff = Backoff::default();
        loop {
            match self.try_identity().await {
                Ok(identity) => {
                    // Only this task sets it.
                    let _ = self.identity.set(identity);
                    return;
                }
                Err(error) => backoff.after(&error).await,
            }
        }
    }

    /// Asks for the place of this instance in the call that launched it until it is known; counted
    /// from 0, and the same over stops and starts.
    pub(crate) async fn launch_index(&self) -> u32 {
        let mut backoff = Backoff::default();
        loop {
            match self.try_launch_index().await {
                Ok(index) => return index,
                Err(error) => backoff.after(&error).await,
            }
        }
    }

    async fn try_launch_index(&self) -> Result<u32, Error> {
        const PATH: &str = "ami-launch-index";
        let text = self.need(PATH).await?;
        let index = text.trim().parse();
        index.map_err(|_| failed(PATH, format!("{text:?} is no number")))
    }

    async fn try_identity(&self) -> Result<Identity, Error> {
        Ok(Identity {
            instance_id: self.need("instance-id").await?,
            region: self.need("placement/region").await?,
        })
    }

    /// Metadata that every instance has.
    async fn need(&self, path: &str) -> Result<String, Error> {
        let text = self.get(path).await?;
        text.ok_or_else(|| failed(path, "there is none".into()))
    }
}

fn failed(path: &str, message: String) -> Error {
    Error::Failed {
        path: path.to_owned(),
        message,
    }
}

/// Waits longer and longer between questions that must be answered.
#[derive(Debug)]
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(MIN_BACKOFF)
    }
}

impl Backoff {
    async fn after(&mut self, error: &Error) {
        tracing::warn!("cannot tell which instance this is yet: {error}");
        time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(MAX_BACKOFF);
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
