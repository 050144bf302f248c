//! Faults that tests inject into calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::is_read;

/// A fault as tests write it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fault {
    /// The API it applies to, or `*`.
    pub(crate) action: String,
    /// Only calls with this access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) access_key: Option<String>,
    /// Only calls that change something.
    #[serde(default)]
    pub(crate) mutating_only: bool,
    /// How many matching calls pass first.
    #[serde(default)]
    pub(crate) skip: u64,
    /// How many calls it then applies to; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u64>,
    /// Only calls about this.
    #[serde(default, rename = "match")]
    pub(crate) subject: Subject,
    /// What it does.
    pub(crate) effect: Effect,
}

/// What a call is about. In a fault, absent parts match everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Subject {
    /// The instance type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance_type: Option<String>,
    /// The zone's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// `spot` or `on-demand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) market: Option<String>,
    /// The region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
}

impl Subject {
    fn covers(&self, call: &Self) -> bool {
        let same = |want: &Option<String>, have: &Option<String>| {
            want.as_ref().is_none_or(|want| {
                have.as_ref()
                    .is_some_and(|have| market_form(want) == market_form(have))
            })
        };
        same(&self.instance_type, &call.instance_type)
            && same(&self.zone, &call.zone)
            && same(&self.market, &call.market)
            && same(&self.region, &call.region)
    }
}

/// `OnDemand`, `on-demand` and `ON_DEMAND` are one; the other values have no such variants.
fn market_form(text: &str) -> String {
    if text.len() <= "on-demand".len() && !text.contains('.') {
        text.to_ascii_lowercase().replace(['-', '_'], "")
    } else {
        text.to_owned()
    }
}

/// What a fault does to a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "EffectForm", into = "EffectForm")]
pub(crate) enum Effect {
    /// Refuses the call.
    Error(ErrorForm),
    /// Refuses launches for want of capacity.
    Capacity(CapacityForm),
    /// Refuses the call as over the rate.
    Throttle,
    /// Executes the call, then closes the connection without a reply.
    LoseReply,
    /// Closes the connection without executing the call.
    Reset,
    /// Answers with this HTTP status and no AWS error.
    Status {
        /// The HTTP status.
        status: u16,
        /// Whether the call is executed first.
        after: bool,
    },
    /// Waits.
    Delay(DelayForm),
    /// Waits until released.
    Hold(HoldForm),
    /// Hides instances that were launched so recently.
    ListLag(LagForm),
}

impl Effect {
    /// Whether a call with this effect is never executed.
    fn ends_call(&self) -> bool {
        match self {
            Self::Error(_) | Self::Throttle | Self::Reset => true,
            Self::Status { after, .. } => !after,
            Self::Capacity(_)
            | Self::LoseReply
            | Self::Delay(_)
            | Self::Hold(_)
            | Self::ListLag(_) => false,
        }
    }
}

/// An error to answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorForm {
    /// The AWS code.
    pub(crate) code: String,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The HTTP status, when it is not the code's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
}

/// A want of capacity.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CapacityForm {
    /// The AWS code.
    #[serde(default = "default_capacity_code")]
    pub(crate) code: String,
    /// How many instances can still be launched.
    #[serde(default)]
    pub(crate) available: usize,
}

fn default_capacity_code() -> String {
    "InsufficientInstanceCapacity".to_owned()
}

/// A delay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DelayForm {
    /// Milliseconds.
    pub(crate) ms: u64,
    /// Whether the call is executed first.
    #[serde(default)]
    pub(crate) after_effect: bool,
}

/// When a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum When {
    /// Before it is executed.
    Before,
    /// After it was executed.
    After,
}

/// A hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldForm {
    /// Before or after execution.
    pub(crate) when: When,
}

/// A lag of lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LagForm {
    /// Milliseconds.
    pub(crate) ms: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// The JSON form of [`Effect`]: exactly one of these.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EffectForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity: Option<CapacityForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    throttle: Option<Empty>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lose_reply: Option<Empty>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset: Option<Empty>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_effect: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay: Option<DelayForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<HoldForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list_lag: Option<LagForm>,
}

impl TryFrom<EffectForm> for Effect {
    type Error = String;

    fn try_from(form: EffectForm) -> Result<Self, String> {
        let after = form.after_effect.unwrap_or(false);
        let mut found = [
            form.error.map(Self::Error),
            form.capacity.map(Self::Capacity),
            form.throttle.map(|_| Self::Throttle),
            form.lose_reply.map(|_| Self::LoseReply),
            form.reset.map(|_| Self::Reset),
            form.status.map(|status| Self::Status { status, after }),
            form.delay.map(Self::Delay),
            form.hold.map(Self::Hold),
            form.list_lag.map(Self::ListLag),
        ]
        .into_iter()
        .flatten();
        match (found.next(), found.next()) {
            (Some(effect), None) => Ok(effect),
            (None, _) => Err("a fault needs an effect".to_owned()),
            (Some(_), Some(_)) => Err("a fault has one effect; add one fault for each".to_owned()),
        }
    }
}

impl From<Effect> for EffectForm {
    fn from(effect: Effect) -> Self {
        let mut form = Self::default();
        match effect {
            Effect::Error(error) => form.error = Some(error),
            Effect::Capacity(capacity) => form.capacity = Some(capacity),
            Effect::Throttle => form.throttle = Some(Empty {}),
            Effect::LoseReply => form.lose_reply = Some(Empty {}),
            Effect::Reset => form.reset = Some(Empty {}),
            Effect::Status { status, after } => {
                form.status = Some(status);
                form.after_effect = Some(after);
            }
            Effect::Delay(delay) => form.delay = Some(delay),
            Effect::Hold(hold) => form.hold = Some(hold),
            Effect::ListLag(lag) => form.list_lag = Some(lag),
        }
        form
    }
}

/// A call as faults see it.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The API.
    pub(crate) action: &'a str,
    /// The caller.
    pub(crate) access_key: &'a str,
    /// What it is about, as far as the request says.
    pub(crate) subject: &'a Subject,
}

/// What capacity faults say about one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// The AWS code.
    pub(crate) code: String,
    /// How many instances can still be launched there.
    pub(crate) available: usize,
}

/// All faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    last: u64,
    active: BTreeMap<u64, Fault>,
}

impl Faults {
    /// Adds a fault and returns its id.
    pub(crate) fn add(&mut self, fault: Fault) -> u64 {
        self.last += 1;
        self.active.insert(self.last, fault);
        self.last
    }

    /// Removes one fault, or all; returns how many.
    pub(crate) fn remove(&mut self, id: Option<u64>) -> usize {
        match id {
            Some(id) => usize::from(self.active.remove(&id).is_some()),
            None => std::mem::take(&mut self.active).len(),
        }
    }

    /// The faults in force.
    pub(crate) fn list(&self) -> impl Iterator<Item = (u64, &Fault)> {
        self.active.iter().map(|(id, fault)| (*id, fault))
    }

    /// The effects on a call, in the order in which the faults were added; each is used once. One
    /// that ends the call is the last: those behind it are kept for the next call. Capacity is not
    /// among them: it depends on the pool, and [`Faults::shortage`] tells it.
    pub(crate) fn strike(&mut self, target: &Target<'_>) -> Vec<(u64, Effect)> {
        let mut effects = Vec::new();
        for (id, fault) in &mut self.active {
            if matches!(fault.effect, Effect::Capacity(_)) || !applies(fault, target) {
                continue;
            }
            if use_once(fault) {
                effects.push((*id, fault.effect.clone()));
                if fault.effect.ends_call() {
                    break;
                }
            }
        }
        effects
    }

    /// The tightest capacity fault on one pool.
    pub(crate) fn shortage(&self, target: &Target<'_>) -> Option<Shortage> {
        let found = self.active.iter().filter(|(_, fault)| {
            applies(fault, target) && fault.skip == 0 && fault.times != Some(0)
        });
        let shortages = found.filter_map(|(_, fault)| {
            let Effect::Capacity(CapacityForm { code, available }) = &fault.effect else {
                return None;
            };
            Some(Shortage {
                code: code.clone(),
                available: *available,
            })
        });
        shortages.min_by_key(|shortage| shortage.available)
    }

    /// Counts a launch call against the capacity faults on the pools it looked at, each fault
    /// once, and takes what it launched in each.
    pub(crate) fn consume(&mut self, pools: &[(Target<'_>, usize)]) {
        for fault in self.active.values_mut() {
            if !matches!(fault.effect, Effect::Capacity(_)) {
                continue;
            }
            let touched = pools.iter().filter(|(target, _)| applies(fault, target));
            let Some(launched) = touched.map(|(_, launched)| *launched).max() else {
                continue;
            };
            if use_once(fault)
                && let Effect::Capacity(capacity) = &mut fault.effect
            {
                capacity.available = capacity.available.saturating_sub(launched);
            }
        }
    }
}

fn applies(fault: &Fault, target: &Target<'_>) -> bool {
    (fault.action == "*" || fault.action == target.action)
        && fault
            .access_key
            .as_ref()
            .is_none_or(|key| key == target.access_key)
        && !(fault.mutating_only && is_read(target.action))
        && fault.subject.covers(target.subject)
}

fn use_once(fault: &mut Fault) -> bool {
    if fault.skip > 0 {
        fault.skip -= 1;
        return false;
    }
    match &mut fault.times {
        Some(0) => false,
        Some(times) => {
            *times -= 1;
            true
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(faults: &mut Faults, json: &str) {
        faults.add(serde_json::from_str(json).expect("a valid fault"));
    }

    fn strikes(faults: &mut Faults, action: &str) -> usize {
        let subject = Subject::default();
        faults
            .strike(&Target {
                action,
                access_key: "AKIA",
                subject: &subject,
            })
            .len()
    }

    #[test]
    fn skip_and_times_are_counted() {
        let mut faults = Faults::default();
        add(
            &mut faults,
            r#"{"action":"RunInstances","skip":1,"times":2,"effect":{"reset":{}}}"#,
        );
        let hits: Vec<usize> = (0..4)
            .map(|_| strikes(&mut faults, "RunInstances"))
            .collect();
        assert_eq!(hits, [0, 1, 1, 0]);
        assert_eq!(strikes(&mut faults, "StopInstances"), 0);
    }

    #[test]
    fn mutating_only_spares_reads() {
        let mut faults = Faults::default();
        add(
            &mut faults,
            r#"{"action":"*","mutatingOnly":true,"effect":{"status":503,"afterEffect":true}}"#,
        );
        assert_eq!(strikes(&mut faults, "DescribeInstances"), 0);
        assert_eq!(strikes(&mut faults, "TerminateInstances"), 1);
    }

    #[test]
    fn capacity_is_told_by_pool_and_used_up() {
        let mut faults = Faults::default();
        add(
            &mut faults,
            r#"{"action":"RunInstances","match":{"instanceType":"g5.xlarge","market":"OnDemand"},
                "effect":{"capacity":{"code":"InsufficientInstanceCapacity","available":3}}}"#,
        );
        let subject = Subject {
            instance_type: Some("g5.xlarge".into()),
            market: Some("on-demand".into()),
            ..Subject::default()
        };
        let target = Target {
            action: "RunInstances",
            access_key: "",
            subject: &subject,
        };
        assert_eq!(faults.shortage(&target).map(|s| s.available), Some(3));
        faults.consume(&[(target, 2)]);
        let target = Target {
            action: "RunInstances",
            access_key: "",
            subject: &subject,
        };
        assert_eq!(faults.shortage(&target).map(|s| s.available), Some(1));
        let spot = Subject {
            market: Some("spot".into()),
            ..subject.clone()
        };
        let target = Target {
            action: "RunInstances",
            access_key: "",
            subject: &spot,
        };
        assert_eq!(faults.shortage(&target), None);
    }

    #[test]
    fn an_effect_must_be_one_and_known() {
        for bad in [
            r#"{"action":"*","effect":{}}"#,
            r#"{"action":"*","effect":{"reset":{},"throttle":{}}}"#,
            r#"{"action":"*","effect":{"explode":{}}}"#,
            r#"{"action":"*","efect":{"reset":{}}}"#,
        ] {
            assert!(serde_json::from_str::<Fault>(bad).is_err(), "{bad}");
        }
    }
}
