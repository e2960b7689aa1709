//! Routes requests to the scripted servers, in either binding, with faults in between.

use std::cell::RefCell;
use std::rc::Rc;

use ipa::{Connectivity as _, HttpRequest, HttpResponse, Network, NetworkError, Server};
use rsp::binding::http::{PATH_ASN1, Route};
use rsp::binding::{es9plus, esipa};

use super::{Radio, ScriptedEim, ScriptedSmdp};

/// What happens to the next call of a function.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The request is executed, its answer lost.
    LoseAnswer,
    /// The request does not arrive.
    Unreachable,
    /// The server answers with this status and Retry-After.
    Status(u16, Option<&'static str>),
    /// The server answers with these octets.
    Octets(Vec<u8>),
}

/// Changes a body.
type Mangler = Box<dyn FnMut(&mut Vec<u8>)>;

pub(crate) struct NetState {
    pub(crate) eims: Vec<ScriptedEim>,
    pub(crate) smdp: ScriptedSmdp,
    pub(crate) faults: Vec<(&'static str, Fault)>,
    /// `host function` of each request that arrived.
    pub(crate) calls: Vec<String>,
    pub(crate) requests: Vec<HttpRequest>,
    pub(crate) radio: Option<Radio>,
    /// Changes the bodies of answers.
    pub(crate) mangler: Option<Mangler>,
}

#[derive(Clone)]
pub(crate) struct Net(pub(crate) Rc<RefCell<NetState>>);

impl NetState {
    pub(crate) fn new(smdp: ScriptedSmdp) -> Self {
        Self {
            eims: Vec::new(),
            smdp,
            faults: Vec::new(),
            calls: Vec::new(),
            requests: Vec::new(),
            radio: None,
            mangler: None,
        }
    }

    pub(crate) fn add_eim(&mut self, eim: ScriptedEim) {
        self.eims.push(eim);
    }

    pub(crate) fn eim(&mut self, id: &str) -> &mut ScriptedEim {
        self.eims.iter_mut().find(|eim| eim.id == id).unwrap()
    }

    fn answer(&mut self, request: &HttpRequest) -> (String, Option<Vec<u8>>) {
        let route = Route::from_path(&request.path).unwrap();
        match &request.server {
            Server::Eim { host, .. } => {
                let call = match route {
                    Route::Asn1 => esipa::Request::from_asn1(&request.body),
                    Route::Json { function, .. } => {
                        esipa::Request::from_json(function, &request.body)
                    }
                }
                .unwrap();
                let index = self.eims.iter().position(|eim| eim.id == *host).unwrap();
                let function = call.function();
                let (eims, smdp) = (&mut self.eims, &mut self.smdp);
                let response = eims[index].handle(call, smdp);
                let body = match route {
                    Route::Asn1 => response.to_asn1(),
                    Route::Json { .. } => response.to_json().unwrap(),
                };
                (function.name().to_owned(), body)
            }
            Server::Smdp { .. } | Server::Smds { .. } => {
                let call = match route {
                    Route::Asn1 => es9plus::Request::from_asn1(&request.body),
                    Route::Json { function, .. } => {
                        es9plus::Request::from_json(function, &request.body)
                    }
                }
                .unwrap();
                let function = call.function();
                let is_smds = matches!(request.server, Server::Smds { .. });
                let response = self.smdp.handle(call, is_smds);
                let body = match route {
                    Route::Asn1 => response.to_asn1(),
                    Route::Json { .. } => response.to_json(),
                };
                (function.name().to_owned(), body)
            }
        }
    }
}

impl Network for Net {
    fn post(&mut self, request: HttpRequest) -> Result<HttpResponse, NetworkError> {
        let mut state = self.0.borrow_mut();
        let is_connected = state.radio.as_mut().is_none_or(|radio| radio.check());
        if !is_connected {
            return Err(NetworkError::Unreachable {
                message: "no network".into(),
            });
        }
        assert!(request.path == PATH_ASN1 || request.path.starts_with("/gsma/rsp2/es"));
        let function = match Route::from_path(&request.path).unwrap() {
            Route::Json { function, .. } => function.to_owned(),
            Route::Asn1 => match &request.server {
                Server::Eim { .. } => esipa::Request::from_asn1(&request.body)
                    .unwrap()
                    .function()
                    .name()
                    .to_owned(),
                _ => es9plus::Request::from_asn1(&request.body)
                    .unwrap()
                    .function()
                    .name()
                    .to_owned(),
            },
        };
        state.requests.push(request.clone());
        let position = state.faults.iter().position(|(name, _)| *name == function);
        let fault = position.map(|position| state.faults.remove(position).1);
        match fault {
            Some(Fault::Unreachable) => {
                return Err(NetworkError::Unreachable {
                    message: "no route".into(),
                });
            }
            Some(Fault::Status(status, retry_after)) => {
                let headers = retry_after.map(|value| ("Retry-After".to_owned(), value.to_owned()));
                return Ok(HttpResponse {
                    status,
                    headers: headers.into_iter().collect(),
                    body: b"busy".to_vec(),
                });
            }
            Some(Fault::Octets(body)) => return Ok(HttpResponse::new(200, body)),
            Some(Fault::LoseAnswer) | None => {}
        }
        let (name, body) = state.answer(&request);
        state
            .calls
            .push(format!("{} {name}", request.server.host()));
        if matches!(fault, Some(Fault::LoseAnswer)) {
            return Err(NetworkError::Lost {
                message: "connection reset".into(),
            });
        }
        let mangler = state.mangler.as_mut();
        let body = match (body, mangler) {
            (Some(mut body), Some(mangler)) => {
                mangler(&mut body);
                Some(body)
            }
            (body, _) => body,
        };
        Ok(match body {
            Some(body) => HttpResponse::new(200, body),
            None => HttpResponse::new(204, Vec::new()),
        })
    }
}
