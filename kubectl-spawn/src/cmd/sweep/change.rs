//! `kubectl spawn sweep cancel`, `suspend`, `resume` and `retry`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use kube::ResourceExt;
use serde_json::{Value, json};
use spore_crds::{GroupState, SporeSweep};

use crate::{
    cli::Global,
    client::{self, Cluster},
    complete,
    confirm::{self, Question},
    error::Error,
    group::Group,
    kind::Kind,
    print,
};

/// End a sweep: launch no more rows and terminate those that run. Results stay
#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    /// Name of the sweep
    #[arg(required_unless_present = "sweep_id", add = ArgValueCompleter::new(complete::sweeps))]
    name: Option<String>,
    /// The old way to name it
    #[arg(long, hide = true, conflicts_with = "name")]
    sweep_id: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Launch no more rows for now; those that run go on
#[derive(Args, Debug)]
pub(crate) struct SuspendArgs {
    /// Name of the sweep
    #[arg(add = ArgValueCompleter::new(complete::sweeps))]
    name: String,
}

/// Go on launching rows
#[derive(Args, Debug)]
pub(crate) struct ResumeArgs {
    /// Name of the sweep
    #[arg(required_unless_present = "sweep_id", add = ArgValueCompleter::new(complete::sweeps))]
    name: Option<String>,
    /// The old way to name it
    #[arg(long, hide = true, conflicts_with = "name")]
    sweep_id: Option<String>,
    /// How many at once from now on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_concurrent: Option<u32>,
    /// Changes nothing: every sweep goes on without this program
    #[arg(long, hide = true)]
    detach: bool,
}

/// Launch failed rows once more
#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    /// Name of the sweep
    #[arg(add = ArgValueCompleter::new(complete::sweeps))]
    name: String,
    /// All rows that have failed
    #[arg(long, required = true)]
    failed: bool,
}

fn either<'a>(name: &'a Option<String>, id: &'a Option<String>) -> &'a str {
    name.as_deref().or(id.as_deref()).unwrap_or_default()
}

/// What to write, if anything, and what to say.
type Change = (Option<Value>, String);

/// Cancels.
pub(crate) async fn cancel(args: &CancelArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let name = either(&args.name, &args.sweep_id);
    let ask = |sweep: &SporeSweep| {
        let (change, told) = decide_cancel(sweep)?;
        if change.is_some() && !args.yes {
            let active = sweep.status.as_ref().map_or(0, |status| status.active);
            print::note(&format!(
                "{active} of its instances run and would be terminated."
            ));
            let question = Question {
                done: "cancelled",
                would: "would be cancelled",
                ask: "Cancel",
            };
            confirm::ask(&question, &sweep.reference().to_string())?;
        }
        Ok((change, told))
    };
    write(&cluster, name, ask).await
}

/// Suspends.
pub(crate) async fn suspend(args: &SuspendArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    write(&cluster, &args.name, decide_suspend).await
}

/// Resumes.
pub(crate) async fn resume(args: &ResumeArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let name = either(&args.name, &args.sweep_id);
    write(&cluster, name, |sweep| {
        decide_resume(sweep, args.max_concurrent)
    })
    .await
}

/// Launches failed rows once more.
pub(crate) async fn retry(args: &RetryArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    write(&cluster, &args.name, decide_retry).await
}

/// Reads, decides and writes; again if the object changed in between.
async fn write(
    cluster: &Cluster,
    name: &str,
    mut decide: impl FnMut(&SporeSweep) -> Result<Change, Error>,
) -> Result<(), Error> {
    let read = async || {
        let raw = cluster.get_raw(Kind::Sweep, name).await?;
        client::read::<SporeSweep>(raw)
    };
    let sweep = read().await?;
    // Asked once, whatever the controller writes meanwhile.
    let (change, told) = decide(&sweep)?;
    let Some(spec) = change else {
        return print::line(&told);
    };
    cluster.merge(&sweep, &json!({"spec": spec})).await?;
    print::line(&told)
}

/// An ended sweep stays as it ended.
fn check_going(sweep: &SporeSweep, advice: &str) -> Result<(), Error> {
    if sweep.metadata.deletion_timestamp.is_some() {
        return Err(Error::Deleted(sweep.reference().to_string()));
    }
    let state = sweep.status.as_ref().and_then(|status| status.state);
    let told = match state {
        Some(GroupState::Succeeded) => "it is complete",
        Some(GroupState::Failed) => "it has failed",
        Some(GroupState::Cancelled) => "it was cancelled",
        _ if sweep.spec.cancel => "it is being cancelled",
        _ => return Ok(()),
    };
    Err(Error::Ended {
        name: sweep.reference().to_string(),
        message: told.into(),
        advice: advice.replace("NAME", &sweep.name_any()),
    })
}

fn decide_cancel(sweep: &SporeSweep) -> Result<Change, Error> {
    let name = sweep.reference();
    if sweep.spec.cancel && !sweep.is_over() {
        return Ok((None, format!("{name}: is being cancelled already")));
    }
    check_going(
        sweep,
        "There is nothing left to cancel; `kubectl spawn delete sweep/NAME` removes it with its results.",
    )?;
    Ok((Some(json!({"cancel": true})), format!("{name} cancelled")))
}

fn decide_suspend(sweep: &SporeSweep) -> Result<Change, Error> {
    let name = sweep.reference();
    check_going(sweep, "There is nothing left to suspend.")?;
    if sweep.spec.suspend {
        return Ok((None, format!("{name}: is suspended already")));
    }
    let told = format!("{name} suspended: no more rows are launched, those that run go on");
    Ok((Some(json!({"suspend": true})), told))
}

fn decide_resume(sweep: &SporeSweep, at_once: Option<u32>) -> Result<Change, Error> {
    let name = sweep.reference();
    check_going(
        sweep,
        "What has ended is not resumed: `kubectl spawn sweep retry NAME --failed` launches failed rows once more, and a new sweep all of them.",
    )?;
    let mut spec = json!({});
    let mut told = match sweep.spec.suspend {
        true => {
            spec["suspend"] = json!(false);
            format!("{name} resumed")
        }
        false => format!("{name}: is not suspended, it goes on by itself"),
    };
    if let Some(at_once) = at_once.filter(|at_once| *at_once != sweep.spec.parallelism) {
        spec["parallelism"] = json!(at_once);
        told.push_str(&format!(", {at_once} at once"));
    }
    let changes = spec.as_object().is_some_and(|spec| !spec.is_empty());
    Ok((changes.then_some(spec), told))
}

fn decide_retry(sweep: &SporeSweep) -> Result<Change, Error> {
    let name = sweep.reference();
    let status = sweep.status.clone().unwrap_or_default();
    if sweep.spec.cancel || sweep.metadata.deletion_timestamp.is_some() {
        check_going(
            sweep,
            "A cancelled sweep launches nothing any more: launch a new one.",
        )?;
    }
    if status.failed == 0 {
        return Ok((None, format!("{name}: no row has failed")));
    }
    let number = sweep
        .spec
        .retry_failed
        .unwrap_or_default()
        .saturating_add(1);
    let rows = match status.failed {
        1 => "1 row".to_owned(),
        many => format!("{many} rows"),
    };
    let told = format!(
        "{name}: {rows} launched once more: {}",
        status.failed_indexes
    );
    Ok((Some(json!({"retryFailed": number})), told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Exit, group::tests};

    fn sweep(state: &str, spec: &Value) -> SporeSweep {
        let mut sweep = serde_json::to_value(tests::sweep(json!({
            "state": state, "conditions": [], "failed": 2, "failedIndexes": "3,7",
        })))
        .unwrap();
        for (key, value) in spec.as_object().unwrap() {
            sweep["spec"][key] = value.clone();
        }
        serde_json::from_value(sweep).unwrap()
    }

    #[test]
    fn what_runs_can_be_cancelled_suspended_and_resumed() {
        let running = sweep("Running", &json!({}));
        assert_eq!(
            decide_cancel(&running).unwrap().0,
            Some(json!({"cancel": true}))
        );
        assert_eq!(
            decide_suspend(&running).unwrap().0,
            Some(json!({"suspend": true}))
        );
        assert_eq!(decide_resume(&running, None).unwrap().0, None);
        assert_eq!(
            decide_resume(&running, Some(7)).unwrap().0,
            Some(json!({"parallelism": 7}))
        );
        let suspended = sweep("Suspended", &json!({"suspend": true}));
        assert_eq!(decide_suspend(&suspended).unwrap().0, None);
        let (change, told) = decide_resume(&suspended, Some(7)).unwrap();
        assert_eq!(change, Some(json!({"suspend": false, "parallelism": 7})));
        assert_eq!(told, "sweep/hyper resumed, 7 at once");
    }

    #[test]
    fn what_has_ended_is_neither_cancelled_nor_resumed() {
        for state in ["Succeeded", "Failed", "Cancelled"] {
            let over = sweep(state, &json!({}));
            let error = decide_resume(&over, None).unwrap_err();
            assert_eq!(error.exit(), Exit::Failure);
            assert!(
                error
                    .advice()
                    .unwrap()
                    .contains("sweep retry hyper --failed")
            );
            assert!(decide_cancel(&over).is_err() && decide_suspend(&over).is_err());
        }
        let going = sweep("Ending", &json!({"cancel": true}));
        assert_eq!(decide_cancel(&going).unwrap().0, None);
        assert!(decide_resume(&going, None).is_err());
    }

    #[test]
    fn a_retry_counts_up_and_needs_something_that_failed() {
        let failed = sweep("Failed", &json!({}));
        let (change, told) = decide_retry(&failed).unwrap();
        assert_eq!(change, Some(json!({"retryFailed": 1})));
        assert_eq!(told, "sweep/hyper: 2 rows launched once more: 3,7");
        let again = sweep("Failed", &json!({"retryFailed": 4}));
        assert_eq!(
            decide_retry(&again).unwrap().0,
            Some(json!({"retryFailed": 5}))
        );
        assert!(decide_retry(&sweep("Cancelled", &json!({"cancel": true}))).is_err());
        let mut fine = failed;
        fine.status.as_mut().unwrap().failed = 0;
        assert_eq!(decide_retry(&fine).unwrap().0, None);
    }
}
