//! An array or a sweep with its members in a little Kubernetes, over the EC2 of [`crate::group_cloud`].
//!
//! The planners and the world are the shipping ones. Objects have versions and old copies are refused;
//! members are seen through a watch that may lag; and the process may die before and after everything
//! that it does.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use spore_controller::{
    cloud::{Instance, InstanceState, Seek},
    plan::{
        Action, LaunchOutcome, RegionView,
        group::{
            self, Group, GroupAction, GroupPlan, GroupView,
            source::{self, MemberSpec, Source},
        },
        instance,
    },
    settings::Settings,
    world::{Known, World},
};
use spore_crds::{
    Batch, FINALIZER, GroupStatus, Row, RowResult, SporeArray, SporeInstance, SporeInstanceSpec,
    SporeSweep,
};

use crate::{
    group_cloud::Cloud,
    world::{REGION, answer_of, settings, start},
};

pub(crate) const OTHER_REGION: &str = "us-west-2";

/// Rows of a sweep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<SporeInstanceSpec>);

impl Source for Table {
    fn member(&self, index: u32) -> Result<MemberSpec<'_>, String> {
        let spec = self.0.get(index as usize).ok_or("no such row")?;
        Ok(MemberSpec {
            spec: Cow::Borrowed(spec),
            parameters: Row::new(),
            name: None,
        })
    }

    fn digest(&self, count: u32) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        for spec in self.0.iter().take(count as usize) {
            format!("{spec:?}").hash(&mut hasher);
        }
        (count as usize).min(self.0.len()).hash(&mut hasher);
        Some(format!("{:x}", hasher.finish()))
    }

    fn types(&self) -> Vec<(Option<String>, String)> {
        let types = self.0.iter();
        let types = types.map(|spec| (spec.region.clone(), spec.instance_type.clone()));
        types.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// An array or a sweep, as it is stored.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Array(Box<SporeArray>),
    Sweep(Box<SporeSweep>, Table),
}

impl Object {
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Group<'_>) -> T) -> T {
        match self {
            Self::Array(array) => look(&source::of_array(array)),
            Self::Sweep(sweep, rows) => {
                let size = u32::try_from(rows.0.len()).expect("few");
                look(&source::of_sweep(sweep, rows, size))
            }
        }
    }

    pub(crate) fn metadata(&mut self) -> &mut kube::api::ObjectMeta {
        match self {
            Self::Array(array) => &mut array.metadata,
            Self::Sweep(sweep, _) => &mut sweep.metadata,
        }
    }

    pub(crate) fn status(&mut self) -> &mut Option<GroupStatus> {
        match self {
            Self::Array(array) => &mut array.status,
            Self::Sweep(sweep, _) => &mut sweep.status,
        }
    }
}

/// Why a pass did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The process died.
    Died,
    /// Our copy was old.
    Old,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    pub(crate) object: T,
    pub(crate) version: u64,
}

pub(crate) struct Universe {
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
    pub(crate) ec2: Cloud,
    /// How old what lists show is.
    pub(crate) lag: SignedDuration,
    /// What Kubernetes holds.
    pub(crate) group: Stored<Object>,
    pub(crate) members: BTreeMap<String, Stored<SporeInstance>>,
    pub(crate) results: BTreeMap<u32, RowResult>,
    pub(crate) released: bool,
    versions: u64,
    /// What the watch has not told yet: names of members that changed.
    pub(crate) untold: VecDeque<String>,
    /// Members that the watch told of while a pass waited for it.
    pub(crate) told: BTreeSet<String>,
    /// Whether the watch tells of what was made while a pass waits for it.
    pub(crate) prompt: bool,
    /// What the process knows.
    pub(crate) world: World,
    pub(crate) copy: Stored<Object>,
    pub(crate) watched: BTreeMap<String, Stored<SporeInstance>>,
    /// Effects after which the process dies.
    pub(crate) fuel: Option<u32>,
    pub(crate) writes: u32,
    pub(crate) wake: Option<Timestamp>,
    pub(crate) notes: Vec<String>,
    /// The most instances that may live at once, and in one region.
    pub(crate) most: (u32, u32),
    pub(crate) broken: Option<String>,
}

impl Universe {
    pub(crate) fn new(mut object: Object) -> Self {
        let mut settings = settings();
        settings.regions = vec![REGION.into(), OTHER_REGION.into()];
        let metadata = object.metadata();
        metadata.name = Some("many".into());
        metadata.namespace = Some("default".into());
        metadata.uid = Some("group-uid".into());
        metadata.generation = Some(1);
        metadata.finalizers = Some(vec![FINALIZER.into()]);
        let most = object.look(|group| {
            (
                group.parallelism.unwrap_or(u32::MAX),
                group.parallelism_per_region.unwrap_or(u32::MAX),
            )
        });
        let group = Stored { object, version: 1 };
        Self {
            settings,
            now: start(),
            ec2: Cloud::default(),
            lag: SignedDuration::ZERO,
            copy: group.clone(),
            group,
            members: BTreeMap::new(),
            results: BTreeMap::new(),
            released: false,
            versions: 1,
            untold: VecDeque::new(),
            told: BTreeSet::new(),
            prompt: true,
            world: World::default(),
            watched: BTreeMap::new(),
            fuel: None,
            writes: 0,
            wake: None,
            notes: Vec::new(),
            most,
            broken: None,
        }
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let mut object = self.group.object.clone();
        object.status().clone().unwrap_or_default()
    }

    fn version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// Somebody changes the array or sweep.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Object)) {
        change(&mut self.group.object);
        let metadata = self.group.object.metadata();
        metadata.generation = metadata.generation.map(|generation| generation + 1);
        self.group.version = self.version();
    }

    /// Somebody deletes the array or sweep.
    pub(crate) fn delete(&mut self) {
        let now = self.now;
        self.edit(|object| {
            let metadata = object.metadata();
            metadata.deletion_timestamp.get_or_insert(Time(now));
        });
    }

    /// Somebody deletes a member.
    pub(crate) fn delete_member(&mut self, name: &str) {
        let (now, version) = (self.now, self.version());
        if let Some(member) = self.members.get_mut(name)
            && member.object.metadata.deletion_timestamp.is_none()
        {
            member.object.metadata.deletion_timestamp = Some(Time(now));
            member.version = version;
            self.untold.push_back(name.to_owned());
        }
    }

    /// The watch tells of the next changes.
    pub(crate) fn deliver(&mut self, most: usize) -> Vec<String> {
        let count = most.min(self.untold.len());
        let told = self.untold.drain(..count).collect::<Vec<_>>();
        for name in &told {
            match self.members.get(name) {
                Some(member) => self.watched.insert(name.clone(), member.clone()),
                None => self.watched.remove(name),
            };
        }
        told
    }

    /// The process dies, and another one starts.
    pub(crate) fn crash(&mut self) {
        self.world = World::default();
        self.watched = self.members.clone();
        self.untold.clear();
        self.copy = self.group.clone();
        self.fuel = None;
        self.wake = None;
    }

    /// The inventory lists a region; returns whether anything changed that concerns anybody.
    pub(crate) fn list(&mut self, region: &str) -> bool {
        let (gone, mut shown): (Vec<_>, Vec<_>) = self
            .ec2
            .list(region, self.now, self.lag)
            .into_iter()
            .partition(|instance| instance.state == InstanceState::Terminated);
        // What is gone is shown only to those who ask for it.
        let sought = self.world.missing(region, &shown);
        let asked = |instance: &Instance| {
            let token = instance.client_token.clone().unwrap_or_default();
            sought.contains(&Seek::Instance(instance.id.clone()))
                || sought.contains(&Seek::Launch(token))
        };
        shown.extend(gone.into_iter().filter(asked));
        let absence = self.settings.absence;
        !self
            .world
            .listed(region, shown, self.now, absence)
            .is_empty()
    }

    /// Something outside is about to happen, or has just happened.
    fn effect(&mut self) -> Result<(), Stop> {
        match &mut self.fuel {
            None => Ok(()),
            Some(0) => Err(Stop::Died),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn plan_copy(&mut self) -> GroupPlan {
        let (world, settings, now) = (&self.world, &self.settings, self.now);
        let watched = &self.watched;
        self.copy.object.look(|group| {
            world.group_view(group.kind, group.metadata, |known: &Known<'_>| {
                let regions = settings.regions.iter().map(|region| {
                    let view = known
                        .regions
                        .get(region)
                        .map(spore_controller::world::Region::view);
                    (region.clone(), view.unwrap_or_default())
                });
                let view = GroupView {
                    unreadable: Vec::new(),
                    taken: Vec::new(),
                    children: watched.values().map(|member| &member.object).collect(),
                    instances: known
                        .regions
                        .values()
                        .flat_map(|region| region.of(known.uid))
                        .collect(),
                    regions: regions.collect::<BTreeMap<_, RegionView>>(),
                    launches: known.launches,
                    problem: known.problem,
                    facts: known.facts,
                };
                group::plan(group, &view, settings, now)
            })
        })
    }

    /// What is planned for the array or sweep as it is stored, with nothing done.
    pub(crate) fn plan(&mut self) -> GroupPlan {
        self.copy = self.group.clone();
        self.plan_copy()
    }

    /// One round over the array or sweep from the copy that the process has.
    pub(crate) fn group_round(&mut self) -> Result<bool, Stop> {
        if self.released {
            return Ok(false);
        }
        let plan = self.plan_copy();
        self.wake = plan.wake;
        if !plan.hold {
            return self.release();
        }
        for row in plan.results {
            self.effect()?;
            self.results.insert(row.index, row);
        }
        let stored = self.copy.object.status().as_ref() != Some(&plan.status);
        if stored {
            self.store(plan.status)?;
        }
        let mut again = stored;
        let mut made = false;
        // Launches first, objects last, as the shipping loop does.
        let (launches, others) = split(plan.actions);
        for action in launches.into_iter().chain(others) {
            self.effect()?;
            made |= matches!(action, GroupAction::CreateMember(_));
            again |= self.act(action)?;
        }
        if made && self.prompt {
            let told = self.deliver(usize::MAX);
            self.told.extend(told);
        }
        Ok(again)
    }

    fn release(&mut self) -> Result<bool, Stop> {
        self.effect()?;
        if self.copy.version != self.group.version {
            return Err(Stop::Old);
        }
        self.released = true;
        // Kubernetes collects what it controlled.
        for name in self.members.keys().cloned().collect::<Vec<_>>() {
            self.delete_member(&name);
        }
        Ok(false)
    }

    fn store(&mut self, status: GroupStatus) -> Result<(), Stop> {
        self.effect()?;
        if self.copy.version != self.group.version {
            return Err(Stop::Old);
        }
        let before = self.status();
        self.check_status(&before, &status);
        let tokens = |status: &GroupStatus| {
            let batches = status.batches.iter();
            batches
                .map(|batch| batch.token.clone())
                .collect::<BTreeSet<_>>()
        };
        let new = tokens(&status)
            .difference(&tokens(&before))
            .cloned()
            .collect::<Vec<_>>();
        *self.group.object.status() = Some(status);
        self.group.version = self.version();
        self.writes += 1;
        self.effect()?;
        self.copy = self.group.clone();
        for token in new {
            self.world.decided(&token);
        }
        Ok(())
    }

    fn act(&mut self, action: GroupAction) -> Result<bool, Stop> {
        match action {
            GroupAction::Learn(fact) => {
                let told = answer_of(&fact, self.now);
                self.world.learned(fact, told, self.now);
                Ok(true)
            }
            GroupAction::Launch(batch) => {
                self.launch(&batch)?;
                Ok(true)
            }
            GroupAction::CreateMember(member) => {
                self.create(*member);
                self.effect()?;
                Ok(true)
            }
            GroupAction::DeleteMember { name, uid } => {
                let same = self.members.get(&name).map(|m| m.object.uid());
                if same == Some(Some(uid)) {
                    self.delete_member(&name);
                }
                Ok(false)
            }
            GroupAction::Extend { name, to } => {
                let version = self.version();
                if let Some(member) = self.members.get_mut(&name) {
                    member.object.spec.extend_to = Some(to);
                    member.version = version;
                    self.untold.push_back(name);
                }
                Ok(false)
            }
            GroupAction::Terminate {
                region,
                instance_ids,
            } => {
                for id in instance_ids {
                    self.terminate(&region, &id);
                }
                self.effect()?;
                Ok(true)
            }
            GroupAction::Tell { .. } => Ok(true),
            GroupAction::Seek { region, what } => {
                self.world.seek(&region, what);
                Ok(false)
            }
            GroupAction::Forget { token } => {
                self.world.closed(&token);
                Ok(false)
            }
            GroupAction::Note(note) => {
                self.notes.push(note.reason.to_owned());
                Ok(false)
            }
        }
    }

    fn terminate(&mut self, region: &str, id: &str) -> bool {
        self.ec2.terminate(id, self.now);
        self.world.change(region, id, self.now, |instance| {
            if instance.state.is_live() {
                instance.state = spore_controller::cloud::InstanceState::ShuttingDown;
            }
        })
    }

    fn launch(&mut self, batch: &Batch) -> Result<(), Stop> {
        let before = self.world.calling(&batch.token, self.now);
        let recorded = self.status().succeeded_indexes;
        let new = !self.ec2.tokens.contains_key(&batch.token);
        let answer = self.ec2.run(batch, self.now);
        if new && self.ec2.tokens.contains_key(&batch.token) {
            self.check_launch(batch, &recorded);
        }
        self.effect()?;
        let outcome = match answer {
            Ok(instances) => {
                let instance_ids = instances.iter().map(|i| i.id.clone()).collect();
                for instance in instances {
                    self.world.saw(instance, self.now);
                }
                LaunchOutcome::Launched { instance_ids }
            }
            Err(error) => LaunchOutcome::Failed {
                error,
                at: self.now,
            },
        };
        self.world.called(&batch.token, before, outcome);
        Ok(())
    }

    fn create(&mut self, mut member: SporeInstance) {
        let name = member.name_any();
        if self.released || self.members.contains_key(&name) {
            return;
        }
        let version = self.version();
        member.metadata.uid = Some(format!("member-{version}"));
        member.metadata.generation = Some(1);
        let stored = Stored {
            object: member,
            version,
        };
        self.members.insert(name.clone(), stored);
        self.untold.push_back(name);
    }

    /// A pass over one member, from what the watch has told, of up to `rounds`.
    pub(crate) fn member_pass(
        &mut self,
        name: &str,
        rounds: u32,
    ) -> Result<Option<Timestamp>, Stop> {
        let Some(mut member) = self.watched.get(name).cloned() else {
            return Ok(None);
        };
        for _ in 0..rounds {
            let (settings, now) = (&self.settings, self.now);
            let plan = self.world.view(&member.object, settings, |view| {
                instance::plan(&member.object, view, settings, now)
            });
            let current = self.members.get(name).map(|m| m.version) == Some(member.version);
            if !plan.hold {
                self.effect()?;
                for action in plan.actions {
                    self.act_on_member(action)?;
                }
                if !current {
                    return Err(Stop::Old);
                }
                self.members.remove(name);
                self.untold.push_back(name.to_owned());
                self.world.forget(&member.object);
                return Ok(None);
            }
            let stored = member.object.status.as_ref() != Some(&plan.status);
            if stored {
                self.effect()?;
                if !current {
                    return Err(Stop::Old);
                }
                self.writes += 1;
                member.object.status = Some(plan.status);
                member.version = self.version();
                self.members.insert(name.to_owned(), member.clone());
                self.untold.push_back(name.to_owned());
            }
            let mut again = stored;
            for action in plan.actions {
                again |= self.act_on_member(action)?;
            }
            if !again {
                self.world.taken_in(&member.object);
                return Ok(plan.wake);
            }
        }
        Ok(Some(self.now))
    }

    fn act_on_member(&mut self, action: Action) -> Result<bool, Stop> {
        self.effect()?;
        match action {
            Action::Terminate {
                region,
                instance_id,
            }
            | Action::Stop {
                region,
                instance_id,
            } => {
                let known = self.terminate(&region, &instance_id);
                self.effect()?;
                Ok(known)
            }
            Action::MoveDeadline {
                region,
                instance_id,
                deadline,
            } => {
                let at = self.now;
                self.ec2.change(&instance_id, at, |instance| {
                    instance.identity.deadline = Some(deadline);
                });
                Ok(self.world.change(&region, &instance_id, at, |instance| {
                    instance.identity.deadline = Some(deadline);
                }))
            }
            Action::Launch(_) => {
                self.broken = Some("a member launched by itself".into());
                Ok(true)
            }
            Action::Seek { region, what } => {
                self.world.seek(&region, what);
                Ok(false)
            }
            Action::Learn(fact) => {
                let told = answer_of(&fact, self.now);
                self.world.learned(fact, told, self.now);
                Ok(true)
            }
            Action::Note(_) => Ok(false),
        }
    }
}

fn split(actions: Vec<GroupAction>) -> (Vec<GroupAction>, Vec<GroupAction>) {
    let is_launch = |action: &GroupAction| matches!(action, GroupAction::Launch(_));
    let is_object = |action: &GroupAction| {
        matches!(
            action,
            GroupAction::CreateMember(_)
                | GroupAction::DeleteMember { .. }
                | GroupAction::Extend { .. }
        )
    };
    let (launches, mut rest): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_launch);
    rest.sort_by_key(is_object);
    (launches, rest)
}
