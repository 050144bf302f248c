//! What of ours has no living parent.
//!
//! Something is collected only if it carries our cluster's tag, no object of its UID exists, it was
//! seen so in two rounds at least, and nobody marked it to be kept.

use std::collections::{HashMap, HashSet};

use spore_core::tags::Identity;

/// Rounds in which something must be seen without a parent before it is collected.
pub const ROUNDS: u32 = 2;

/// Something that belongs to a spore, living or not.
#[derive(Clone, Copy, Debug)]
pub struct Belonging<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whose it is.
    pub identity: &'a Identity,
    /// Whether somebody marked it to be kept.
    pub keep: bool,
}

/// What was seen without a parent, and in how many rounds in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    rounds: HashMap<String, u32>,
}

impl Suspects {
    /// Takes in one round; returns the ids that are to be collected.
    ///
    /// `living` are the UIDs of all objects; `namespace` restricts us to one namespace's objects, in
    /// which case only theirs are judged.
    pub fn round<'a>(
        &mut self,
        belongings: impl IntoIterator<Item = Belonging<'a>>,
        living: &HashSet<String>,
        namespace: Option<&str>,
    ) -> Vec<&'a str> {
        let parentless = belongings.into_iter().filter(|belonging| {
            !belonging.keep
                && !living.contains(&belonging.identity.uid)
                && namespace.is_none_or(|ours| {
                    belonging
                        .identity
                        .owner
                        .split_once('/')
                        .is_some_and(|(ns, _)| ns == ours)
                })
        });
        let mut now = HashMap::new();
        let mut due = Vec::new();
        for Belonging { id, .. } in parentless {
            let rounds = self.rounds.get(id).copied().unwrap_or(0) + 1;
            now.insert(id.to_owned(), rounds);
            if rounds >= ROUNDS {
                due.push(id);
            }
        }
        self.rounds = now;
        due
    }
}

#[cfg(test)]
mod tests {
    use spore_core::tags::Kind;

    use super::*;

    fn identity(uid: &str, owner: &str) -> Identity {
        Identity {
            cluster: "c".into(),
            uid: uid.into(),
            parent: uid.into(),
            owner: owner.into(),
            kind: Kind::SporeInstance,
            attempt: 1,
            deadline: None,
            members: None,
        }
    }

    #[test]
    fn an_orphan_is_collected_in_the_second_round_only() {
        let (orphan, child) = (identity("gone", "a/x"), identity("here", "a/y"));
        let seen = [
            Belonging {
                id: "i-1",
                identity: &orphan,
                keep: false,
            },
            Belonging {
                id: "i-2",
                identity: &child,
                keep: false,
            },
            Belonging {
                id: "i-3",
                identity: &orphan,
                keep: true,
            },
        ];
        let living = HashSet::from(["here".to_owned()]);
        let mut suspects = Suspects::default();
        assert!(suspects.round(seen, &living, None).is_empty());
        assert_eq!(suspects.round(seen, &living, None), ["i-1"]);
    }

    #[test]
    fn a_parent_that_turns_up_clears_the_suspicion() {
        let orphan = identity("late", "a/x");
        let seen = [Belonging {
            id: "i-1",
            identity: &orphan,
            keep: false,
        }];
        let mut suspects = Suspects::default();
        suspects.round(seen, &HashSet::new(), None);
        suspects.round(seen, &HashSet::from(["late".to_owned()]), None);
        assert!(suspects.round(seen, &HashSet::new(), None).is_empty());
    }

    #[test]
    fn a_controller_of_one_namespace_judges_no_other() {
        let orphan = identity("gone", "b/x");
        let seen = [Belonging {
            id: "i-1",
            identity: &orphan,
            keep: false,
        }];
        let mut suspects = Suspects::default();
        suspects.round(seen, &HashSet::new(), Some("a"));
        assert!(suspects.round(seen, &HashSet::new(), Some("a")).is_empty());
    }
}
