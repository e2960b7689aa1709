//! Signing in with a passkey, and enrolling one.
//!
//! The person's passkey signs a statement that names the installation, and whose nonce comes from a cookie of the same browser:
//! an assertion made in one browser begins no session in another. The authority verifies it, accepts each nonce once, and
//! records who came in and who was refused. What the session is good for is reading; each change is signed by itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge::server::ConnectionInfo;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use intent::api::{Enrol, PrincipalInfo, RefusalCode, SignIn, enrolment_challenge};
use intent::passkey::{AssertionResponse, Base64Url, PasskeyAlgorithm, RegistrationResponse};
use intent::sign_in::{LIFETIME_MAX_MS, SignInStatement};
use intent::{Digest, Principal, Proof};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::Problem;
use crate::reader::{Reader, Via};
use crate::security::local_path;
use crate::sessions::{Begun, Secret};
use crate::site::Console;

/// The cookie of a session.
pub(crate) const SESSION_COOKIE: &str = "__Host-palisade";
/// The cookie that a sign-in is bound to.
const SIGN_IN_COOKIE: &str = "__Host-palisade-sign-in";
/// How long it takes to be refused.
const REFUSAL_TIME: Duration = Duration::from_millis(300);
/// Characters of a User-Agent that are kept.
const AGENT_MAX: usize = 200;

type Site = State<Arc<Console>>;
type Received<T> = Result<Json<T>, JsonRejection>;

/// What works without a session.
pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/sign-in/statement", post(statement))
        .route("/sign-in", post(sign_in))
        .route("/enrol/options", post(enrol_options))
        .route("/enrol", post(enrol))
}

/// What works with one.
pub(crate) fn session_routes() -> Router<Arc<Console>> {
    Router::new().route("/sign-out", post(sign_out))
}

/// What the passkey has to sign.
#[derive(Serialize)]
struct Asked {
    statement: String,
    /// base64url, for `PublicKeyCredentialRequestOptions`.
    challenge: Base64Url,
    rp_id: String,
}

/// `POST /sign-in/statement`
async fn statement(State(console): Site) -> Result<Response, Problem> {
    let parameters = console.authority.parameters().await?;
    let secret = console.secret();
    let now = console.now();
    let statement = SignInStatement {
        v: 1,
        installation: parameters.installation,
        nonce: nonce(&secret),
        created_at: now,
        expires_at: now + LIFETIME_MAX_MS,
    };
    let text = statement
        .encode()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let asked = Asked {
        challenge: Base64Url(
            SignInStatement::challenge(text.as_bytes())
                .as_bytes()
                .to_vec(),
        ),
        statement: text,
        rp_id: parameters.rp_id,
    };
    let mut response = Json(asked).into_response();
    set_cookie(
        &mut response,
        SIGN_IN_COOKIE,
        &secret,
        LIFETIME_MAX_MS / 1000,
    );
    Ok(response)
}

/// What the browser sends when the person has touched the passkey.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    statement: String,
    assertion: Box<AssertionResponse>,
    #[serde(default)]
    next: Option<String>,
}

/// Where to go on.
#[derive(Serialize)]
struct Onward {
    next: String,
}

/// `POST /sign-in`
async fn sign_in(
    State(console): Site,
    connection: Option<Extension<ConnectionInfo>>,
    headers: HeaderMap,
    body: Received<Shown>,
) -> Result<Response, Problem> {
    let Json(Shown {
        statement,
        assertion,
        next,
    }) = body?;
    let credential = assertion
        .credential_id()
        .ok_or_else(|| Problem::invalid("the passkey's id is empty or too long"))?;
    let known = cookie(&headers, SIGN_IN_COOKIE).ok_or_else(begun_elsewhere)?;
    let claimed = SignInStatement::decode(statement.as_bytes())
        .map_err(|error| Problem::invalid(error.to_string()))?;
    if !bool::from(claimed.nonce.ct_eq(&nonce(&known))) {
        return Err(begun_elsewhere());
    }
    let network = network_of(connection);
    let begun_at = Instant::now();
    knock(&console, network)?;
    let request = SignIn {
        statement,
        proof: Proof::Passkey {
            credential,
            assertion,
        },
        network,
    };
    let signed_in = match console.authority.sign_in(&request).await {
        Ok(signed_in) => signed_in,
        Err(problem) => return Err(refused_alike(problem, begun_at).await),
    };
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .chars()
        .take(AGENT_MAX)
        .collect();
    let secret = console.secret();
    let now = console.now();
    let lifetime = console.settings.session_lifetime_ms;
    let begun = Begun {
        principal: signed_in.principal.name,
        credential: signed_in.credential,
        address: network.map_or_else(String::new, |address| address.to_string()),
        agent,
    };
    // Whatever session the browser had is not carried over.
    if let Some(old) = cookie(&headers, SESSION_COOKIE) {
        console.sessions.forget(Secret(old)).await?;
    }
    console
        .sessions
        .begin(Secret(secret), begun, now, now.saturating_add(lifetime))
        .await?;
    let next = local_path(next.as_deref().unwrap_or("/")).to_owned();
    let mut response = Json(Onward { next }).into_response();
    set_cookie(&mut response, SESSION_COOKIE, &secret, lifetime / 1000);
    response
        .headers_mut()
        .append(header::SET_COOKIE, forget_cookie(SIGN_IN_COOKIE));
    Ok(response)
}

/// `POST /sign-out`
async fn sign_out(
    State(console): Site,
    Extension(reader): Extension<Reader>,
) -> Result<Response, Problem> {
    if let Via::Session {
        principal, session, ..
    } = &reader.via
    {
        console.sessions.end(*session, principal).await?;
    }
    let onward = Onward {
        next: "/sign-in".to_owned(),
    };
    let mut response = Json(onward).into_response();
    response
        .headers_mut()
        .append(header::SET_COOKIE, forget_cookie(SESSION_COOKIE));
    response.headers_mut().insert(
        "clear-site-data",
        HeaderValue::from_static("\"cache\", \"storage\""),
    );
    Ok(response)
}

/// Who wants to enrol.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrolling {
    code: String,
    name: Principal,
}

/// PublicKeyCredentialCreationOptionsJSON (WebAuthn Level 3 section 5.4), as far as the page does not know it.
#[derive(Serialize)]
struct EnrolOptions {
    challenge: Base64Url,
    rp_id: String,
    user_id: Base64Url,
    algorithms: Vec<i64>,
}

/// `POST /enrol/options`
async fn enrol_options(
    State(console): Site,
    body: Received<Enrolling>,
) -> Result<Json<EnrolOptions>, Problem> {
    let Json(Enrolling { code, name }) = body?;
    let parameters = console.authority.parameters().await?;
    let challenge = enrolment_challenge(&parameters.installation, &code, &name);
    // The same person gets the same id, so that a new passkey on the same authenticator takes the place of the old one.
    let user = Digest::of(&[
        b"palisade-user\0",
        parameters.installation.as_bytes(),
        b"\0",
        name.as_str().as_bytes(),
    ]);
    Ok(Json(EnrolOptions {
        challenge: Base64Url(challenge.as_bytes().to_vec()),
        rp_id: parameters.rp_id,
        user_id: Base64Url(user.as_bytes().to_vec()),
        algorithms: PasskeyAlgorithm::ALL.iter().map(|one| one.cose()).collect(),
    }))
}

/// A code and a new passkey.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrolment {
    code: String,
    name: Principal,
    registration: Box<RegistrationResponse>,
}

/// `POST /enrol`
async fn enrol(
    State(console): Site,
    connection: Option<Extension<ConnectionInfo>>,
    body: Received<Enrolment>,
) -> Result<(StatusCode, Json<PrincipalInfo>), Problem> {
    let Json(Enrolment {
        code,
        name,
        registration,
    }) = body?;
    knock(&console, network_of(connection))?;
    let request = Enrol {
        code,
        name,
        registration,
    };
    let info = console.authority.post("/v1/enrolments", &request).await?;
    Ok((StatusCode::CREATED, Json(info)))
}

fn network_of(connection: Option<Extension<ConnectionInfo>>) -> Option<IpAddr> {
    connection.map(|Extension(info)| info.peer.ip().to_canonical())
}

fn knock(console: &Console, from: Option<IpAddr>) -> Result<(), Problem> {
    let now = console.now();
    console.knocks.take(from, now).map_err(|wait_ms| {
        let mut problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-attempts",
            "Too many attempts from this address",
            "sign-ins and enrolments are counted by the address they come from",
            format!("try again in {} s", wait_ms.div_euclid(1000) + 1),
        );
        problem.retry_at = Some(now.saturating_add(wait_ms));
        problem
    })
}

/// A passkey that is unknown, revoked, expired, frozen or wrong: from outside it looks the same, and takes as long. The record
/// has the reason.
async fn refused_alike(problem: Problem, begun_at: Instant) -> Problem {
    use RefusalCode as R;
    let is_about_the_passkey = problem.code.is_some_and(|code| {
        matches!(
            code,
            R::ProofInvalid
                | R::CredentialUnknown
                | R::CredentialInvalid
                | R::NetworkRefused
                | R::Frozen
        )
    });
    if !is_about_the_passkey {
        return problem;
    }
    tokio::time::sleep_until(begun_at + REFUSAL_TIME).await;
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "sign-in-refused",
        "This passkey cannot sign in here",
        "it is not one of this installation, or it is revoked, expired or frozen, or not for this network",
        "use another passkey; somebody who can see the record finds the reason there",
    )
}

fn begun_elsewhere() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "sign-in-elsewhere",
        "This sign-in did not begin in this browser, or took too long",
        "its cookie is missing or another one",
        "open the sign-in page again, with cookies allowed",
    )
}

/// What a statement of the browser with this cookie says.
fn nonce(secret: &[u8; 32]) -> [u8; 16] {
    let digest = Digest::of(&[b"palisade-sign-in-nonce\0", secret]);
    let mut nonce = [0; 16];
    for (octet, from) in nonce.iter_mut().zip(digest.as_bytes()) {
        *octet = *from;
    }
    nonce
}

/// The 32 octets in a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<[u8; 32]> {
    let fields = headers.get_all(header::COOKIE).iter();
    let mut pairs = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()
}

fn set_cookie(response: &mut Response, name: &str, secret: &[u8; 32], seconds: i64) {
    let value = URL_SAFE_NO_PAD.encode(secret);
    let text =
        format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

pub(crate) fn forget_cookie(name: &str) -> HeaderValue {
    let text = format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
