//! Which spores are asked for, as a label selector.

use kube::api::DynamicObject;
use spore_crds::{ARRAY_LABEL, GroupState, SWEEP_LABEL};

use super::ListArgs;
use crate::{group::is_final, kind::Kind};

/// The most that is said in a URL; beyond it, everything that was ever a member counts as one.
const LONGEST: usize = 4_000;
/// The most characters that the value of a label has.
const LONGEST_LABEL: usize = 63;

/// Names of groups that are shown in one line each.
#[derive(Debug, Default)]
pub(super) struct Names {
    arrays: Vec<String>,
    sweeps: Vec<String>,
}

impl Names {
    /// Adds one.
    pub(super) fn add(&mut self, kind: Kind, name: String) {
        if name.len() > LONGEST_LABEL {
            return;
        }
        match kind {
            Kind::Array => self.arrays.push(name),
            Kind::Sweep => self.sweeps.push(name),
            Kind::Spore => {}
        }
    }
}

/// Whether members are counted in the line of their group. Filters about instances need instances.
pub(super) fn folds(args: &ListArgs) -> bool {
    !args.members
        && args.job_array_name.is_none()
        && args.sweep.is_none()
        && args.state.is_empty()
        && args.region.is_none()
        && args.instance_type.is_none()
}

/// The labels of the spores to show: all but the members of these groups. A member whose group is
/// gone is shown, because it may still cost.
pub(super) fn selector(args: &ListArgs, folded: &Names) -> Option<String> {
    let mut parts = Vec::new();
    parts.extend(args.selector.clone());
    let of = [
        (ARRAY_LABEL, &args.job_array_name),
        (SWEEP_LABEL, &args.sweep),
    ];
    for (label, name) in of {
        parts.extend(name.as_ref().map(|name| format!("{label}={name}")));
    }
    for (label, names) in [(ARRAY_LABEL, &folded.arrays), (SWEEP_LABEL, &folded.sweeps)] {
        let names = names.join(",");
        match names.len() {
            0 => {}
            1..=LONGEST => parts.push(format!("{label} notin ({names})")),
            _ => parts.push(format!("!{label}")),
        }
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// Whether a group as stored is done and nothing of it is left in EC2.
pub(super) fn is_over(group: &DynamicObject) -> bool {
    let state = group.data.pointer("/status/state").cloned();
    state
        .and_then(|state| serde_json::from_value::<GroupState>(state).ok())
        .is_some_and(is_final)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_left_out_only_if_their_group_is_shown() {
        let args = ListArgs::default();
        assert!(folds(&args));
        let mut names = Names::default();
        assert_eq!(selector(&args, &names), None);
        names.add(Kind::Array, "a".into());
        names.add(Kind::Array, "b".into());
        names.add(Kind::Sweep, "c".into());
        names.add(Kind::Sweep, "x".repeat(64));
        let both = "spore.host/array notin (a,b),spore.host/sweep notin (c)";
        assert_eq!(selector(&args, &names).as_deref(), Some(both));
        for number in 0..1_000 {
            names.add(Kind::Array, format!("array-{number}"));
        }
        let many = "!spore.host/array,spore.host/sweep notin (c)";
        assert_eq!(selector(&args, &names).as_deref(), Some(many));
    }

    #[test]
    fn filters_about_instances_and_groups_list_members() {
        let with = |set: fn(&mut ListArgs)| {
            let mut args = ListArgs::default();
            set(&mut args);
            args
        };
        assert!(!folds(&with(|args| args.members = true)));
        assert!(!folds(&with(|args| args.region = Some("us-east-1".into()))));
        let of = with(|args| {
            args.job_array_name = Some("search".into());
            args.selector = Some("team=ml".into());
        });
        assert!(!folds(&of));
        assert_eq!(
            selector(&of, &Names::default()).as_deref(),
            Some("team=ml,spore.host/array=search")
        );
    }
}
