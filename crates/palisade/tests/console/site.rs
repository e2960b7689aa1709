//! An installation with its console, and nobody enrolled.

use std::net::TcpListener;

use crate::cli::{Folder, Server, owner_code, prepared_with, start_eim_alone};

/// An installation that runs.
pub(crate) struct Site {
    pub(crate) folder: Folder,
    pub(crate) eid: String,
    /// Where browsers find it.
    pub(crate) origin: String,
    server: Option<Server>,
}

impl Site {
    /// `options` are those of `init`.
    pub(crate) fn new(options: &[&str]) -> Self {
        // Passkeys are bound to the origin, so the port has to be known before the console listens on it.
        let port = free_port();
        let origin = format!("https://localhost:{port}");
        let (folder, eid) = prepared_with(&[&["--origin", &origin], options].concat());
        let address = format!("127.0.0.1:{port}");
        let server = start_eim_alone(&folder, &["--console", &address], &[]);
        Self {
            folder,
            eid,
            origin,
            server: Some(server),
        }
    }

    /// Ends it in order and starts it with the settings of now.
    pub(crate) fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            let (code, log) = server.terminate();
            assert_eq!(code, Some(0), "{log}");
        }
        self.server = Some(start_eim_alone(
            &self.folder,
            &["--console", &self.address()],
            &[],
        ));
    }

    /// Where the first owner enrols.
    pub(crate) fn enrolment(&self, name: &str) -> String {
        enrolment(name, &owner_code(&self.folder))
    }

    /// The address and port of the console.
    pub(crate) fn address(&self) -> String {
        self.origin.replace("https://localhost", "127.0.0.1")
    }
}

/// The path of an enrolment link.
pub(crate) fn enrolment(name: &str, code: &str) -> String {
    format!("/enrol#name={name}&code={code}")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
