//! What `kubectl spawn` costs whoever types it.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spore_world::layout;

use crate::{
    clock::progress,
    figure::{Figure, Wanted, median},
    fleet,
    process::file_mb,
    stage::{NAMESPACE, Stage},
};

/// What this group measures.
pub(crate) const FIGURES: &[&str] = &["plugin_binary_mb", "plugin_help_ms", "plugin_list_1000_ms"];

const SPORES: usize = 1_000;
const HELPS: usize = 50;
const LISTS: usize = 20;

/// Measures them.
pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let plugin = layout::bin("kubectl-spawn")?;
    wanted.tell(&Figure::new("plugin_binary_mb", file_mb(&plugin)?, "MB", 1))?;
    if wanted.any(&["plugin_help_ms"]) {
        help(wanted, &plugin)?;
    }
    if wanted.any(&["plugin_list_1000_ms"]) {
        list(wanted, &plugin).await?;
    }
    Ok(())
}

/// To the first byte of the help, beside kubectl's.
fn help(wanted: &Wanted, plugin: &Path) -> Result<()> {
    progress("plugin: --help");
    let kubectl = layout::Tools::find()?.kubectl;
    let (ours, theirs) = side_by_side(
        HELPS,
        || run(Command::new(plugin).arg("--help")),
        || run(Command::new(&kubectl).arg("--help")),
    )?;
    let first = |runs: &[Run]| median(&runs.iter().map(Run::first_ms).collect::<Vec<_>>());
    wanted.tell(
        &Figure::new("plugin_help_ms", first(&ours), "ms", HELPS)
            .beside("kubectl --help", first(&theirs)),
    )?;
    Ok(())
}

/// The whole of `list`, beside `kubectl get` of the same spores.
async fn list(wanted: &Wanted, plugin: &Path) -> Result<()> {
    let mut stage = Stage::start("plugin", false, &["--limits", "off"]).await?;
    fleet::settle(&mut stage, SPORES).await?;
    progress("plugin: list");
    let kubeconfig = stage.kubeconfig();
    let command = |program: &Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).args(["-n", NAMESPACE]);
        command.env("KUBECONFIG", &kubeconfig);
        command.env("KUBECACHEDIR", kubeconfig.with_file_name("cache"));
        let run = run(&mut command)?;
        let lines = run.output.lines().count();
        ensure!(
            lines == SPORES + 1,
            "{command:?} printed {lines} lines for {SPORES} spores and a heading"
        );
        Ok(run)
    };
    let (ours, theirs) = side_by_side(
        LISTS,
        || command(plugin, &["list"]),
        || command(&stage.tools.kubectl, &["get", "sporeinstances"]),
    )?;
    let whole = |runs: &[Run]| median(&runs.iter().map(Run::whole_ms).collect::<Vec<_>>());
    wanted.tell(
        &Figure::new("plugin_list_1000_ms", whole(&ours), "ms", LISTS)
            .beside("kubectl get", whole(&theirs)),
    )?;
    Ok(())
}

/// Runs both by turns, so that whatever else the machine does hits both; after a warm-up of each.
fn side_by_side(
    times: usize,
    ours: impl Fn() -> Result<Run>,
    theirs: impl Fn() -> Result<Run>,
) -> Result<(Vec<Run>, Vec<Run>)> {
    ours()?;
    theirs()?;
    let mut all = (Vec::new(), Vec::new());
    for _ in 0..times {
        all.0.push(ours()?);
        all.1.push(theirs()?);
    }
    Ok(all)
}

struct Run {
    first: Duration,
    whole: Duration,
    output: String,
}

impl Run {
    fn first_ms(&self) -> f64 {
        self.first.as_secs_f64() * 1e3
    }

    fn whole_ms(&self) -> f64 {
        self.whole.as_secs_f64() * 1e3
    }
}

/// Runs a command that must succeed.
fn run(command: &mut Command) -> Result<Run> {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let mut stdout = child.stdout.take().context("standard output is piped")?;
    let mut output = vec![0];
    stdout
        .read_exact(&mut output)
        .with_context(|| format!("{command:?} printed nothing"))?;
    let first = begun.elapsed();
    stdout.read_to_end(&mut output)?;
    let status = child.wait()?;
    let whole = begun.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    Ok(Run {
        first,
        whole,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}
