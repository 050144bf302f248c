//! EC2 as an array or a sweep meets it: bulk launches with client tokens and launch indexes, partial
//! fulfilment, and lists that show what was true a while ago.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use spore_controller::cloud::{Class, CloudError, Instance, InstanceState};
use spore_core::{
    lifecycle::EndReason,
    tags::{Identity, Report, WorkloadPhase},
};
use spore_crds::Batch;

/// How the next RunInstances call goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum NextCall {
    #[default]
    Works,
    /// Takes effect, but its answer is lost.
    ReplyLost,
    /// Has no effect, and no answer comes.
    NeverArrives,
    Refused(Class, &'static str),
}

/// An instance with all that it ever was: lists show an older state.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) now: Instance,
    past: Vec<(Timestamp, Instance)>,
    changed: Timestamp,
}

/// EC2, and what may never happen in it.
#[derive(Debug, Default)]
pub(crate) struct Cloud {
    pub(crate) machines: Vec<Machine>,
    pub(crate) next: NextCall,
    /// How many more instances each zone has; a zone that is not named has enough.
    pub(crate) free: BTreeMap<String, u32>,
    /// How many more instances there are in all.
    pub(crate) free_anywhere: Option<u32>,
    pub(crate) calls: u32,
    /// Members of each call that was answered, by token.
    pub(crate) tokens: BTreeMap<String, (Vec<String>, String)>,
    /// Indexes and attempts that ever had an instance.
    pub(crate) had: BTreeSet<(u32, u32)>,
    pub(crate) broken: Option<String>,
}

fn error(class: Class, code: &str, region: &str) -> CloudError {
    CloudError {
        call: "RunInstances",
        region: region.to_owned(),
        class,
        code: Some(code.to_owned()),
        message: "as told".into(),
    }
}

impl Cloud {
    pub(crate) fn live(&self) -> impl Iterator<Item = &Instance> {
        let machines = self.machines.iter().map(|machine| &machine.now);
        machines.filter(|instance| instance.state.is_live())
    }

    /// A RunInstances call, as it really goes and as it is answered.
    pub(crate) fn run(
        &mut self,
        batch: &Batch,
        now: Timestamp,
    ) -> Result<Vec<Instance>, CloudError> {
        self.calls += 1;
        let region = batch.plan.region.clone();
        match std::mem::take(&mut self.next) {
            NextCall::Works => self.execute(batch, now),
            NextCall::ReplyLost => {
                let _ = self.execute(batch, now);
                Err(error(Class::Unclear, "", &region))
            }
            NextCall::NeverArrives => Err(error(Class::Unclear, "", &region)),
            NextCall::Refused(class, code) => Err(error(class, code, &region)),
        }
    }

    fn execute(&mut self, batch: &Batch, now: Timestamp) -> Result<Vec<Instance>, CloudError> {
        let what = format!("{:?}/{}", batch.members, batch.attempt);
        if let Some((ids, before)) = self.tokens.get(&batch.token) {
            if *before != what {
                self.broken = Some(format!("one token for {before} and {what}"));
            }
            let known = self.machines.iter().map(|machine| &machine.now);
            return Ok(known.filter(|i| ids.contains(&i.id)).cloned().collect());
        }
        let zone = batch.plan.zone.clone().unwrap_or_else(|| "any".into());
        let most = batch.members.len();
        let free = self.free.get(&zone).copied().unwrap_or(most);
        let count = most.min(free).min(self.free_anywhere.unwrap_or(most));
        if count < batch.min_count.max(1) {
            let code = "InsufficientInstanceCapacity";
            return Err(error(Class::Capacity, code, &batch.plan.region));
        }
        for left in [self.free.get_mut(&zone), self.free_anywhere.as_mut()] {
            if let Some(left) = left {
                *left -= count;
            }
        }
        let identity = Identity::from_tags(&batch.plan.tags).expect("ours");
        let mut given = Vec::new();
        for index in batch.members.first(count).iter() {
            if !self.had.insert((index, batch.attempt)) {
                self.broken = Some(format!(
                    "index {index} attempt {} launched twice",
                    batch.attempt
                ));
            }
            let number = self.machines.len() + 1;
            let instance = Instance {
                id: format!("i-{number}"),
                region: batch.plan.region.clone(),
                state: InstanceState::Pending,
                state_reason: None,
                instance_type: batch.plan.instance_type.clone(),
                zone: Some(zone.clone()),
                image_id: Some(batch.plan.image_id.clone()),
                private_ip: Some(format!("10.0.{}.{}", number / 250, number % 250)),
                public_ip: None,
                launched_at: Some(now),
                client_token: Some(batch.token.clone()),
                identity: identity.clone(),
                report: Report::default(),
                member: Some(index),
                market: batch.plan.market,
                peers: None,
                keep: false,
            };
            given.push(instance.clone());
            self.machines.push(Machine {
                past: vec![(now, instance.clone())],
                now: instance,
                changed: now,
            });
        }
        let ids = given.iter().map(|i| i.id.clone()).collect();
        self.tokens.insert(batch.token.clone(), (ids, what));
        Ok(given)
    }

    /// What a list shows that is begun now and lags.
    pub(crate) fn list(&self, region: &str, now: Timestamp, lag: SignedDuration) -> Vec<Instance> {
        let shown = self.machines.iter().filter(|machine| {
            let gone = machine.now.state == InstanceState::Terminated;
            let long = now.duration_since(machine.changed) > SignedDuration::from_hours(1);
            machine.now.region == region && !(gone && long)
        });
        shown
            .filter_map(|machine| {
                let mut past = machine.past.iter().rev();
                let seen = past.find(|(at, _)| now.duration_since(*at) >= lag);
                seen.map(|(_, instance)| instance.clone())
            })
            .collect()
    }

    pub(crate) fn change(&mut self, id: &str, at: Timestamp, change: impl FnOnce(&mut Instance)) {
        let machine = self.machines.iter_mut().find(|m| m.now.id == id);
        if let Some(machine) = machine {
            machine.change(at, change);
        }
    }

    /// TerminateInstances.
    pub(crate) fn terminate(&mut self, id: &str, at: Timestamp) {
        self.change(id, at, |instance| {
            if instance.state.is_live() {
                instance.state = InstanceState::ShuttingDown;
                instance.state_reason = Some("Client.UserInitiatedShutdown".into());
            }
        });
    }

    /// Goes on by itself: what is pending runs, what is going is gone, and the operating system's timer
    /// ends what is over time.
    pub(crate) fn tick(&mut self, at: Timestamp) {
        for machine in &mut self.machines {
            let next = match machine.now.state {
                InstanceState::Pending => InstanceState::Running,
                InstanceState::ShuttingDown => InstanceState::Terminated,
                _ => continue,
            };
            machine.change(at, |instance| instance.state = next);
        }
        for machine in &mut self.machines {
            let over = machine.now.identity.deadline.is_some_and(|deadline| {
                at.duration_since(deadline) > SignedDuration::from_secs(300)
            });
            if over && machine.now.state.is_live() {
                machine.change(at, |instance| {
                    instance.state = InstanceState::ShuttingDown;
                    instance.state_reason = Some("Client.InstanceInitiatedShutdown".into());
                });
            }
        }
    }

    /// The agent of an instance tells how the workload ended, and ends the instance.
    pub(crate) fn works(&mut self, id: &str, at: Timestamp, exit_code: i32) {
        self.change(id, at, |instance| {
            if instance.state != InstanceState::Running || instance.report.finished_at.is_some() {
                return;
            }
            let phase = if exit_code == 0 {
                WorkloadPhase::Succeeded
            } else {
                WorkloadPhase::Failed
            };
            instance.report = Report {
                reported_at: Some(at),
                phase: Some(phase),
                finished_at: Some(at),
                exit_code: Some(exit_code),
                end_reason: Some(EndReason::Completed),
                ended_at: Some(at),
                ..Report::default()
            };
            instance.state = InstanceState::ShuttingDown;
            instance.state_reason = Some("Client.InstanceInitiatedShutdown".into());
        });
    }

    /// The agent of an instance reports that it runs.
    pub(crate) fn reports(&mut self, id: &str, at: Timestamp) {
        self.change(id, at, |instance| {
            if instance.state == InstanceState::Running && instance.report.reported_at.is_none() {
                instance.report.reported_at = Some(at);
                instance.report.phase = Some(WorkloadPhase::Running);
            }
        });
    }

    /// Something else ends an instance.
    pub(crate) fn dies(&mut self, id: &str, at: Timestamp, code: &str) {
        self.change(id, at, |instance| {
            if instance.state.is_live() {
                instance.state = InstanceState::ShuttingDown;
                instance.state_reason = Some(code.to_owned());
            }
        });
    }
}

impl Machine {
    fn change(&mut self, at: Timestamp, change: impl FnOnce(&mut Instance)) {
        let before = self.now.clone();
        change(&mut self.now);
        if self.now != before {
            self.past.push((at, self.now.clone()));
            self.changed = at;
        }
    }
}
