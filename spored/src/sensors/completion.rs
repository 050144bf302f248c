//! The completion file: whoever creates it says that the work is done.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time};

use crate::{agent::Event, clock};

/// How often the file is looked for.
const POLL: Duration = Duration::from_secs(1);
/// How many looks must agree on content that is not JSON (yet) before it is taken as it is.
const SETTLED_AFTER: u32 = 3;
/// More than this is not read.
const LIMIT: u64 = 64 * 1024;

/// The work is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completion {
    /// When it was seen.
    pub(crate) at: Timestamp,
    /// Whether it said to have succeeded; `None` if it said nothing of that.
    pub(crate) succeeded: Option<bool>,
    /// What it said besides.
    pub(crate) message: Option<String>,
}

/// The content that people write into the file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// `failed`, `failure` or `error` if the work failed; any other word if it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// What there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// What a content says of the result.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    /// It is JSON and whole.
    Said(Content),
    /// It is empty or not JSON: perhaps half written, perhaps meant so.
    Unclear,
}

/// Waits until the file says that the work is done, tells it, and returns.
pub(crate) async fn watch(path: PathBuf, events: mpsc::Sender<Event>) {
    let mut unclear: (Vec<u8>, u32) = (Vec::new(), 0);
    let mut complained = false;
    loop {
        match read(&path) {
            Ok(Some(bytes)) => {
                if let Some(content) = settle(&mut unclear, bytes) {
                    let _ = events
                        .send(Event::Completed(completion(content, clock::now())))
                        .await;
                    return;
                }
            }
            Ok(None) => unclear.1 = 0,
            Err(error) if complained => tracing::debug!("{}: {error}", path.display()),
            Err(error) => {
                complained = true;
                tracing::error!(
                    "cannot read the completion file {}: {error}",
                    path.display()
                );
            }
        }
        time::sleep(POLL).await;
    }
}

/// What the file says now, if it says anything of the result.
pub(crate) fn said(path: &Path) -> Option<Completion> {
    match parse(&read(path).ok()??) {
        Reading::Said(content) => Some(completion(content, clock::now())),
        Reading::Unclear => None,
    }
}

/// Takes JSON at once, and anything else when it has stayed the same for some looks.
fn settle(unclear: &mut (Vec<u8>, u32), bytes: Vec<u8>) -> Option<Content> {
    if let Reading::Said(content) = parse(&bytes) {
        return Some(content);
    }
    let (last, looks) = unclear;
    *looks = if *looks > 0 && *last == bytes {
        *looks + 1
    } else {
        1
    };
    *last = bytes;
    (*looks >= SETTLED_AFTER).then(Content::default)
}

fn completion(content: Content, at: Timestamp) -> Completion {
    let Content { status, message } = content;
    let succeeded = status.map(|word| {
        let word = word.trim().to_ascii_lowercase();
        !matches!(word.as_str(), "failed" | "failure" | "error")
    });
    Completion {
        at,
        succeeded,
        message: message.filter(|text| !text.trim().is_empty()),
    }
}

fn parse(bytes: &[u8]) -> Reading {
    // An object with fields of other types is still JSON: what cannot be used of it is left out.
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(bytes) else {
        return Reading::Unclear;
    };
    let text = |key: &str| {
        fields
            .get(key)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    Reading::Said(Content {
        status: text("status"),
        message: text("message"),
    })
}

/// Reads the file; `None` if there is none. Anybody may create it: it is opened so that neither a link
/// leads elsewhere nor a pipe blocks.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn told(text: &str) -> Option<Completion> {
        match parse(text.as_bytes()) {
            Reading::Said(content) => Some(completion(content, now())),
            Reading::Unclear => None,
        }
    }

    #[test]
    fn a08_failure_is_told_from_success() {
        for (text, succeeded) in [
            (r#"{"status":"success","message":"42 epochs"}"#, Some(true)),
            (r#"{"status":"done"}"#, Some(true)),
            (r#"{"status":"failed"}"#, Some(false)),
            (r#"{"status":"Failure"}"#, Some(false)),
            (r#"{"status":"error"}"#, Some(false)),
            (r#"{"message":"no word on success"}"#, None),
            (r#"{"status":3}"#, None),
        ] {
            assert_eq!(
                told(text).map(|told| told.succeeded),
                Some(succeeded),
                "{text}"
            );
        }
    }

    #[test]
    fn half_written_json_is_waited_for() {
        let mut unclear = (Vec::new(), 0);
        let whole = br#"{"status":"failed","message":"out of memory"}"#;
        for length in [0, 1, 20, whole.len() - 1] {
            assert_eq!(
                settle(&mut unclear, whole[..length].to_vec()),
                None,
                "{length} bytes"
            );
        }
        let content = settle(&mut unclear, whole.to_vec()).unwrap();
        assert_eq!(content.message.as_deref(), Some("out of memory"));
    }

    #[test]
    fn an_empty_file_and_any_other_text_mean_done() {
        for text in ["", "done\n", "{\"status\":"] {
            let mut unclear = (Vec::new(), 0);
            let looks: Vec<_> = (0..3)
                .map(|_| settle(&mut unclear, text.as_bytes().to_vec()))
                .collect();
            assert_eq!(looks, [None, None, Some(Content::default())], "{text:?}");
        }
    }

    #[test]
    fn a_link_is_not_followed_and_a_pipe_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, link) = (dir.path().join("secret"), dir.path().join("link"));
        std::fs::write(&secret, r#"{"message":"secret"}"#).unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(read(&link).is_err());
        let pipe = dir.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert!(read(&pipe).is_err());
        assert!(matches!(read(&dir.path().join("none")), Ok(None)));
    }
}
