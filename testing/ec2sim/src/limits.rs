//! EC2's documented token buckets: one for requests, and for some APIs one for resources.
//!
//! Every API is counted on its own, for each account and region.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::error::ApiError;

/// A bucket's size and refill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    /// Tokens in a full bucket.
    pub(crate) burst: f64,
    /// Tokens added each second.
    pub(crate) per_second: f64,
}

const fn rate(burst: f64, per_second: f64) -> Rate {
    Rate { burst, per_second }
}

/// The request bucket of an API.
pub(crate) fn request_rate(action: &str, unfiltered: bool) -> Rate {
    match action {
        "RunInstances" | "StartInstances" => rate(5.0, 2.0),
        "TerminateInstances"
        | "CreateLaunchTemplateVersion"
        | "ModifyInstanceMetadataOptions"
        | "CreateVolume"
        | "CreateNetworkInterface" => rate(100.0, 5.0),
        "CreateTags" | "DeleteTags" => rate(100.0, 10.0),
        "DescribeInstances"
        | "DescribeInstanceStatus"
        | "DescribeSecurityGroups"
        | "DescribeVolumes"
        | "DescribeSpotInstanceRequests"
        | "DescribeNetworkInterfaces"
        | "DescribeSnapshots"
            if unfiltered =>
        {
            rate(50.0, 10.0)
        }
        _ if is_read(action) => rate(100.0, 20.0),
        _ => rate(50.0, 5.0),
    }
}

/// The resource bucket of an API, where it has one.
pub(crate) fn resource_rate(action: &str) -> Option<Rate> {
    match action {
        "RunInstances" | "StartInstances" => Some(rate(1000.0, 2.0)),
        "StopInstances" | "TerminateInstances" => Some(rate(1000.0, 20.0)),
        _ => None,
    }
}

/// Whether an API only reads.
pub(crate) fn is_read(action: &str) -> bool {
    ["Describe", "Get", "List", "Search"]
        .iter()
        .any(|prefix| action.starts_with(prefix))
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// All buckets of all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    buckets: HashMap<String, Bucket>,
}

impl Limits {
    /// Takes the token of one request.
    pub(crate) fn take_request(
        &mut self,
        place: &str,
        action: &str,
        unfiltered: bool,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let rate = request_rate(action, unfiltered);
        // Lists without filter or pages have a bucket apart from the same API with them.
        let apart = if unfiltered { "/unfiltered" } else { "" };
        self.take(format!("{place}/{action}{apart}"), rate, 1.0, now)
    }

    /// Takes the tokens of the resources that a call acts on.
    pub(crate) fn take_resources(
        &mut self,
        place: &str,
        action: &str,
        count: usize,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(rate) = resource_rate(action) else {
            return Ok(());
        };
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.take(format!("{place}/{action}/resources"), rate, count, now)
    }

    fn take(
        &mut self,
        key: String,
        rate: Rate,
        count: f64,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let bucket = self.buckets.entry(key).or_insert(Bucket {
            tokens: rate.burst,
            at: now,
        });
        let seconds = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + seconds * rate.per_second).min(rate.burst);
        bucket.at = now;
        if bucket.tokens < count {
            return Err(ApiError::new(
                "RequestLimitExceeded",
                "Request limit exceeded.",
            ));
        }
        bucket.tokens -= count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).expect("in range")
    }

    #[test]
    fn five_launches_at_once_then_two_a_second() {
        let mut limits = Limits::default();
        for _ in 0..5 {
            limits
                .take_request("a/r", "RunInstances", false, at(0))
                .expect("within the burst");
        }
        assert!(
            limits
                .take_request("a/r", "RunInstances", false, at(0))
                .is_err()
        );
        assert!(
            limits
                .take_request("a/r", "RunInstances", false, at(499))
                .is_err()
        );
        limits
            .take_request("a/r", "RunInstances", false, at(500))
            .expect("refilled");
    }

    #[test]
    fn one_api_does_not_starve_another_nor_one_region_another() {
        let mut limits = Limits::default();
        for _ in 0..100 {
            limits
                .take_request("a/r", "DescribeVpcs", false, at(0))
                .expect("within the burst");
        }
        assert!(
            limits
                .take_request("a/r", "DescribeVpcs", false, at(0))
                .is_err()
        );
        limits
            .take_request("a/r", "DescribeSubnets", false, at(0))
            .expect("its own bucket");
        limits
            .take_request("a/q", "DescribeVpcs", false, at(0))
            .expect("its own region");
    }

    #[test]
    fn the_resource_bucket_counts_instances() {
        let mut limits = Limits::default();
        limits
            .take_resources("a/r", "RunInstances", 1000, at(0))
            .expect("within the burst");
        assert!(
            limits
                .take_resources("a/r", "RunInstances", 3, at(1000))
                .is_err()
        );
        limits
            .take_resources("a/r", "RunInstances", 2, at(1000))
            .expect("refilled");
    }
}
