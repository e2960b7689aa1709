//! The console of a demo: after the table, a person may look at what happened and go on with it.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use console::webhooks::HttpsCourier;
use console::{Console, Parts, Settings};
use store::StoreOptions;

use super::folder::Folder;
use super::pki::EIM;
use super::world::World;
use crate::adapters::{SystemClock, SystemEntropy};
use crate::output;

/// Where the console listens, if nothing else does.
const PORT: u16 = 8442;
/// Between two polls of a device.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Where the console of a demo will be. Passkeys are bound to its origin, so it is found first of all.
#[derive(Debug)]
pub(super) struct Place {
    listener: TcpListener,
    pub(super) origin: String,
}

impl Place {
    /// The usual port, or another one if that is taken.
    pub(super) fn find() -> anyhow::Result<Self> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            }
            bound => bound,
        };
        let listener = listener.context("the console cannot listen on the loopback interface")?;
        let port = listener.local_addr()?.port();
        Ok(Self {
            listener,
            // Browsers take passkeys on pages without TLS from this name only.
            origin: format!("http://localhost:{port}"),
        })
    }

    /// Serves the console, and lets the devices poll, until it is told to stop.
    pub(super) fn serve(
        self,
        world: &mut World<'_>,
        folder: &Folder,
        stop: &Receiver<()>,
    ) -> anyhow::Result<()> {
        let eim = world.servers.eim.eim()?.clone();
        let office = world.servers.eim.office();
        let contacts = std::sync::Arc::clone(&eim);
        let parts = Parts {
            eim,
            authority: office.console_seam(),
            clock: std::sync::Arc::new(SystemClock),
            entropy: std::sync::Arc::new(SystemEntropy),
            // Nobody is told: the demo needs no network.
            courier: std::sync::Arc::new(HttpsCourier::new(Vec::new(), Vec::new())),
        };
        let console = Console::open(
            &folder.path_of(EIM).join("console.sqlite"),
            StoreOptions::default(),
            Settings::new(self.origin.clone()),
            parts,
        )?;
        let code = office.invite_visitor()?;
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let router = console.router();
        let listener = self.listener;
        listener.set_nonblocking(true)?;
        let served = world.servers.runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router)
                .with_graceful_shutdown(async {
                    // An error means that the demo is over: then it is time, too.
                    let _ = ended.await;
                })
                .await
        });
        let origin = &self.origin;
        for line in [
            String::new(),
            format!("The console is at {origin}"),
            "Enrol a passkey with this link, once, and sign in; you are an owner of this demo:"
                .to_owned(),
            format!("  {origin}/enrol#name={VISITOR}&code={code}"),
            "The devices keep polling. Ctrl-C ends the demo.".to_owned(),
        ] {
            output::note(&line);
        }
        while stop.recv_timeout(POLL_EVERY) == Err(RecvTimeoutError::Timeout) {
            for device in world.fleet.iter_mut() {
                device.wait_ms(u64::try_from(POLL_EVERY.as_millis()).unwrap_or(u64::MAX));
                device.poll();
            }
            // As `palisade serve` does, so that the console tells when devices polled.
            world.servers.wait(contacts.flush_contacts())?;
        }
        let _ = end.send(());
        // Pages that stay open hold their connection: they are not waited for.
        let drained = world
            .servers
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(1), served).await });
        if let Ok(served) = drained {
            served.context("the console broke off")??;
        }
        console.shut_down();
        Ok(())
    }
}

/// Whoever opens the console.
pub(super) const VISITOR: &str = "you";
