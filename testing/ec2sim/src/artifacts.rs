//! Files for instances to download: `/_artifacts/<file>`.

use std::path::Component;
use std::path::Path;

use hyper::Method;

use crate::reply::{Reply, refusal, reply};
use crate::sim::Sim;

/// Answers a request for one file directly in the artifacts directory.
pub(crate) async fn answer(sim: &Sim, file: &str, method: &Method) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        return refusal(405, "artifacts can only be read");
    }
    let Some(directory) = &sim.config.artifacts else {
        return refusal(404, "no artifacts: start with --artifacts DIR");
    };
    if !is_plain_name(file) {
        return refusal(400, format!("'{file}' is not the name of a file"));
    }
    match tokio::fs::read(directory.join(file)).await {
        Ok(bytes) => reply(200, "application/octet-stream", bytes),
        Err(error) => refusal(404, format!("cannot read the artifact '{file}': {error}")),
    }
}

fn is_plain_name(file: &str) -> bool {
    let mut components = Path::new(file).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(name)), None) if name == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        assert!(is_plain_name("agent-x86_64"));
        for bad in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a/", "./a"] {
            assert!(!is_plain_name(bad), "{bad}");
        }
    }
}
