//! What AWS calls answer when they refuse: a documented code, a message and an HTTP status.

use std::borrow::Cow;

/// A refused API call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({status}): {message}")]
pub(crate) struct ApiError {
    /// The AWS error code, for example `InvalidInstanceID.NotFound`.
    pub(crate) code: Cow<'static, str>,
    /// The text for people.
    pub(crate) message: String,
    /// The HTTP status.
    pub(crate) status: u16,
}

/// What every API handler returns.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with the HTTP status that AWS documents for its code.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let code = code.into();
        let status = status_of(&code);
        Self {
            code,
            message: message.into(),
            status,
        }
    }

    /// The same error with another HTTP status.
    #[must_use]
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// `MissingParameter`: a required parameter is absent.
    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(
            "MissingParameter",
            format!("The request must contain the parameter {parameter}"),
        )
    }

    /// `InvalidParameterValue` for one parameter and the value it had.
    pub(crate) fn invalid(parameter: &str, value: &str, why: &str) -> Self {
        Self::new(
            "InvalidParameterValue",
            format!("Value ({value}) for parameter {parameter} is invalid. {why}"),
        )
    }

    /// `InvalidParameterCombination`.
    pub(crate) fn combination(why: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", why)
    }

    /// A `*.NotFound` code in the words that EC2 uses for ids.
    pub(crate) fn not_found(code: &'static str, kind: &str, id: &str) -> Self {
        Self::new(code, format!("The {kind} '{id}' does not exist"))
    }

    /// A `*.Malformed` code in the words that EC2 uses for ids.
    pub(crate) fn malformed(code: &'static str, id: &str) -> Self {
        Self::new(code, format!("Invalid id: \"{id}\""))
    }

    /// `DependencyViolation`: something else still uses the resource.
    pub(crate) fn dependency(kind: &str, id: &str) -> Self {
        Self::new(
            "DependencyViolation",
            format!("The {kind} '{id}' has dependencies and cannot be deleted."),
        )
    }

    /// A launch that finds no room anywhere.
    pub(crate) fn no_capacity() -> Self {
        Self::new(
            "InsufficientInstanceCapacity",
            "There is no capacity for this request.",
        )
    }

    /// What a successful dry run answers.
    pub(crate) fn dry_run() -> Self {
        Self::new(
            "DryRunOperation",
            "Request would have succeeded, but DryRun flag is set.",
        )
    }
}

fn status_of(code: &str) -> u16 {
    match code {
        "AuthFailure" => 401,
        "UnauthorizedOperation"
        | "MissingAuthenticationToken"
        | "AccessDenied"
        | "OptInRequired" => 403,
        "NoSuchEntity" => 404,
        "EntityAlreadyExists" | "DeleteConflict" | "LimitExceeded" => 409,
        "DryRunOperation" => 412,
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientAddressCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientVolumeCapacity"
        | "InsufficientCapacityOnHost"
        | "UnfulfillableCapacity"
        | "InternalError"
        | "InternalFailure" => 500,
        "RequestLimitExceeded" | "Unavailable" | "ServiceUnavailable" => 503,
        _ => 400,
    }
}
