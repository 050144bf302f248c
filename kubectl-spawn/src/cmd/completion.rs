//! `kubectl spawn completion`.

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};

use crate::{complete, error::Error, print};

/// Print a shell's completion script
#[derive(Args, Debug)]
#[command(after_help = "\
For `kubectl-spawn`, in the shell's start-up file:
  source <(kubectl spawn completion bash)      # zsh alike
  kubectl spawn completion fish | source

For `kubectl spawn`, kubectl's own completion asks a program named kubectl_complete-spawn. The plugin
answers under that name too:
  ln -s \"$(command -v kubectl-spawn)\" ~/.local/bin/kubectl_complete-spawn")]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
    /// PowerShell
    Powershell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs) -> Result<(), Error> {
    let completer: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
    };
    let mut script = Vec::new();
    let program = complete::PROGRAM;
    completer
        .write_registration(complete::VARIABLE, program, program, program, &mut script)
        .map_err(Error::Output)?;
    print::out(&String::from_utf8_lossy(&script))
}
