//! Public parameters: the newest image of a kind.

use super::Aws;
use crate::{cloud::CloudError, facts::not_found};

impl Aws {
    pub(super) async fn parameter(&self, region: &str, path: &str) -> Result<String, CloudError> {
        const CALL: &str = "GetParameter";
        let ssm = &self.clients(CALL, region)?.ssm;
        let reply = ssm.get_parameter().name(path).send().await;
        let reply = self.done(CALL, region, reply)?;
        reply
            .parameter()
            .and_then(|parameter| parameter.value())
            .map(str::to_owned)
            .ok_or_else(|| {
                let message = format!("the public parameter {path} has no value in {region}");
                not_found(CALL, region, "ParameterNotFound", message)
            })
    }
}
