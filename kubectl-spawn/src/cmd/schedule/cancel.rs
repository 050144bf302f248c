//! `kubectl spawn schedule cancel`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use spore_crds::SporeSchedule;

use super::{api, name_of};
use crate::{cli::Global, client::Cluster, complete, error::Error, print};

/// Delete a schedule; what it has started stays
#[derive(Args, Debug)]
#[command(after_help = "\
Nothing is started any more. What runs goes on to its end, and what has ended stays as a record: both are
deleted like any other spore. To delete all of it at once: kubectl delete sporeschedule NAME.")]
pub(crate) struct CancelArgs {
    /// Name of the schedule
    #[arg(add = ArgValueCompleter::new(complete::schedules))]
    name: String,
}

/// Cancels.
pub(super) async fn run(args: CancelArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let schedule = api::get(&cluster, &args.name).await?;
    api::delete(&cluster, &schedule).await?;
    print::line(&told(&schedule))
}

fn told(schedule: &SporeSchedule) -> String {
    let name = name_of(schedule);
    let status = schedule.status.clone().unwrap_or_default();
    let active = status
        .active
        .iter()
        .map(|active| format!("{}/{}", active.kind.to_lowercase(), active.name))
        .collect::<Vec<_>>();
    match active.is_empty() {
        true => format!("{name} cancelled"),
        false => format!(
            "{name} cancelled; what runs goes on to its end: {}",
            active.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cmd::schedule::list::tests::schedule;

    #[test]
    fn what_goes_on_is_named() {
        let status = json!({"conditions": [], "activeCount": 1, "active": [{"kind": "SporeSweep", "name": "s-1"}]});
        let text = told(&schedule("s", json!({"schedule": "@daily"}), status));
        assert_eq!(
            text,
            "sporeschedule.spore.host/s cancelled; what runs goes on to its end: sporesweep/s-1"
        );
    }
}
