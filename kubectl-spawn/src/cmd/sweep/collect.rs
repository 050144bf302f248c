//! `kubectl spawn sweep collect`.

use std::{fs, path::PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::{
    cli::Global,
    client::{self, Cluster},
    complete,
    error::Error,
    kind::Kind,
    print,
    results::{
        self, Entry, metric,
        table::{self, TableFormat},
    },
};

/// Write how every row of a sweep ended, or the best of them
#[derive(Args, Debug)]
#[command(after_help = "\
A metric is a number in what a workload said of its result, if it said JSON:
  spored complete --status success --message '{\"accuracy\": 0.93}'
  kubectl spawn sweep collect search --metric accuracy --best 5")]
pub(crate) struct CollectArgs {
    /// Name of the sweep
    #[arg(required_unless_present = "sweep_id", add = ArgValueCompleter::new(complete::sweeps))]
    name: Option<String>,
    /// The old way to name it
    #[arg(long, hide = true, conflicts_with = "name")]
    sweep_id: Option<String>,
    /// The file to write; standard output if left out
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// How it is written; by the ending of the file if left out, else as JSON
    #[arg(long, value_enum)]
    format: Option<TableFormat>,
    /// Only rows with this metric, the highest first
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// The lowest first
    #[arg(long, requires = "metric")]
    lowest: bool,
    /// Only so many
    #[arg(long, value_name = "N", requires = "metric")]
    best: Option<usize>,
}

/// Collects.
pub(crate) async fn collect(args: &CollectArgs, global: &Global) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let name = args.name.as_ref().or(args.sweep_id.as_ref());
    let name = name.map(String::as_str).unwrap_or_default();
    let raw = cluster.get_raw(Kind::Sweep, name).await?;
    let mut entries = results::of(&cluster, &client::read(raw)?).await?;
    if let Some(key) = &args.metric {
        let all = entries.len();
        entries = best(entries, key, args.lowest, args.best);
        if entries.is_empty() {
            print::note(&format!(
                "None of {all} rows said JSON with a number named {key}."
            ));
        }
    }
    let file = args.output_file.as_ref();
    let by_name = || TableFormat::of_name(&file?.to_string_lossy());
    let format = args.format.or_else(by_name).unwrap_or(TableFormat::Json);
    let text = table::render(&entries, args.metric.as_deref(), format);
    match file {
        None => print::out(&text),
        Some(file) => {
            fs::write(file, text).map_err(Error::Output)?;
            print::line(&format!(
                "{} rows written to {}",
                entries.len(),
                file.display()
            ))
        }
    }
}

/// The rows that have the metric, the best first.
fn best(entries: Vec<Entry>, key: &str, lowest: bool, most: Option<usize>) -> Vec<Entry> {
    let measured = |entry: Entry| metric(&entry, key).map(|value| (value, entry));
    let mut ranked = entries.into_iter().filter_map(measured).collect::<Vec<_>>();
    ranked.sort_by(|(one, _), (other, _)| match lowest {
        true => one.total_cmp(other),
        false => other.total_cmp(one),
    });
    ranked.truncate(most.unwrap_or(usize::MAX));
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_those_with_the_highest_metric_unless_the_lowest_are_wanted() {
        let said = [
            Some(r#"{"m": 1}"#),
            Some(r#"{"m": 3}"#),
            Some("3"),
            None,
            Some(r#"{"m": 2}"#),
        ];
        let entries = (0..).zip(said).map(|(index, said)| Entry {
            index,
            message: said.map(ToOwned::to_owned),
            ..Entry::default()
        });
        let entries = entries.collect::<Vec<_>>();
        let ranks = |lowest, most| {
            let best = best(entries.clone(), "m", lowest, most);
            best.iter().map(|entry| entry.index).collect::<Vec<_>>()
        };
        assert_eq!(ranks(false, None), [1, 4, 0]);
        assert_eq!(ranks(true, Some(2)), [0, 4]);
    }
}
