//! The verbs, one file each.

pub(crate) mod completion;
pub(crate) mod delete;
pub(crate) mod extend;
pub(crate) mod launch;
pub(crate) mod list;
pub(crate) mod schedule;
pub(crate) mod status;
pub(crate) mod version;

use crate::{
    cli::{Cli, Verb},
    error::Error,
};

/// Does what the command line says.
pub(crate) async fn run(cli: Cli) -> Result<(), Error> {
    let Cli { global, verb } = cli;
    match verb {
        Verb::Launch(args) => launch::run(args, &global).await,
        Verb::List(args) => list::run(args, &global).await,
        Verb::Status(args) => status::run(args, &global).await,
        Verb::Extend(args) => extend::run(args, &global).await,
        Verb::Delete(args) => delete::run(args, &global).await,
        Verb::Schedule(args) => schedule::run(args, &global).await,
        Verb::Version(args) => version::run(args, &global).await,
        Verb::Completion(args) => completion::run(&args),
    }
}
