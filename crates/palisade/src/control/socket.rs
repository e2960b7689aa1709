//! The socket: made for one user, and gone with the server.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// A listening socket, whose file is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// The user whose process this is.
    owner: u32,
}

/// Listens on a socket of mode 0600. What a server that was killed has left behind is removed.
pub(crate) fn listen(path: &Path) -> anyhow::Result<Listener> {
    if path.as_os_str().len() > PATH_OCTETS_MAX {
        bail!(
            "the path of the control socket, {}, is longer than the {PATH_OCTETS_MAX} octets that a socket may have; choose a shorter --data",
            path.display()
        );
    }
    // A server that was killed while it started its authority leaves the socket open in that one's process until it has begun.
    let begun = Instant::now();
    while BlockingStream::connect(path).is_ok() {
        if begun.elapsed() < GONE_WITHIN {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        bail!(
            "another server is running on {}; stop it first",
            path.display()
        );
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("the control socket {} cannot be made", path.display()))?;
    // Until here the folder, which is for this user alone, protects it.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("{} cannot be protected", path.display()))?;
    let owner = fs::metadata(path)
        .with_context(|| format!("{} cannot be read", path.display()))?
        .uid();
    Ok(Listener {
        listener,
        path: path.to_owned(),
        owner,
    })
}

/// How long what is left of a server that was killed may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// `sun_path` has 108 octets on Linux and 104 elsewhere, with the zero at its end.
const PATH_OCTETS_MAX: usize = 103;

impl Listener {
    /// Only the same user, and root whom nothing stops: the mode of the socket is not the only lock.
    fn is_welcome(&self, stream: &UnixStream) -> bool {
        const ROOT: u32 = 0;
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == ROOT)
    }
}

impl axum::serve::Listener for Listener {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) if self.is_welcome(&stream) => return (stream, address),
                Ok(_) => tracing::warn!(
                    socket = %self.path.display(),
                    "a connection of another user was refused"
                ),
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket could not be removed");
        }
    }
}

/// Serves a router until it is told to stop, then lets requests end.
pub(crate) async fn serve(
    listener: Listener,
    router: axum::Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<super::operator::Operator>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stop)
        .await
}
