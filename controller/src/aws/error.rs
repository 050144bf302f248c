//! AWS's error codes, each with its class. The one place that knows them.
//!
//! Codes: Amazon EC2 API Reference, "Error codes for the Amazon EC2 API".

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::cloud::{Class, CloudError};

/// Translates what the SDK returned.
pub(crate) fn translate<E>(
    call: &'static str,
    region: &str,
    error: &SdkError<E, HttpResponse>,
) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let region = region.to_owned();
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or_default().to_owned();
            let message = service.err().message().unwrap_or("no message").to_owned();
            let status = service.raw().status().as_u16();
            let class = classify(&code, &message, status);
            CloudError {
                call,
                region,
                class,
                code: Some(code),
                message,
            }
        }
        SdkError::ConstructionFailure(_) => CloudError {
            call,
            region,
            class: Class::Invalid,
            code: None,
            message: chain(error),
        },
        SdkError::DispatchFailure(_)
        | SdkError::TimeoutError(_)
        | SdkError::ResponseError(_)
        | _ => unanswered(call, region, chain(error)),
    }
}

/// No answer came. Without credentials the request never left; otherwise it may have taken effect.
fn unanswered(call: &'static str, region: String, message: String) -> CloudError {
    if message.to_lowercase().contains("credential") {
        tracing::debug!("{message}");
        let message = "no AWS credentials: none in the environment, a profile, a web identity (IRSA), Pod Identity or the instance's metadata".to_owned();
        return CloudError {
            call,
            region,
            class: Class::Denied,
            code: None,
            message,
        };
    }
    CloudError {
        call,
        region,
        class: Class::Unclear,
        code: None,
        message,
    }
}

/// What went wrong, and what was underneath, in words: no debug output, and not without end.
fn chain(error: &dyn std::error::Error) -> String {
    let words = std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    words.chars().take(300).collect()
}

/// The class of an error code.
pub(crate) fn classify(code: &str, message: &str, status: u16) -> Class {
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacityOnHost"
        | "InsufficientFreeAddressesInSubnet"
        | "InsufficientVolumeCapacity"
        | "InsufficientAddressCapacity"
        | "ReservationCapacityExceeded"
        | "SpotMaxPriceTooLow"
        | "UnfulfillableCapacity"
        | "Unsupported" => Class::Capacity,

        "VcpuLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "InstanceLimitExceeded"
        | "VolumeLimitExceeded"
        | "PendingVerification"
        | "ResourceLimitExceeded" => Class::Quota,

        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "EC2ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "TooManyRequestsException" => Class::Throttle,

        "UnauthorizedOperation"
        | "OptInRequired"
        | "AccessDenied"
        | "AccessDeniedException"
        | "Blocked"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "OperationNotPermitted" => Class::Denied,

        // A fresh instance profile is not known to EC2 for some seconds.
        "InvalidParameterValue" if message.contains("IAM Instance Profile") => Class::NotYetKnown,
        // A fresh instance is not known to every EC2 host for some seconds.
        "InvalidInstanceID.NotFound" => Class::NotFound,

        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable"
        | "RequestTimeout" => Class::Unclear,

        code if code.starts_with("AuthFailure") => Class::Denied,
        code if code.ends_with("NotFound")
            || code.ends_with(".Malformed")
            || code == "NoSuchEntity" =>
        {
            Class::Invalid
        }
        _ if status >= 500 => Class::Unclear,
        _ => Class::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_the_class_that_says_what_is_done() {
        for (code, message, status, class) in [
            ("InsufficientInstanceCapacity", "", 500, Class::Capacity),
            ("VcpuLimitExceeded", "", 400, Class::Quota),
            ("RequestLimitExceeded", "", 503, Class::Throttle),
            ("UnauthorizedOperation", "", 403, Class::Denied),
            (
                "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
                "",
                403,
                Class::Denied,
            ),
            ("InvalidSubnetID.NotFound", "", 400, Class::Invalid),
            ("InvalidAMIID.Malformed", "", 400, Class::Invalid),
            (
                "InvalidParameterValue",
                "Invalid IAM Instance Profile name",
                400,
                Class::NotYetKnown,
            ),
            ("InvalidParameterValue", "key too long", 400, Class::Invalid),
            ("InternalError", "", 500, Class::Unclear),
            ("SomethingNew", "", 502, Class::Unclear),
            ("SomethingNew", "", 400, Class::Invalid),
        ] {
            assert_eq!(classify(code, message, status), class, "{code} {status}");
        }
    }
}
