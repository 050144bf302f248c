//! Faults to inject into calls, in the words of a test.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Which calls a fault applies to; the last word says what it does to them:
/// `Fault::on("RunInstances").times(1).lose_reply()`.
#[derive(Clone, Debug)]
pub struct Fault(Map<String, Value>);

/// A fault that is complete.
#[derive(Clone, Debug)]
pub struct Injection(pub(crate) Value);

/// Whether something happens before or after a call has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The call is not executed yet.
    Before,
    /// The call was executed; its reply is still to come.
    After,
}

impl Fault {
    /// Calls of this API.
    pub fn on(action: &str) -> Self {
        Self(Map::from_iter([("action".to_owned(), json!(action))]))
    }

    /// Calls of every API.
    pub fn on_any() -> Self {
        Self::on("*")
    }

    /// Only calls that change something.
    pub fn mutating(self) -> Self {
        self.with("mutatingOnly", json!(true))
    }

    /// Only calls with this access key.
    pub fn by(self, access_key: &str) -> Self {
        self.with("accessKey", json!(access_key))
    }

    /// Only after so many matching calls have passed.
    pub fn skip(self, calls: u32) -> Self {
        self.with("skip", json!(calls))
    }

    /// Only so many times.
    pub fn times(self, calls: u32) -> Self {
        self.with("times", json!(calls))
    }

    /// Only calls about this instance type.
    pub fn instance_type(self, name: &str) -> Self {
        self.about("instanceType", name)
    }

    /// Only calls about this availability zone.
    pub fn zone(self, name: &str) -> Self {
        self.about("zone", name)
    }

    /// Only calls about this market: `spot` or `on-demand`.
    pub fn market(self, name: &str) -> Self {
        self.about("market", name)
    }

    /// Only calls in this region.
    pub fn region(self, name: &str) -> Self {
        self.about("region", name)
    }

    /// They are refused with this AWS error code.
    pub fn error(self, code: &str) -> Injection {
        self.effect(json!({"error": {"code": code}}))
    }

    /// They launch no more than so many instances, then are refused for want of capacity.
    pub fn capacity(self, available: u32) -> Injection {
        self.effect(
            json!({"capacity": {"code": "InsufficientInstanceCapacity", "available": available}}),
        )
    }

    /// They are refused as over the rate.
    pub fn throttle(self) -> Injection {
        self.effect(json!({"throttle": {}}))
    }

    /// They take effect, and the connection closes without a reply.
    pub fn lose_reply(self) -> Injection {
        self.effect(json!({"loseReply": {}}))
    }

    /// The connection closes, and they take no effect.
    pub fn reset(self) -> Injection {
        self.effect(json!({"reset": {}}))
    }

    /// They are answered with a bare HTTP status.
    pub fn status(self, status: u16, when: When) -> Injection {
        self.effect(json!({"status": status, "afterEffect": when == When::After}))
    }

    /// They take longer.
    pub fn delay(self, by: Duration, when: When) -> Injection {
        self.effect(json!({"delay": {"ms": by.as_millis(), "afterEffect": when == When::After}}))
    }

    /// They block until released (`Sim::release`) or until their client is gone.
    pub fn hold(self, when: When) -> Injection {
        let when = if when == When::After {
            "after"
        } else {
            "before"
        };
        self.effect(json!({"hold": {"when": when}}))
    }

    /// Instances launched less than this ago are not seen by them.
    pub fn list_lag(self, lag: Duration) -> Injection {
        self.effect(json!({"listLag": {"ms": lag.as_millis()}}))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    fn about(mut self, key: &str, value: &str) -> Self {
        self.0.entry("match").or_insert_with(|| json!({}))[key] = json!(value);
        self
    }

    fn effect(self, effect: Value) -> Injection {
        Injection(Value::Object(self.with("effect", effect).0))
    }
}
