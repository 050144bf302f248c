//! Client tokens of calls other than RunInstances: the same request gets the same answer again.

use super::Ctx;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::xml::Xml;

/// What a client token stands for.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    fingerprint: [u8; 32],
    answer: String,
}

/// The digest of a request without its token.
pub(crate) fn fingerprint(params: &Params) -> [u8; 32] {
    params.fingerprint(&["ClientToken", "DryRun", "Action", "Version"])
}

/// The refusal of a token that was used for another request.
pub(crate) fn mismatch() -> ApiError {
    let message = "Arguments on this idempotent request are inconsistent with arguments used in \
                   previous request(s).";
    ApiError::new("IdempotentParameterMismatch", message)
}

/// Answers a call with a client token once, and then with the same answer.
pub(crate) fn once(
    ctx: &mut Ctx<'_>,
    execute: impl FnOnce(&mut Ctx<'_>) -> ApiResult<Xml>,
) -> ApiResult<Xml> {
    let params = ctx.params();
    let Some(token) = params.str("ClientToken").filter(|token| !token.is_empty()) else {
        return execute(ctx);
    };
    let key = (ctx.call.action.clone(), token.to_owned());
    let fingerprint = fingerprint(params);
    if let Some(known) = ctx.region().replays.get(&key) {
        if known.fingerprint != fingerprint {
            return Err(mismatch());
        }
        params.settle();
        let mut xml = Xml::new();
        xml.raw(&known.answer);
        return Ok(xml);
    }
    let xml = execute(ctx)?;
    let replay = Replay {
        fingerprint,
        answer: xml.as_str().to_owned(),
    };
    ctx.local().region.replays.insert(key, replay);
    Ok(xml)
}
