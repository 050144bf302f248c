//! Asking whoever sits at the terminal before something is lost.

use std::io::{self, BufRead, IsTerminal};

use crate::{error::Error, print};

/// What is asked.
pub(crate) struct Question {
    /// What happens, in the past: `deleted`.
    pub(crate) done: &'static str,
    /// What would happen: `would be deleted`.
    pub(crate) would: &'static str,
    /// The verb that begins the question: `Delete`.
    pub(crate) ask: &'static str,
}

/// Asks whether this is to happen to `what`, which was shown before.
///
/// # Errors
/// There is nobody to ask, or the answer is not yes.
pub(crate) fn ask(question: &Question, what: &str) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage {
            what: format!("{what} {}, and there is nobody to ask", question.would),
            advice: "Say --yes if it is meant.".into(),
        });
    }
    print::note(&format!("{} {what}? [y/N]", question.ask));
    let mut answer = String::new();
    // An answer that cannot be read is no consent.
    let _ = io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Declined(question.done)),
    }
}
