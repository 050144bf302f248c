//! A little EC2 in memory, and the controller's loop over it, without any I/O.
//!
//! The planner, the world and the limiter's absence are the shipping ones; only the calls are replaced.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use spore_controller::{
    cloud::{Architecture, Class, CloudError, ImageFacts, Instance, InstanceState, TypeFacts},
    facts::{Answer, Fact},
    plan::{Action, LaunchOutcome, Plan, instance},
    price::{Prices, Rates},
    settings::{AgentSource, Settings},
    world::{Owner, World},
};
use spore_core::{
    duration::Duration,
    money::Usd,
    tags::{Identity, Report},
};
use spore_crds::{Launch, Market, SporeInstance, SporeInstanceSpec};

pub(crate) const REGION: &str = "us-east-1";

pub(crate) fn settings() -> Settings {
    Settings {
        cluster_uid: "cluster".into(),
        regions: vec![REGION.into()],
        agent: AgentSource {
            url: "https://agents/{region}/{arch}".into(),
            sha256: BTreeMap::from([("x86_64".into(), "a".repeat(64))]),
        },
        instance_profile: None,
        allowed_instance_profiles: Vec::new(),
        default_ttl: Duration::from_secs(86_400),
        default_ttl_idle: Duration::from_secs(7 * 86_400),
        deadline_grace: Duration::from_secs(60),
        power_off_grace: Duration::from_secs(300),
        absence: std::time::Duration::from_secs(300),
    }
}

pub(crate) fn start() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a time")
}

pub(crate) fn spore(change: impl FnOnce(&mut SporeInstanceSpec)) -> SporeInstance {
    let mut spec: SporeInstanceSpec =
        serde_json::from_value(serde_json::json!({ "instanceType": "m7i.large", "ttl": "1h" }))
            .expect("a spec");
    change(&mut spec);
    SporeInstance {
        metadata: ObjectMeta {
            name: Some("train".into()),
            namespace: Some("default".into()),
            uid: Some("uid-1".into()),
            generation: Some(1),
            finalizers: Some(vec![spore_crds::FINALIZER.into()]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

pub(crate) fn failure(call: &'static str, class: Class, code: &str) -> CloudError {
    CloudError {
        call,
        region: REGION.into(),
        class,
        code: Some(code.into()),
        message: "as told".into(),
    }
}

/// How the next RunInstances call goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NextRun {
    Works,
    /// Takes effect, but its answer is lost.
    ReplyLost,
    /// Has no effect, and no answer comes.
    NeverArrives,
    Refused(Class, &'static str),
}

/// What AWS does when it is asked a price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PriceDesk {
    Answers,
    Refuses,
    Silent,
}

/// EC2, as far as money is lost in it.
#[derive(Debug, Default)]
pub(crate) struct Ec2 {
    pub(crate) instances: Vec<(Instance, Timestamp)>,
    pub(crate) runs: u32,
    pub(crate) terminates: u32,
    pub(crate) most_live: usize,
}

impl Ec2 {
    pub(crate) fn live(&self) -> usize {
        self.instances
            .iter()
            .filter(|(instance, _)| instance.state.is_live())
            .count()
    }

    fn run(&mut self, launch: &Launch, now: Timestamp) -> Instance {
        self.runs += 1;
        let known = self
            .instances
            .iter()
            .find(|(i, _)| i.client_token.as_deref() == Some(&launch.token));
        if let Some((instance, _)) = known {
            return instance.clone();
        }
        let instance = Instance {
            id: format!("i-{}", self.instances.len() + 1),
            region: REGION.into(),
            state: InstanceState::Pending,
            state_reason: None,
            instance_type: launch.plan.instance_type.clone(),
            market: launch.plan.market,
            zone: Some("us-east-1a".into()),
            image_id: Some(launch.plan.image_id.clone()),
            private_ip: Some("10.0.0.1".into()),
            public_ip: None,
            launched_at: Some(now),
            client_token: Some(launch.token.clone()),
            identity: Identity::from_tags(&launch.plan.tags).expect("ours"),
            report: Report::default(),
            member: None,
            peers: None,
            keep: false,
        };
        self.instances.push((instance.clone(), now));
        self.most_live = self.most_live.max(self.live());
        instance
    }

    /// Goes on by itself: what is pending runs, what is going is gone.
    pub(crate) fn tick(&mut self) {
        for (instance, _) in &mut self.instances {
            instance.state = match instance.state {
                InstanceState::Pending => InstanceState::Running,
                InstanceState::ShuttingDown => InstanceState::Terminated,
                InstanceState::Stopping => InstanceState::Stopped,
                other @ (InstanceState::Running
                | InstanceState::Stopped
                | InstanceState::Terminated
                | InstanceState::Unknown) => other,
            };
        }
    }

    pub(crate) fn only(&mut self) -> &mut Instance {
        assert_eq!(self.instances.len(), 1);
        &mut self.instances[0].0
    }
}

/// The controller's loop over [`Ec2`]: what `reconcile` does, with the calls replaced.
pub(crate) struct Loop {
    pub(crate) settings: Settings,
    pub(crate) world: World,
    pub ec2: Ec2,
    pub(crate) now: Timestamp,
    pub(crate) spore: SporeInstance,
    pub(crate) released: bool,
    pub(crate) next_run: NextRun,
    pub(crate) notes: Vec<&'static str>,
    /// How old an instance is before lists show it.
    pub(crate) lag: SignedDuration,
    pub(crate) writes: u32,
    /// What AWS does when it is asked a price.
    pub(crate) prices: PriceDesk,
    pub(crate) price_calls: u32,
    /// When the latest plan wants to be looked at again.
    wake: Option<Timestamp>,
}

impl Loop {
    pub(crate) fn new(spore: SporeInstance) -> Self {
        Self {
            settings: settings(),
            world: World::default(),
            ec2: Ec2::default(),
            now: start(),
            spore,
            released: false,
            next_run: NextRun::Works,
            notes: Vec::new(),
            lag: SignedDuration::ZERO,
            writes: 0,
            prices: PriceDesk::Answers,
            price_calls: 0,
            wake: None,
        }
    }

    pub(crate) fn pass_time(&mut self, seconds: i64) -> &mut Self {
        self.now += SignedDuration::from_secs(seconds);
        self
    }

    /// The inventory lists the region.
    pub(crate) fn list(&mut self) -> &mut Self {
        self.list_changes();
        self
    }

    fn list_changes(&mut self) -> Vec<Owner> {
        let shown = self
            .ec2
            .instances
            .iter()
            .filter(|(_, launched)| self.now.duration_since(*launched) >= self.lag)
            .map(|(instance, _)| instance.clone())
            .collect();
        self.world
            .listed(REGION, shown, self.now, self.settings.absence)
    }

    /// Lets time go by as it does for the controller: it looks again when its plan said so, or when a
    /// list shows a change, and at no other time.
    pub(crate) fn live_on(&mut self, minutes: u32) -> &mut Self {
        self.settle();
        for _ in 0..minutes * 6 {
            self.pass_time(10);
            self.ec2.tick();
            let changed = !self.list_changes().is_empty();
            if changed || self.wake.is_some_and(|wake| wake <= self.now) {
                self.settle();
            }
        }
        self
    }

    /// The process dies: what it knew is gone, what it stored stays.
    pub(crate) fn crash(&mut self) -> &mut Self {
        self.world = World::default();
        self
    }

    pub(crate) fn delete(&mut self) -> &mut Self {
        self.spore.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now),
        );
        self
    }

    pub(crate) fn plan(&self) -> Plan {
        self.world.view(&self.spore, &self.settings, |view| {
            instance::plan(&self.spore, view, &self.settings, self.now)
        })
    }

    /// One round: plan and store, and carry out `most` of the actions. `None` once it is settled.
    pub(crate) fn round(&mut self, most: usize) -> Option<()> {
        if self.released {
            return None;
        }
        let Plan {
            status,
            hold,
            actions,
            wake,
        } = self.plan();
        self.wake = wake;
        if !hold {
            self.released = true;
            return None;
        }
        let stored = self.spore.status.as_ref() != Some(&status);
        if stored {
            self.writes += 1;
            let token = |s: Option<&spore_crds::SporeInstanceStatus>| {
                s.and_then(|s| s.launch.as_ref()).map(|l| l.token.clone())
            };
            let (before, after) = (token(self.spore.status.as_ref()), token(Some(&status)));
            self.spore.status = Some(status);
            if let Some(after) = after.filter(|after| before.as_ref() != Some(after)) {
                self.world.decided(&after);
            }
        }
        let mut again = stored;
        for action in actions.into_iter().take(most) {
            again |= self.act(action);
        }
        again.then_some(())
    }

    /// Rounds until nothing more is to be done now.
    pub(crate) fn settle(&mut self) -> &mut Self {
        for _ in 0..12 {
            if self.round(usize::MAX).is_none() {
                return self;
            }
        }
        panic!("did not settle: {:#?}", self.plan());
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Learn(fact) => {
                if fact.is_beside() {
                    self.ask_beside(fact);
                    return false;
                }
                let answer = answer_of(&fact, self.now);
                self.world.learned(fact, answer, self.now);
                true
            }
            Action::Launch(launch) => {
                self.launch(&launch);
                true
            }
            Action::Terminate {
                region,
                instance_id,
            } => {
                self.ec2.terminates += 1;
                let now = self.now;
                for (instance, _) in &mut self.ec2.instances {
                    if instance.id == instance_id && instance.state.is_live() {
                        instance.state = InstanceState::ShuttingDown;
                        instance.state_reason = Some("Client.UserInitiatedShutdown".into());
                    }
                }
                self.world.change(&region, &instance_id, now, |i| {
                    i.state = InstanceState::ShuttingDown;
                })
            }
            Action::Stop {
                region,
                instance_id,
            } => {
                for (instance, _) in &mut self.ec2.instances {
                    if instance.id == instance_id {
                        instance.state = InstanceState::Stopping;
                    }
                }
                self.world.change(&region, &instance_id, self.now, |i| {
                    i.state = InstanceState::Stopping;
                })
            }
            Action::MoveDeadline {
                region,
                instance_id,
                deadline,
            } => {
                for (instance, _) in &mut self.ec2.instances {
                    if instance.id == instance_id {
                        instance.identity.deadline = Some(deadline);
                    }
                }
                self.world.change(&region, &instance_id, self.now, |i| {
                    i.identity.deadline = Some(deadline);
                })
            }
            Action::Note(note) => {
                self.notes.push(note.reason);
                false
            }
        }
    }

    fn ask_beside(&mut self, fact: Fact) {
        if !self.world.ask_beside(&fact, self.now) {
            return;
        }
        self.price_calls += 1;
        let answer = match &self.prices {
            PriceDesk::Answers => answer_of(&fact, self.now),
            PriceDesk::Refuses => Err(failure(
                "GetProducts",
                Class::Denied,
                "AccessDeniedException",
            )),
            PriceDesk::Silent => return,
        };
        self.world.learned(fact, answer, self.now);
    }

    fn launch(&mut self, launch: &Launch) {
        let before = self.world.calling(&launch.token, self.now);
        let unclear = || failure("RunInstances", Class::Unclear, "");
        let result = match std::mem::replace(&mut self.next_run, NextRun::Works) {
            NextRun::Works => Ok(self.ec2.run(launch, self.now)),
            NextRun::ReplyLost => {
                self.ec2.run(launch, self.now);
                Err(unclear())
            }
            NextRun::NeverArrives => Err(unclear()),
            NextRun::Refused(class, code) => Err(failure("RunInstances", class, code)),
        };
        let outcome = match result {
            Ok(instance) => {
                let instance_id = instance.id.clone();
                self.world.saw(instance, self.now);
                LaunchOutcome::Launched {
                    instance_ids: vec![instance_id],
                }
            }
            Err(error) => LaunchOutcome::Failed {
                error,
                at: self.now,
            },
        };
        self.world.called(&launch.token, before, outcome);
    }

    pub(crate) fn condition(&self, type_: &str) -> (String, String) {
        let status = self.status();
        let condition = spore_crds::conditions::get(&status.conditions, type_).expect("it is told");
        (condition.status.clone(), condition.reason.clone())
    }

    /// Whether price and cost are told, if there is an instance.
    pub(crate) fn is_priced(&self) -> bool {
        let status = self.status();
        let launched = status.instance.as_ref().and_then(|i| i.launched_at);
        launched.is_none()
            || status.ended.is_some()
            || (status.price.is_some() && status.cost.is_some())
    }

    pub(crate) fn status(&self) -> &spore_crds::SporeInstanceStatus {
        self.spore.status.as_ref().expect("a round was made")
    }
}

pub(crate) fn answer_of(fact: &Fact, now: Timestamp) -> Result<Answer, CloudError> {
    match fact {
        Fact::Zones { region, .. } => {
            let zones = ["a", "b", "c"].into_iter();
            Ok(Answer::Zones(
                zones.map(|zone| format!("{region}{zone}")).collect(),
            ))
        }
        Fact::Type { name, .. } if name == "x9.none" => Err(failure(
            "DescribeInstanceTypes",
            Class::Invalid,
            "InvalidInstanceType",
        )),
        Fact::Type { name, .. } => Ok(Answer::Type(TypeFacts {
            architecture: Architecture::X86_64,
            nvidia: name.starts_with("g5."),
            spot: !name.starts_with("mac"),
            on_demand: true,
        })),
        Fact::Image { id, .. } => Ok(Answer::Image(ImageFacts {
            id: id.clone(),
            architecture: if id == "ami-00000000000000a64" {
                "arm64"
            } else {
                "x86_64"
            }
            .into(),
            root_device: "/dev/xvda".into(),
        })),
        Fact::Parameter { path, .. } => {
            let gpu = path.contains("/deeplearning/");
            Ok(Answer::Name(
                if gpu {
                    "ami-00000000000000009"
                } else {
                    "ami-00000000000000001"
                }
                .into(),
            ))
        }
        Fact::Price { market, .. } => Ok(Answer::Price(Prices {
            rates: match market {
                Market::OnDemand => Rates::Everywhere(Usd::from_micros(3_600_000)),
                Market::Spot => Rates::ByZone(BTreeMap::from([
                    ("us-east-1a".to_owned(), Usd::from_micros(360_000)),
                    ("us-east-1b".to_owned(), Usd::from_micros(720_000)),
                ])),
            },
            as_of: now,
        })),
        Fact::AgentProfile => Ok(Answer::Name("spore-agent-x".into())),
    }
}
