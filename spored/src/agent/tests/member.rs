//! Lives of a member of an array.

use super::*;

/// What a member's configuration is.
fn member() -> AgentConfig {
    let members = crate::member::tests::members(tags::Kind::SporeArray);
    AgentConfig {
        members: Some(members),
        ..config()
    }
}

impl Life {
    fn starts(&self) -> Vec<i64> {
        let starts = |effect: &Effect| *effect == Effect::StartWorkload;
        let starts = self.effects.iter().filter(|(_, effect)| starts(effect));
        starts.map(|(now, _)| *now).collect()
    }
}

#[test]
fn a_members_workload_starts_when_it_is_known_what_it_is() {
    let life = Life::of(&member()).until(1, 40);
    assert_eq!(life.starts(), [0_i64; 0]);
    let life = life.hear(41, Event::Prepared);
    assert_eq!(life.starts(), [41]);
    assert_eq!(Life::of(&config()).starts(), [0], "no member");
}

#[test]
fn a_member_that_cannot_be_told_what_it_is_says_why_and_holds_to_the_deadline() {
    let life = Life::of(&member())
        .hear(1, Event::Armed(at(DEADLINE)))
        .hear(2, Event::Unpreparable("no such member".into()));
    let report = life.agent.told().expect("it is told at once");
    assert_eq!(report.message.as_deref(), Some("no such member"));
    assert_eq!(report.phase, None);
    let life = life.until(3, DEADLINE);
    assert_eq!(life.starts(), [0_i64; 0]);
    assert_eq!(life.acts(), [(DEADLINE, Action::Terminate)]);
}
