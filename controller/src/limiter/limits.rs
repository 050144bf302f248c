//! Limits of an account that has had them raised, as the operator writes them.

use std::str::FromStr;

use super::{Call, Size};

/// The limits of one API: `RunInstances=requests:5/2,resources:1000/2`. What is left out is as EC2's
/// default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallLimits {
    pub(super) call: Call,
    pub(super) requests: Option<Size>,
    pub(super) resources: Option<Size>,
}

/// Why limits cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimits {
    /// No `=`.
    #[error("write the API and its limits, as RunInstances=requests:5/2,resources:1000/2")]
    NoApi,
    /// An API that has no bucket of its own here.
    #[error("{0:?} has no limits here: use one of {names}", names = names())]
    UnknownApi(String),
    /// Neither `requests` nor `resources`.
    #[error("{0:?} is no limit: write requests:BURST/RATE or resources:BURST/RATE")]
    UnknownLimit(String),
    /// Not `BURST/RATE`.
    #[error("{0:?}: write how many at once and how many more each second, both above 0, as 5/2")]
    NoSize(String),
    /// The API counts only requests.
    #[error("EC2 counts no resources for {0}: leave that out")]
    NoResources(&'static str),
    /// The same limit twice.
    #[error("the limits of {0} are given twice")]
    Twice(&'static str),
}

/// The APIs that can be named.
const APIS: [(&str, Call); 5] = [
    ("RunInstances", Call::Run),
    ("TerminateInstances", Call::Terminate),
    ("StopInstances", Call::Stop),
    ("CreateTags", Call::Tag),
    ("DescribeInstances", Call::Read),
];

fn names() -> String {
    APIS.map(|(name, _)| name).join(", ")
}

fn name(call: Call) -> &'static str {
    let found = APIS.iter().find(|(_, known)| *known == call);
    found.map_or("this API", |(name, _)| name)
}

/// Whether no API is named twice.
///
/// # Errors
/// [`InvalidLimits::Twice`].
pub fn check(all: &[CallLimits]) -> Result<(), InvalidLimits> {
    for (at, limits) in all.iter().enumerate() {
        if all[..at].iter().any(|earlier| earlier.call == limits.call) {
            return Err(InvalidLimits::Twice(name(limits.call)));
        }
    }
    Ok(())
}

impl FromStr for CallLimits {
    type Err = InvalidLimits;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (api, limits) = text.split_once('=').ok_or(InvalidLimits::NoApi)?;
        let call = APIS
            .iter()
            .find(|(name, _)| *name == api)
            .map(|(_, call)| *call)
            .ok_or_else(|| InvalidLimits::UnknownApi(api.to_owned()))?;
        let (mut requests, mut resources) = (None, None);
        for limit in limits.split(',') {
            let unknown = || InvalidLimits::UnknownLimit(limit.to_owned());
            let (what, size) = limit.split_once(':').ok_or_else(unknown)?;
            let before = match what {
                "requests" => requests.replace(parse(size)?),
                "resources" if call.resources().is_none() => {
                    return Err(InvalidLimits::NoResources(name(call)));
                }
                "resources" => resources.replace(parse(size)?),
                _ => return Err(unknown()),
            };
            if before.is_some() {
                return Err(InvalidLimits::Twice(name(call)));
            }
        }
        Ok(Self {
            call,
            requests,
            resources,
        })
    }
}

fn parse(text: &str) -> Result<Size, InvalidLimits> {
    let number = |text: &str| {
        let number = text.parse::<f64>().ok();
        number.filter(|number| number.is_finite())
    };
    let size = text.split_once('/').and_then(|(burst, rate)| {
        Some(Size {
            most: number(burst).filter(|burst| *burst >= 1.0)?,
            per_second: number(rate).filter(|rate| *rate > 0.0)?,
        })
    });
    size.ok_or_else(|| InvalidLimits::NoSize(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::limiter::Limiter;

    #[test]
    fn raised_limits_admit_more_and_leave_the_others_as_they_are() {
        let raised = "RunInstances=requests:7/2".parse().unwrap();
        let limiter = Limiter::new(&[raised]);
        let admitted = |call| {
            (0..1_000)
                .take_while(|_| limiter.take("r", call, 1, Timestamp::UNIX_EPOCH).is_ok())
                .count()
        };
        assert_eq!(admitted(Call::Run), 7);
        assert_eq!(admitted(Call::Terminate), 100);
        assert!(
            limiter
                .take("q", Call::Run, 1_000, Timestamp::UNIX_EPOCH)
                .is_ok()
        );
        assert!(
            limiter
                .take("q", Call::Run, 1, Timestamp::UNIX_EPOCH)
                .is_err()
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| text.parse::<CallLimits>().unwrap_err();
        assert_eq!(wrong("RunInstances"), InvalidLimits::NoApi);
        assert_eq!(
            wrong("RebootInstances=requests:1/1"),
            InvalidLimits::UnknownApi("RebootInstances".into())
        );
        assert_eq!(
            wrong("RunInstances=5/2"),
            InvalidLimits::UnknownLimit("5/2".into())
        );
        for size in ["5", "0/2", "5/0", "5/-1", "inf/1", "NaN/1", "/"] {
            assert_eq!(
                wrong(&format!("RunInstances=requests:{size}")),
                InvalidLimits::NoSize(size.into())
            );
        }
        assert_eq!(
            wrong("CreateTags=resources:5/2"),
            InvalidLimits::NoResources("CreateTags")
        );
        assert_eq!(
            wrong("RunInstances=requests:5/2,requests:5/2"),
            InvalidLimits::Twice("RunInstances")
        );
        let one: CallLimits = "RunInstances=requests:5/2".parse().unwrap();
        assert_eq!(check(&[one]), Ok(()));
        assert_eq!(
            check(&[one, one]),
            Err(InvalidLimits::Twice("RunInstances"))
        );
    }
}
