//! The SM-DP+ for tests and labs, assembled from a PKI folder and run until it is told to stop.
//!
//! Its verbs are called through a socket in its data folder while it runs, and on its database directly while it does not:
//! [`admin`] is the same in both cases.

pub(crate) mod admin;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::extract::ConnectInfo;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use edge::client::{Client, ClientLimits, ClientOptions};
use edge::server::{Counters, Server};
use edge::tls::rustls_pki_types::CertificateDer;
use edge::tls::{ClientAuth, Identity, TlsConfig, Trust};
use pki::issue::Credential;
use smdp::{
    Config, EdgeOperatorLink, Identities, Operator, OperatorAccess, ProfileKeys, Rebinding,
    ServerIdentity, Smdp,
};
use store::{Store, StoreOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::adapters::{SystemClock, SystemEntropy, create_private_directory, is_private_directory};
use crate::config::File;
use crate::control::{self, Problem};
use crate::trust;

/// Name of the socket in the data folder.
pub(crate) const SOCKET: &str = "smdp.sock";
const DATABASE: &str = "smdp.sqlite";

/// An SM-DP+ with what its listeners need.
pub(crate) struct Lab {
    pub(crate) smdp: Smdp,
    tls: Identity,
    tls_root: Vec<u8>,
    has_operator_link: bool,
    crl: PathBuf,
}

/// Opens the database of a data folder with the identities of a PKI folder.
pub(crate) fn open(data: &Path, file: &File) -> anyhow::Result<Lab> {
    let settings = &file.smdp;
    let folder: PathBuf = match &settings.pki {
        Some(folder) => file.path(folder),
        None => bail!(
            "the SM-DP+ has no certificates; make some with `palisade pki new --directory pki`, and give --pki pki"
        ),
    };
    create_private_directory(data)?;
    is_private_directory(data)?;
    let load = |name: &str| {
        Credential::load(&folder, name).with_context(|| {
            format!(
                "{} is not a folder that `palisade pki new` made",
                folder.display()
            )
        })
    };
    let (auth, pb, tls) = (load("smdp-auth")?, load("smdp-pb")?, load("smdp-tls")?);
    let oid = auth
        .certificate
        .registered_id()
        .context("the SM-DP+ authentication certificate has no OID")?
        .clone();
    let address = match (&settings.fqdn, tls.certificate.dns_names().first()) {
        (Some(fqdn), _) => fqdn.clone(),
        (None, Some(name)) => name.clone(),
        (None, None) => bail!("the TLS certificate names no host; give --fqdn"),
    };
    let tls_root = trust::read_certificate(&folder.join("tls-ca.der"))?
        .der()
        .to_vec();
    let operator = trust::read_certificate(&folder.join("es2-client.der"))?;
    let operator_key = operator
        .public_key()
        .context("the key of the ES2+ client cannot be used")?
        .to_spki_der();
    let config = Config {
        operators: vec![Operator {
            name: settings.es2_operator.clone(),
            oid: None,
            access: OperatorAccess::Spki(operator_key),
            progress_url: settings.es2_progress_url.clone(),
        }],
        profile_keys: if settings.profile_keys {
            ProfileKeys::Random
        } else {
            ProfileKeys::Session
        },
        rebinding: if settings.rebinding {
            Rebinding::SameEuicc
        } else {
            Rebinding::SameKeyOnly
        },
        ..Config::new(address, oid)
    };
    let crl = folder.join("ci.crl");
    let identities = Identities {
        trust: trust::read_anchors(&[folder.join("ci.der"), crl.clone()])?,
        servers: vec![ServerIdentity {
            auth_certificate: auth.certificate,
            auth_signer: Arc::new(auth.key),
            pb_certificate: pb.certificate,
            pb_signer: Arc::new(pb.key),
            sub_cas: Vec::new(),
        }],
        chain_policy: pki::ChainPolicy::default(),
    };
    let tls = Identity::from_der(
        vec![tls.certificate.der().to_vec()],
        tls.key.to_pkcs8_der()?.as_bytes().to_vec(),
    )
    .context("the TLS identity of the SM-DP+ cannot be used")?;
    let store = Store::open(
        data.join(DATABASE),
        smdp::MIGRATIONS,
        StoreOptions::default(),
    )
    .with_context(|| format!("the database in {} cannot be opened", data.display()))?;
    let clock = || SystemClock.timestamp();
    let smdp = Smdp::open(config, store, identities, clock, SystemEntropy)
        .context("the SM-DP+ cannot be set up")?;
    Ok(Lab {
        smdp,
        tls,
        tls_root,
        has_operator_link: settings.es2_progress_url.is_some(),
        crl,
    })
}

/// A running SM-DP+.
pub(crate) struct Running {
    smdp: Smdp,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    crl: PathBuf,
}

/// Listens on ES9+, on ES2+ if it has an address, and on the socket of the data folder.
pub(crate) async fn start(data: &Path, file: &File, lab: Lab) -> anyhow::Result<Running> {
    let Lab {
        smdp,
        tls,
        tls_root,
        has_operator_link,
        crl,
    } = lab;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Vec::new();
    let limits = file.limits.to_edge();

    let es9plus = Server::bind(
        file.smdp.listen,
        TlsConfig::new(tls.clone()),
        limits.clone(),
    )
    .await?;
    let (address, counters) = (es9plus.local_addr(), es9plus.counters());
    let es2plus = match file.smdp.es2_listen {
        None => None,
        Some(listen) => {
            let roots = vec![CertificateDer::from(tls_root.clone())];
            let config = TlsConfig::new(tls.clone()).with_client_auth(ClientAuth::Required(roots));
            Some(Server::bind(listen, config, limits).await?)
        }
    };
    let es2_address: Option<SocketAddr> = es2plus.as_ref().map(Server::local_addr);
    let socket = control::listen(&data.join(SOCKET))?;

    let (router, until) = (smdp.router(), until(stopped.clone()));
    tasks.push(tokio::spawn(async move {
        es9plus.serve(router, until).await;
    }));
    if let Some(server) = es2plus {
        let (router, until) = (smdp.es2plus_router(), self::until(stopped.clone()));
        tasks.push(tokio::spawn(async move {
            server.serve(router, until).await;
        }));
    }
    if has_operator_link {
        let client = Client::with_options(ClientOptions {
            identity: Some(tls),
            limits: ClientLimits::default(),
            ..ClientOptions::new(Trust::roots([tls_root]))
        })?;
        let (smdp, until) = (smdp.clone(), self::until(stopped.clone()));
        tasks.push(tokio::spawn(async move {
            smdp.run_progress_delivery(EdgeOperatorLink(client), until)
                .await;
        }));
    }
    let status = admin::Listening {
        es9plus: address,
        es2plus: es2_address,
    };
    let (admin, until) = (admin_router(smdp.clone(), status), self::until(stopped));
    tasks.push(tokio::spawn(async move {
        if let Err(error) = control::serve(socket, admin, until).await {
            tracing::error!(%error, "the control server broke off");
        }
    }));
    tracing::info!(fqdn = smdp.config().address, es9plus = %address, es2plus = ?es2_address, "ready");
    Ok(Running {
        smdp,
        counters,
        stop,
        tasks,
        crl,
    })
}

impl Running {
    /// Reads the CRL of the CI again. What cannot be read, or is older, changes nothing.
    pub(crate) fn reload(&self) {
        let taken = trust::read_crl(&self.crl).and_then(|crl| {
            let revoked = crl.len();
            self.smdp
                .add_crl(crl)
                .map(|()| revoked)
                .with_context(|| format!("the CRL {} is not acceptable", self.crl.display()))
        });
        match taken {
            Ok(revoked) => tracing::info!(revoked, "the CRL of the CI was read again"),
            Err(error) => tracing::error!("the CRL of the CI stays the old one: {error:#}"),
        }
    }

    /// Lets requests under way end.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self {
            smdp,
            counters,
            stop,
            tasks,
            ..
        } = self;
        // Nobody listening any more is as good.
        let _ = stop.send(true);
        for task in tasks {
            task.await.context("a part of the SM-DP+ broke off")?;
        }
        let edge = counters.values();
        tracing::info!(
            connections_accepted = edge.accepted,
            handshakes_failed = edge.handshakes_failed,
            requests = edge.requests,
            counters = ?smdp.counters(),
            "stopped"
        );
        Ok(())
    }
}

/// Ready when the server is to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: then it is time, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// `POST /v1/admin`: one path for all verbs, which the body names.
fn admin_router(smdp: Smdp, listening: admin::Listening) -> Router {
    let call = move |ConnectInfo(operator): ConnectInfo<control::Operator>, body: Bytes| async move {
        let request: admin::Request = serde_json::from_slice(&body)
            .map_err(|error| Problem::invalid(format!("the body does not fit: {error}")))?;
        tracing::info!(operator = operator.name(), verb = request.verb(), "control");
        let executed =
            tokio::task::spawn_blocking(move || admin::execute(&smdp, Some(listening), request))
                .await;
        match executed {
            Ok(outcome) => outcome.map(Json),
            Err(error) => Err(Problem::unavailable(&error)),
        }
    };
    Router::new()
        .route("/v1/admin", post(call))
        .layer(axum::extract::DefaultBodyLimit::max(
            control::BODY_OCTETS_MAX,
        ))
}
