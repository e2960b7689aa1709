//! A program that talks to the console over TLS, with nothing that a browser would add or hold back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use edge::client::{BlockingClient, ClientOptions, Response};
use edge::tls::Trust;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use intent::passkey::SoftwarePasskey;
use intent::sign_in::SignInStatement;
use serde_json::{Value, json};

use crate::site::Site;

/// A client with cookies.
pub(crate) struct Program {
    client: BlockingClient,
    pub(crate) origin: String,
    pub(crate) cookies: RefCell<BTreeMap<String, String>>,
}

/// The cookie of a session.
pub(crate) const SESSION: &str = "__Host-palisade";

impl Program {
    pub(crate) fn new(site: &Site) -> Self {
        let root = fs::read(site.folder.path("pki/tls-ca.der")).unwrap();
        let trust = Trust::roots([root]);
        let client = BlockingClient::with_options(ClientOptions::new(trust)).unwrap();
        Self {
            client,
            origin: site.origin.clone(),
            cookies: RefCell::default(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "")
    }

    /// As the console's own pages do.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        let origin = self.origin.clone();
        self.send(
            Method::POST,
            path,
            &[("origin", &origin), ("content-type", "application/json")],
            &body.to_string(),
        )
    }

    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let cookies: Vec<String> = self
            .cookies
            .borrow()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            headers.insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        let url = format!("{}{path}", self.origin);
        let response = self
            .client
            .request(method, &url, headers, body.to_owned().into())
            .unwrap();
        for set in response.headers.get_all(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (pair, attributes) = set.split_once(';').unwrap();
            for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
                assert!(attributes.contains(attribute), "{set}");
            }
            let (name, value) = pair.split_once('=').unwrap();
            match value {
                "" => self.cookies.borrow_mut().remove(name),
                value => self
                    .cookies
                    .borrow_mut()
                    .insert(name.to_owned(), value.to_owned()),
            };
        }
        response
    }

    /// Begins a sign-in and has the passkey in this file sign it: what is to be sent to `/sign-in`.
    pub(crate) fn signed(&self, site: &Site, passkey: &str) -> Value {
        let asked = json(&self.post("/sign-in/statement", &json!({})));
        let statement = asked["statement"].as_str().unwrap();
        let challenge = SignInStatement::challenge(statement.as_bytes());
        let path = site.folder.path(passkey);
        let mut key =
            SoftwarePasskey::from_json(&fs::read_to_string(&path).unwrap(), None).unwrap();
        let assertion = key.assert(&self.origin, challenge.as_bytes()).unwrap();
        fs::write(&path, key.to_json().as_bytes()).unwrap();
        json!({ "statement": statement, "assertion": assertion })
    }

    /// Signs in with the passkey in this file.
    pub(crate) fn sign_in(&self, site: &Site, passkey: &str) {
        let signed = self.signed(site, passkey);
        let answer = self.post("/sign-in", &signed);
        assert_eq!(answer.status, 200, "{:?}", json(&answer));
    }

    /// What the browser of this program keeps of the session.
    pub(crate) fn session(&self) -> Option<String> {
        self.cookies.borrow().get(SESSION).cloned()
    }
}

/// The body of an answer.
pub(crate) fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}
