//! The three calls that the agent makes, each about its own instance.

use std::{sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, imds::credentials::ImdsCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_ec2::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::Tag,
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use spore_core::{lifecycle::Action, tags::Tags};
use tokio::{sync::OnceCell, time};

use crate::imds::{Identity, Imds, chain};

/// How long a call may take with all that precedes it: identity, credentials, tries.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(4);

/// Why a call had no effect, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// EC2 said no.
    #[error(
        "EC2 refused {call} on {instance}: {code}: {message}; the instance's role must allow it on itself"
    )]
    Refused {
        /// The call.
        call: &'static str,
        /// On which instance.
        instance: String,
        /// EC2's error code.
        code: String,
        /// EC2's explanation.
        message: String,
    },
    /// EC2 was not reached, or its answer was not.
    #[error("no answer from EC2 to {call}: {message}")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// What went wrong.
        message: String,
    },
}

/// EC2, for this instance only.
#[derive(Debug)]
pub(crate) struct Ec2 {
    imds: Arc<Imds>,
    http: SharedHttpClient,
    client: OnceCell<Client>,
}

impl Ec2 {
    pub(crate) fn new(imds: Arc<Imds>, http: SharedHttpClient) -> Self {
        Self {
            imds,
            http,
            client: OnceCell::new(),
        }
    }

    /// Writes tags on the instance.
    pub(crate) async fn tag(&self, tags: Tags) -> Result<(), Error> {
        let tags: Vec<Tag> = tags
            .into_iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        self.call("CreateTags", async |client, instance| {
            let call = client
                .create_tags()
                .resources(instance)
                .set_tags(Some(tags));
            call.send()
                .await
                .map(drop)
                .map_err(|error| told("CreateTags", instance, &error))
        })
        .await
    }

    /// Terminates or stops the instance.
    pub(crate) async fn end(&self, action: Action) -> Result<(), Error> {
        match action {
            Action::Terminate => {
                const CALL: &str = "TerminateInstances";
                self.call(CALL, async |client, instance| {
                    let call = client.terminate_instances().instance_ids(instance);
                    call.send()
                        .await
                        .map(drop)
                        .map_err(|error| told(CALL, instance, &error))
                })
                .await
            }
            Action::Stop => {
                const CALL: &str = "StopInstances";
                self.call(CALL, async |client, instance| {
                    let call = client.stop_instances().instance_ids(instance);
                    call.send()
                        .await
                        .map(drop)
                        .map_err(|error| told(CALL, instance, &error))
                })
                .await
            }
        }
    }

    async fn call(
        &self,
        call: &'static str,
        make: impl AsyncFnOnce(&Client, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let whole = async {
            let identity = self.imds.identity().await;
            let client = self.client.get_or_init(|| self.connect(identity)).await;
            make(client, &identity.instance_id).await
        };
        let late = || Error::Unreachable {
            call,
            message: format!("nothing within {TIMEOUT:?}"),
        };
        time::timeout(TIMEOUT, whole)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn connect(&self, identity: &Identity) -> Client {
        // The instance's role and nothing else: what users put into files or the environment is theirs.
        let credentials = ImdsCredentialsProvider::builder()
            .imds_client(self.imds.client())
            .build();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(TRY_TIMEOUT)
            .operation_attempt_timeout(TRY_TIMEOUT)
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(identity.region.clone()))
            .credentials_provider(credentials)
            .http_client(self.http.clone())
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .load()
            .await;
        Client::new(&config)
    }
}

fn told<E, R>(call: &'static str, instance: &str, error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error.as_service_error() {
        Some(refusal) => Error::Refused {
            call,
            instance: instance.to_owned(),
            code: refusal.code().unwrap_or("no code").to_owned(),
            message: refusal.message().unwrap_or("no explanation").to_owned(),
        },
        None => Error::Unreachable {
            call,
            message: chain(error),
        },
    }
}
