//! What the agent remembers over its own restarts and those of the machine.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spore_core::{
    lifecycle::{Action, EndReason},
    tags::Report,
};

use crate::{
    files,
    sensors::{completion::Completion, idle::Idleness},
};

/// The agent's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    /// Which launch this is of: an image of the machine brings the memory along, and it is void there.
    pub(crate) launch: String,
    /// Which boot of the machine.
    pub(crate) boot_id: String,
    /// The latest deadline heard of.
    pub(crate) deadline: Option<Timestamp>,
    /// What was said of the result.
    pub(crate) completion: Option<Completion>,
    /// The completion was acted on by a stop, and somebody started the machine again: it ends nothing
    /// any more.
    #[serde(default)]
    pub(crate) spent: bool,
    /// The workload was not let finish, because the instance was to end.
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// Since when the instance does nothing.
    pub(crate) idleness: Option<Idleness>,
    /// The end that was begun in this boot.
    pub(crate) ended: Option<Ended>,
    /// What the instance's tags say, as far as this boot wrote them.
    pub(crate) reported: Option<Report>,
}

/// An end that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Why.
    pub(crate) reason: EndReason,
    /// When.
    pub(crate) at: Timestamp,
    /// What is done to the instance.
    pub(crate) action: Action,
}

impl Memory {
    /// Reads the memory; `None` if there is none of this launch. What does not hold in another boot is
    /// left behind.
    pub(crate) fn load(path: &Path, launch: &str, boot_id: &str) -> Option<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            read => read
                .inspect_err(|error| tracing::error!("{}: {error}", path.display()))
                .ok()?,
        };
        let memory: Self = serde_json::from_slice(&text)
            .inspect_err(|error| tracing::error!("{} is not readable: {error}", path.display()))
            .ok()?;
        (memory.launch == launch).then(|| memory.in_boot(boot_id))
    }

    fn in_boot(self, boot_id: &str) -> Self {
        if self.boot_id == boot_id {
            return self;
        }
        let stopped = self.ended.is_some_and(|ended| ended.action == Action::Stop);
        Self {
            boot_id: boot_id.to_owned(),
            spent: self.spent || stopped,
            idleness: None,
            ended: None,
            reported: None,
            ..self
        }
    }

    /// Writes the memory.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).expect("the memory has only string keys");
        files::write_atomically(path, &json, 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory {
            launch: "a".into(),
            boot_id: "1".into(),
            deadline: Some(Timestamp::UNIX_EPOCH),
            ended: Some(Ended {
                reason: EndReason::Completed,
                at: Timestamp::UNIX_EPOCH,
                action: Action::Stop,
            }),
            reported: Some(Report::default()),
            ..Memory::default()
        }
    }

    #[test]
    fn it_reads_back_in_the_same_boot_and_not_for_another_launch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(Memory::load(&path, "a", "1"), None);
        memory().save(&path).unwrap();
        assert_eq!(Memory::load(&path, "a", "1"), Some(memory()));
        assert_eq!(Memory::load(&path, "b", "1"), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(Memory::load(&path, "a", "1"), None);
    }

    #[test]
    fn a_machine_started_again_keeps_its_deadline_and_is_not_ended_by_what_stopped_it() {
        let later = memory().in_boot("2");
        assert_eq!(later.deadline, memory().deadline);
        assert_eq!(
            (later.spent, later.ended, later.reported),
            (true, None, None)
        );
    }
}
