//! The border to AWS: SDK types stay in here.

mod ec2;
pub(crate) mod error;
mod iam;
mod leftovers;
mod prices;
mod ssm;

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::tls;
use jiff::Timestamp;

pub use ec2::Run;
pub use leftovers::{Leftover, LeftoverKind};

use crate::{
    cloud::{Class, CloudError},
    facts::{Answer, Fact},
    metrics::Metrics,
};

/// How long one call may take: beyond it the answer is unknown and the launch protocol takes over.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Clients for every region that is managed.
#[derive(Clone)]
pub struct Aws {
    regions: HashMap<String, Clients>,
    iam: aws_sdk_iam::Client,
    pricing: aws_sdk_pricing::Client,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct Clients {
    ec2: aws_sdk_ec2::Client,
    ssm: aws_sdk_ssm::Client,
}

impl Aws {
    /// Reads credentials and endpoints from where AWS's own tools read them.
    pub async fn new(regions: &[String], metrics: Arc<Metrics>) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::Ring,
            ))
            .build_https();
        let base = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            // Retrying is the planner's: it knows which repetition is safe, and the limiter which is
            // affordable.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .region(regions.first().cloned().map(Region::new))
            .load()
            .await;
        let clients = |region: &String| {
            let config = in_region(&base, region);
            let clients = Clients {
                ec2: aws_sdk_ec2::Client::new(&config),
                ssm: aws_sdk_ssm::Client::new(&config),
            };
            (region.clone(), clients)
        };
        Self {
            regions: regions.iter().map(clients).collect(),
            iam: aws_sdk_iam::Client::new(&base),
            pricing: aws_sdk_pricing::Client::new(&in_region(&base, prices::PRICING_REGION)),
            metrics,
        }
    }

    fn clients(&self, call: &'static str, region: &str) -> Result<&Clients, CloudError> {
        self.regions.get(region).ok_or_else(|| CloudError {
            call,
            region: region.to_owned(),
            class: Class::Invalid,
            code: None,
            message: "this controller does not manage the region".into(),
        })
    }

    /// Asks AWS a fact, at `now`.
    ///
    /// # Errors
    /// If AWS refuses, cannot be reached, or does not know the thing.
    pub async fn ask(&self, fact: &Fact, now: Timestamp) -> Result<Answer, CloudError> {
        match fact {
            Fact::Type { region, name } => self.instance_type(region, name).await.map(Answer::Type),
            Fact::Image { region, id } => self.image(region, id).await.map(Answer::Image),
            Fact::Parameter { region, path } => {
                self.parameter(region, path).await.map(Answer::Name)
            }
            Fact::Zones {
                region,
                instance_type,
            } => self.zones(region, instance_type).await.map(Answer::Zones),
            Fact::Price {
                region,
                instance_type,
                market,
            } => self
                .prices(region, instance_type, *market, now)
                .await
                .map(Answer::Price),
            Fact::AgentProfile => self.ensure_agent_profile().await.map(Answer::Name),
        }
    }

    /// Counts a call and translates its failure.
    fn done<T, E>(
        &self,
        call: &'static str,
        region: &str,
        result: Result<T, aws_sdk_ec2::error::SdkError<E>>,
    ) -> Result<T, CloudError>
    where
        E: aws_sdk_ec2::error::ProvideErrorMetadata + std::error::Error + 'static,
    {
        let result = result.map_err(|error| error::translate(call, region, &error));
        self.metrics.aws_call(call, region, result.as_ref().err());
        match &result {
            // A question whether something is there: "no" is an answer, not a failure.
            Err(error) if error.code.as_deref() == Some("NoSuchEntity") => {}
            Err(error) => tracing::warn!(
                call,
                region,
                class = ?error.class,
                code = error.code.as_deref(),
                "{}",
                error.message
            ),
            Ok(_) => {}
        }
        result
    }
}

fn in_region(base: &SdkConfig, region: &str) -> SdkConfig {
    base.to_builder()
        .region(Region::new(region.to_owned()))
        .build()
}
