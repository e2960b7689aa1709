//! An installation with its console, and nobody enrolled.

use std::net::TcpListener;
use std::time::Instant;

use crate::cli::{Folder, Server, data, owner_code, prepared_with, start_eim_alone};
use crate::support::PATIENCE;

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

    /// Makes a card with two profiles that is associated with the eIM.
    pub(crate) fn new_card(&self) {
        let new = [
            "euicc", "new", "-d", "card", "--pki", "pki", "--eid", &self.eid,
        ];
        self.folder.ok(&new);
        let data = ["eim", "association-data", "--data", "eim", "--out", "a.der"];
        self.folder.ok(&data);
        let add = ["ipa", "add-initial-eim", "--euicc", "card"];
        self.folder
            .ok(&[&add[..], &["--association-data", "a.der"]].concat());
    }

    /// What the card says about itself.
    pub(crate) fn card(&self) -> String {
        let show = ["euicc", "show", "-d", "card"];
        self.folder.json(&show).to_string()
    }

    /// One poll of the device.
    pub(crate) fn poll(&self) -> String {
        self.poll_over(&[])
    }

    /// One poll of the device, which finds the SM-DP+.
    pub(crate) fn poll_with(&self, smdp: &Smdp) -> String {
        self.poll_over(&["--resolve", &smdp.es9plus])
    }

    fn poll_over(&self, more: &[&str]) -> String {
        let status = self.folder.json(&["eim", "status", "--data", "eim"]);
        let esipa = format!("localhost={}", status["listen"].as_str().unwrap());
        let poll = ["ipa", "run", "--once", "--euicc", "card"];
        let network = ["--trust", "pki/tls-ca.der", "--resolve", &esipa];
        let ran = self.folder.run(&[&poll[..], &network, more].concat());
        format!("{}{}", ran.out, ran.err)
    }

    /// Polls until the eIM says this of the device.
    pub(crate) fn poll_until(&self, member: &str, value: &str) {
        let begun = Instant::now();
        loop {
            let said = self.poll();
            let show = ["device", "show", &self.eid, "--data", "eim"];
            let device = self.folder.json(&show);
            if device[member] == value {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{device}\n{said}");
        }
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

/// An SM-DP+ that runs.
pub(crate) struct Smdp {
    es9plus: String,
    _server: Server,
}

impl Smdp {
    pub(crate) fn start(site: &Site) -> Self {
        let serve = ["smdp", "serve", "--data", "smdp", "--pki", "pki"];
        let status = ["smdp", "status", "--data", "smdp"];
        let listen = ["--listen", "127.0.0.1:0"];
        let server = site.folder.serve(&[&serve[..], &listen].concat(), &status);
        let status = site.folder.json(&status);
        Self {
            es9plus: format!("smdp.example.com={}", status["es9plus"].as_str().unwrap()),
            _server: server,
        }
    }

    /// Has a TS.48 profile ready for the device; gives the activation code.
    pub(crate) fn order(&self, site: &Site, iccid: &str) -> String {
        let package = data("ts48/ts48-v7-nobertlv.der");
        let of = ["--data", "smdp", "--iccid", iccid];
        site.folder
            .ok(&[&["smdp", "import", &package], &of[..]].concat());
        let order = ["smdp", "order", "--eid", &site.eid];
        let code = site.folder.ok(&[&order[..], &of].concat());
        code.trim().to_owned()
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
