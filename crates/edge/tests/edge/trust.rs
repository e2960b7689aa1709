//! Whom the client and the server believe.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use edge::client::{Client, ClientError, ClientOptions, TlsFailure};
use edge::server::{ConnectionInfo, Limits};
use edge::tls::{ClientAuth, Identity, TlsConfig, TlsError, Trust};
use http::HeaderMap;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;

use crate::support::{Authority, Issued, NOW, Profile, Running, clock, options, url};

fn routes() -> Router {
    Router::new().route(
        "/",
        get(|Extension(info): Extension<ConnectionInfo>| async move {
            info.client_certificate
                .map_or_else(Vec::new, |certificate| certificate.to_vec())
        }),
    )
}

async fn serve(issued: &Issued) -> Running {
    let root = Authority::root("not looked at").certificate;
    Running::start_with(
        Limits::default(),
        TlsConfig::new(issued.identity()),
        root,
        routes(),
    )
    .await
}

async fn ask(address: SocketAddr, trust: Trust) -> Result<(), TlsFailure> {
    result(Client::with_options(options(address, trust)).unwrap())
        .await
        .map(|_| ())
}

async fn result(client: Client) -> Result<Vec<u8>, TlsFailure> {
    match client.get(&url("/"), HeaderMap::new()).await {
        Ok(response) => Ok(response.body.to_vec()),
        Err(ClientError::Tls(failure)) => Err(failure),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn roots_check_issuer_name_and_validity() {
    let (authority, stranger) = (Authority::root("Test CI"), Authority::root("Another CI"));
    // As the GSMA CI: the same name, another key.
    let namesake = Authority::root("Test CI");
    // The second form takes the path of chains with critical certificatePolicies.
    for critical_policies in [false, true] {
        let good = Profile {
            critical_policies,
            ..Profile::default()
        };
        let server = serve(&authority.issue(&good)).await;
        let roots =
            |roots: &[&Authority]| Trust::roots(roots.iter().map(|root| root.certificate.to_vec()));
        assert_eq!(ask(server.address, roots(&[&authority])).await, Ok(()));
        assert_eq!(
            ask(server.address, roots(&[&stranger, &namesake, &authority])).await,
            Ok(())
        );
        assert_eq!(
            ask(
                server.address,
                Trust::CaCertificate(authority.certificate.clone())
            )
            .await,
            Ok(())
        );
        assert_eq!(
            ask(server.address, roots(&[&stranger])).await,
            Err(TlsFailure::UnknownIssuer)
        );
        let failure = ask(server.address, roots(&[&namesake])).await.unwrap_err();
        assert!(
            matches!(
                failure,
                TlsFailure::UnknownIssuer | TlsFailure::BadCertificate(_)
            ),
            "{failure:?}"
        );

        for (profile, failure) in [
            (
                Profile {
                    years: (2020, 2026),
                    ..good.clone()
                },
                TlsFailure::Expired,
            ),
            (
                Profile {
                    years: (2027, 2030),
                    ..good.clone()
                },
                TlsFailure::NotValidYet,
            ),
            (
                Profile {
                    host: "other.example.com",
                    ..good.clone()
                },
                TlsFailure::WrongName,
            ),
        ] {
            let server = serve(&authority.issue(&profile)).await;
            assert_eq!(
                ask(server.address, roots(&[&authority])).await,
                Err(failure),
                "{critical_policies}"
            );
        }
        for profile in [
            Profile {
                purpose: ExtendedKeyUsagePurpose::ClientAuth,
                ..good.clone()
            },
            Profile {
                unknown_critical: true,
                ..good.clone()
            },
        ] {
            let server = serve(&authority.issue(&profile)).await;
            let failure = ask(server.address, roots(&[&authority])).await.unwrap_err();
            assert!(
                matches!(failure, TlsFailure::BadCertificate(_)),
                "{failure:?}"
            );
        }
    }
    // Key usage is looked at where this crate checks the path.
    let profile = Profile {
        critical_policies: true,
        usage: KeyUsagePurpose::KeyAgreement,
        ..Profile::default()
    };
    let server = serve(&authority.issue(&profile)).await;
    let failure = ask(
        server.address,
        Trust::CaCertificate(authority.certificate.clone()),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(failure, TlsFailure::BadCertificate(_)),
        "{failure:?}"
    );
}

#[tokio::test]
async fn chains_with_critical_policies_may_have_subordinates() {
    let root = Authority::root("Test CI");
    let profile = Profile {
        critical_policies: true,
        ..Profile::default()
    };
    let chain = |issuers: &[&Authority], profile: &Profile| {
        let mut issued = issuers.first().unwrap_or(&&root).issue(profile);
        issued
            .chain
            .extend(issuers.iter().map(|issuer| issuer.certificate.clone()));
        issued
    };
    let trust = || Trust::CaCertificate(root.certificate.clone());
    let sub = root.subordinate("Sub CI", BasicConstraints::Unconstrained);
    let sub_zero = root.subordinate("Sub CI 0", BasicConstraints::Constrained(0));
    let sub_sub = sub.subordinate("Sub sub CI", BasicConstraints::Constrained(0));
    let below_zero = sub_zero.subordinate("One too many", BasicConstraints::Unconstrained);

    for issuers in [&[&sub][..], &[&sub_zero], &[&sub_sub, &sub]] {
        let server = serve(&chain(issuers, &profile)).await;
        assert_eq!(
            ask(server.address, trust()).await,
            Ok(()),
            "{} subordinates",
            issuers.len()
        );
        // A leaf without the extension below a subordinate with it takes the same path.
        let server = serve(&chain(issuers, &Profile::default())).await;
        assert_eq!(ask(server.address, trust()).await, Ok(()));
    }
    let path_too_long = serve(&chain(&[&below_zero, &sub_zero], &profile)).await;
    assert_eq!(
        ask(path_too_long.address, trust()).await,
        Err(TlsFailure::UnknownIssuer)
    );
    let incomplete = serve(&chain(&[&sub_sub], &profile)).await;
    assert_eq!(
        ask(incomplete.address, trust()).await,
        Err(TlsFailure::UnknownIssuer)
    );

    // An end entity must not act as an authority: its certificate stands where a subordinate's should.
    let mut forged = sub.issue(&profile);
    forged.chain.push(root.issue(&profile).chain.remove(0));
    assert_eq!(
        ask(serve(&forged).await.address, trust()).await,
        Err(TlsFailure::UnknownIssuer)
    );
}

#[tokio::test]
async fn a_pinned_key_needs_no_name_and_no_validity_but_that_key() {
    let authority = Authority::root("Test CI");
    let profile = Profile {
        host: "other.example.com",
        years: (2020, 2021),
        critical_policies: true,
        ..Profile::default()
    };
    let issued = authority.issue(&profile);
    let server = serve(&issued).await;
    assert_eq!(
        ask(server.address, Trust::PinnedSpki(issued.spki.clone())).await,
        Ok(())
    );
    let other = authority.issue(&profile).spki;
    assert_eq!(
        ask(server.address, Trust::PinnedSpki(other)).await,
        Err(TlsFailure::PinMismatch)
    );
    let error = Client::with_options(options(server.address, Trust::PinnedSpki(vec![0x30, 0x00])))
        .unwrap_err();
    assert!(matches!(error, TlsError::PinFormat), "{error:?}");
}

#[tokio::test]
async fn a_pinned_certificate_is_exactly_that_one() {
    let authority = Authority::root("Test CI");
    let profile = Profile {
        host: "other.example.com",
        ..Profile::default()
    };
    let issued = authority.issue(&profile);
    let server = serve(&issued).await;
    let pin = |issued: &Issued| Trust::PinnedCertificate(issued.chain[0].clone());
    assert_eq!(ask(server.address, pin(&issued)).await, Ok(()));
    assert_eq!(
        ask(server.address, pin(&authority.issue(&profile))).await,
        Err(TlsFailure::PinMismatch)
    );
    let expired = authority.issue(&Profile {
        years: (2020, 2026),
        ..profile
    });
    assert_eq!(
        ask(serve(&expired).await.address, pin(&expired)).await,
        Err(TlsFailure::Expired)
    );
}

/// A server that shows a certificate whose key it does not have.
#[tokio::test]
async fn the_handshake_must_be_signed_with_the_certificates_key() {
    let authority = Authority::root("Test CI");
    let profile = Profile {
        critical_policies: true,
        ..Profile::default()
    };
    let (genuine, thief) = (authority.issue(&profile), authority.issue(&profile));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider
            .key_provider
            .load_private_key(thief.key.clone().try_into().unwrap())
            .unwrap();
        let shown = rustls::sign::CertifiedKey::new(genuine.chain.clone(), key);
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        });
        for trust in [
            Trust::PinnedSpki(genuine.spki.clone()),
            Trust::PinnedCertificate(genuine.chain[0].clone()),
            Trust::CaCertificate(authority.certificate.clone()),
        ] {
            let failure = ask(address, trust).await.unwrap_err();
            assert_eq!(
                failure,
                TlsFailure::BadCertificate("BadSignature".to_owned()),
                "{version:?}"
            );
        }
    }
    // Our own server does not start with a key that is not its certificate's.
    let identity = Identity::from_der(vec![genuine.chain[0].to_vec()], thief.key).unwrap();
    let bound = edge::server::Server::bind(
        "127.0.0.1:0".parse().unwrap(),
        TlsConfig::new(identity),
        Limits::default(),
    );
    match bound.await {
        Err(edge::server::BindError::Tls {
            source: TlsError::KeyMismatch,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn client_certificates_are_asked_for_and_checked() {
    let servers = Authority::root("Server CI");
    let (clients, strangers) = (Authority::root("Client CI"), Authority::root("Another CI"));
    let mut required = Vec::new();
    for auth in [
        ClientAuth::Required(vec![clients.certificate.clone()]),
        ClientAuth::Optional(vec![clients.certificate.clone()]),
    ] {
        let tls =
            TlsConfig::new(servers.issue(&Profile::default()).identity()).with_client_auth(auth);
        required.push(
            Running::start_with(
                Limits::default(),
                tls,
                servers.certificate.clone(),
                routes(),
            )
            .await,
        );
    }
    let [required, optional] = &required[..] else {
        panic!("two servers")
    };
    let ask = async |server: &Running, identity: Option<&Issued>| {
        let identity = identity.map(Issued::identity);
        let client = Client::with_options(ClientOptions {
            identity,
            ..server.options()
        })
        .unwrap();
        client
            .get(&url("/"), HeaderMap::new())
            .await
            .map(|response| response.body.to_vec())
    };
    let profile = Profile {
        purpose: ExtendedKeyUsagePurpose::ClientAuth,
        ..Profile::default()
    };
    for critical_policies in [false, true] {
        let profile = Profile {
            critical_policies,
            ..profile.clone()
        };
        let good = clients.issue(&profile);
        for server in [required, optional] {
            assert_eq!(
                ask(server, Some(&good)).await.unwrap(),
                good.chain[0].to_vec()
            );
            for bad in [
                strangers.issue(&profile),
                clients.issue(&Profile {
                    years: (2020, 2021),
                    ..profile.clone()
                }),
                clients.issue(&Profile {
                    purpose: ExtendedKeyUsagePurpose::ServerAuth,
                    ..profile.clone()
                }),
            ] {
                assert!(ask(server, Some(&bad)).await.is_err());
            }
        }
    }
    assert!(ask(required, None).await.is_err());
    assert_eq!(ask(optional, None).await.unwrap(), Vec::<u8>::new());
    assert_eq!(
        required.counters.values().requests,
        2,
        "no handler saw a refused client"
    );
}

#[tokio::test]
async fn certificates_of_the_gsma_test_pki_are_accepted() {
    let data = |name: &str| {
        let path = format!(
            "{}/../../tests/data/sgp26/variant-o/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read(path).unwrap()
    };
    let certificate = CertificateDer::from(data("DPtls/CERT_S_SM_DP_VARO_TLS_NIST.der"));
    let root = CertificateDer::from(data("CertificateIssuer/CERT_CI_ECDSA_NIST.der"));
    // Trust does not hang on the server's own key here, so that no private key is needed: only the path is looked at.
    let pem = String::from_utf8(data("DPtls/SK_S_SM_DP_TLS_NIST.pem")).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(pem_body(&pem)).unwrap();
    let identity = Identity::new(vec![certificate], key).unwrap();
    let tls = TlsConfig::new(identity);
    let server = Running::start_with(Limits::default(), tls, root.clone(), routes()).await;
    // 2026-10-01, within the validity of the test certificate.
    let at = |seconds: u64| ClientOptions {
        resolve: vec![("testsmdpplus1.example.com".to_owned(), server.address)],
        clock: Some(Arc::new(move || seconds)),
        ..ClientOptions::new(Trust::CaCertificate(root.clone()))
    };
    let client = Client::with_options(at(1_790_812_800)).unwrap();
    let response = client
        .get("https://testsmdpplus1.example.com/", HeaderMap::new())
        .await
        .unwrap();
    assert_eq!(response.status.as_u16(), 200);
    let client = Client::with_options(at(NOW + 86_400 * 365 * 3)).unwrap();
    let error = client
        .get("https://testsmdpplus1.example.com/", HeaderMap::new())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Tls(TlsFailure::Expired)),
        "{error:?}"
    );
    assert!(clock()() == NOW);
}

/// The DER inside the private key block of a PEM text, which may hold an EC PARAMETERS block before it.
fn pem_body(pem: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .secret_der()
        .to_vec()
}
