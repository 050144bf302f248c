//! Speaks to the service manager: ready, alive, stopping.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

/// The service manager's ear, if it listens (`sd_notify(3)`).
#[derive(Debug)]
pub(crate) struct Notify {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the agent is alive, and when it heard last.
    watchdog: Option<(Duration, Instant)>,
}

impl Notify {
    /// Reads from the environment where the service manager listens.
    pub(crate) fn from_env() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|path| {
            connect(path.as_bytes())
                .inspect_err(|error| {
                    tracing::error!("cannot reach NOTIFY_SOCKET {path:?}: {error}");
                })
                .ok()
        });
        let watchdog = env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|text| text.parse().ok());
        // Thrice in the time that it grants, so that a late one does no harm.
        let watchdog = watchdog.map(|granted| (Duration::from_micros(granted) / 3, Instant::now()));
        Self { socket, watchdog }
    }

    /// The agent does its work.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// The agent ends.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The agent's loop turns.
    pub(crate) fn alive(&mut self) {
        let Some((every, last)) = &mut self.watchdog else {
            return;
        };
        if last.elapsed() >= *every {
            *last = Instant::now();
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::warn!("cannot tell the service manager {text}: {error}");
        }
    }
}

fn connect(path: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    socket.connect_addr(&address)?;
    // A service manager that does not listen must not stop the agent.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("spored-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (listener, address) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.as_os_str().as_bytes().to_vec(),
            ),
            (
                UnixDatagram::bind_addr(&abstract_address).unwrap(),
                format!("@{name}").into_bytes(),
            ),
        ] {
            let notify = Notify {
                socket: Some(connect(&address).unwrap()),
                watchdog: None,
            };
            notify.ready();
            let mut heard = [0; 16];
            let length = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1");
        }
    }
}
