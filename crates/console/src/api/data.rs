//! What operators know of devices beforehand, and importing devices by the hundred thousand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use eim::actor::Actor;
use eim::{DeviceData, PendingError};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use intent::{Digest, IntentId};
use rsp::ids::Eid;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use utoipa::{IntoParams, ToSchema};

use super::devices::steward;
use super::exchange::{Document, Params, body, content_type, parsed, unsupported};
use super::intents::waits_until;
use super::plans::fleet;
use super::{Answer, Site, Who};
use crate::Problem;
use crate::plan::{Change, Plan, PlanError, Wish};
use crate::reader::{Reader, Via};
use crate::site::Console;

/// Enrichments under way at a time: the store writes them in one transaction.
const AT_A_TIME: usize = 256;
/// Lines of an import.
const LINES_MAX: usize = 100_000;
/// Devices that one intent registers at most.
const CHANGED_MAX: usize = intent::device_set::CHANGED_MAX;

/// Devices and what is known of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrichDevices {
    /// Registered devices, or those that the intent is to register.
    pub devices: Vec<DeviceEnrichment>,
    /// The intent whose approval is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub intent: Option<IntentId>,
}

/// What is known of a device beforehand. What is absent stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceEnrichment {
    /// 32 digits.
    #[schema(example = "89049032123451234512345678901235")]
    pub eid: String,
    /// The operator's name for the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The token that AddInitialEim returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub association_token: Option<i64>,
    /// CERT.EUICC, DER in hexadecimal; with `eum_certificate` or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub euicc_certificate: Option<String>,
    /// CERT.EUM, DER in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eum_certificate: Option<String>,
}

/// What became of the devices, in the order in which they were sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnrichReport {
    devices: Vec<Enriched>,
}

/// What became of one of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Enriched {
    /// Which.
    eid: String,
    /// Why it was not taken.
    #[schema(value_type = Option<Object>)]
    refused: Option<Problem>,
    /// Whether it is kept until the device is registered.
    waits: bool,
}

impl DeviceEnrichment {
    /// Whether it says anything.
    pub fn is_empty(&self) -> bool {
        self.label.is_none()
            && self.association_token.is_none()
            && self.euicc_certificate.is_none()
            && self.eum_certificate.is_none()
    }

    /// Parses what is text on the wire.
    fn to_data(&self) -> Result<DeviceData, String> {
        let eid: Eid = self
            .eid
            .parse()
            .map_err(|error| format!("{:?}: {error}", self.eid))?;
        let der = |name: &str, text: &Option<String>| {
            let decoded = text.as_deref().map(hex::decode).transpose();
            decoded.map_err(|_| format!("{name} is not hexadecimal"))
        };
        let euicc = der("euicc_certificate", &self.euicc_certificate)?;
        let eum = der("eum_certificate", &self.eum_certificate)?;
        let certificates = match (euicc, eum) {
            (Some(euicc), Some(eum)) => Some((euicc, eum)),
            (None, None) => None,
            _ => {
                return Err(
                    "the eUICC certificate and that of its EUM are given together".to_owned(),
                );
            }
        };
        Ok(DeviceData {
            label: self.label.clone(),
            association_token: self.association_token,
            certificates,
            ..DeviceData::new(eid)
        })
    }
}

/// Give devices their labels, and what is known of their eUICCs.
///
/// A device that does not take it costs only itself. With `intent`, the registration of these devices that waits for approvals, it
/// is kept until they are registered; only whoever proposed it may.
#[utoipa::path(post, path = "/devices/data", tag = "devices", request_body = EnrichDevices,
    responses((status = 200, description = "What became of each", body = EnrichReport)))]
pub(super) async fn enrich(
    State(console): Site,
    Extension(reader): Who,
    Document(request): Document<EnrichDevices>,
) -> Answer<EnrichReport> {
    if let Some(intent) = request.intent
        && let Some(expires_at) = waits_until(&console, &reader, intent).await?
    {
        return keep_data(&console, &reader, (intent, expires_at), request.devices).await;
    }
    let mut report = Vec::with_capacity(request.devices.len());
    let mut under_way = JoinSet::new();
    for (index, device) in request.devices.into_iter().enumerate() {
        if under_way.len() >= AT_A_TIME
            && let Some(Ok(ended)) = under_way.join_next().await
        {
            report.push(ended);
        }
        let allowed = permitted(&console, &reader, &device);
        let eim = Arc::clone(&console.eim);
        under_way.spawn(async move {
            let eid = device.eid.clone();
            let refused = match allowed {
                Ok((actor, data)) => eim
                    .enrich_device(&actor, data)
                    .await
                    .err()
                    .map(Problem::from),
                Err(problem) => Some(problem),
            };
            let waits = false;
            (
                index,
                Enriched {
                    eid,
                    refused,
                    waits,
                },
            )
        });
    }
    while let Some(ended) = under_way.join_next().await {
        report.extend(ended);
    }
    report.sort_by_key(|(index, _)| *index);
    Ok(Json(EnrichReport {
        devices: report.into_iter().map(|(_, one)| one).collect(),
    }))
}

/// Whether the reader may say this of the device.
fn permitted(
    console: &Console,
    reader: &Reader,
    device: &DeviceEnrichment,
) -> Result<(Actor, DeviceData), Problem> {
    let data = device.to_data().map_err(Problem::invalid)?;
    let known = console.eim.visible_device(&reader.visible(), data.eid)?;
    Ok((steward(reader, &known.fleet)?, data))
}

/// Keeps what is known of devices until the intent that registers them is decided.
async fn keep_data(
    console: &Console,
    reader: &Reader,
    (intent, expires_at): (IntentId, i64),
    devices: Vec<DeviceEnrichment>,
) -> Answer<EnrichReport> {
    let actor = match &reader.via {
        Via::Local { operator } => Actor::operator(operator.clone()),
        Via::Session { principal, .. } | Via::Token { principal } => Actor::principal(principal),
        Via::Proof => return Err(Problem::invalid("this is for somebody who is signed in")),
    };
    let mut report = Vec::with_capacity(devices.len());
    let mut places = HashMap::new();
    let mut good = Vec::new();
    for device in devices {
        let mut refused = None;
        match device.to_data() {
            // Somebody who only proposed to register it has no say about a device that others manage.
            Ok(data) if is_of_others(console, reader, data.eid)? => {
                refused = Some(eim::DeviceError::Unknown(data.eid).into());
            }
            Ok(data) => {
                places.insert(data.eid, report.len());
                good.push(data);
            }
            Err(reason) => refused = Some(Problem::invalid(reason)),
        }
        report.push(Enriched {
            eid: device.eid,
            waits: refused.is_none(),
            refused,
        });
    }
    let kept = console
        .eim
        .keep_device_data(&actor, intent, expires_at, good);
    let refused = kept.await.map_err(|error| match error {
        PendingError::Full => Problem::invalid(error.to_string()),
        PendingError::Storage(error) => error.into(),
    })?;
    for (eid, error) in refused {
        if let Some(one) = places.get(&eid).and_then(|place| report.get_mut(*place)) {
            one.refused = Some(Problem::from(error));
            one.waits = false;
        }
    }
    Ok(Json(EnrichReport { devices: report }))
}

fn is_of_others(console: &Console, reader: &Reader, eid: Eid) -> Result<bool, Problem> {
    match console.eim.device(eid) {
        Ok(device) => Ok(steward(reader, &device.fleet).is_err()),
        Err(eim::DeviceError::Unknown(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where imported devices go.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportParams {
    /// The fleet that they will belong to.
    fleet: String,
    /// Leave out those that are registered already; `true` unless said otherwise.
    only_effective: Option<bool>,
}

/// What an import would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportReport {
    /// Lines that name a device.
    lines: usize,
    /// Devices in the plans.
    devices: u64,
    /// Lines that are refused, with the reason, in their order.
    refused: Vec<RefusedLine>,
    /// What was said of devices besides their EIDs: send it to `POST /devices/data` with the intent once it is proposed.
    data: Vec<DeviceEnrichment>,
    /// Intents that register the devices, each of at most 20 000 devices. Sign and propose each.
    plans: Vec<Plan>,
}

/// A line that is refused. It costs only itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RefusedLine {
    /// Its number, from 1; in JSON the device's.
    line: usize,
    /// What it says.
    eid: String,
    /// Why.
    reason: String,
}

/// Plan to register devices from a list.
///
/// `text/csv` with the columns eid, label, association_token, of which only the first is needed (a first line with these names may
/// put them in another order), or `application/json`: a list of devices as `POST /devices/data` takes them. At most 100 000 lines.
/// A bad line costs only itself. The answer has the plans whose intents register the devices: nothing happens before they are
/// signed and proposed. With the field `Idempotency-Key` the same request is answered with the same plans for an hour, while the
/// server runs.
#[utoipa::path(post, path = "/devices/import", tag = "plans", params(ImportParams,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 characters")),
    request_body(content(("text/csv"), (Vec<DeviceEnrichment> = "application/json"))),
    responses((status = 200, description = "What would happen, and the lines that are refused", body = ImportReport)))]
pub(super) async fn import(
    State(console): Site,
    Extension(reader): Who,
    Params(params): Params<ImportParams>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let kind = content_type(&headers);
    let octets = body(request, &()).await?;
    let key = idempotency_key(&reader, &headers)?;
    let said = Digest::of(&[
        kind.as_deref().unwrap_or_default().as_bytes(),
        b"\0",
        params.fleet.as_bytes(),
        &[params.only_effective.unwrap_or(true).into()],
        &octets,
    ]);
    if let Some(key) = &key
        && let Some(answer) = console.repeated.find(key, said, console.now())?
    {
        return Ok(json(answer));
    }
    let fleet = fleet(&params.fleet)?;
    let (devices, mut refused) = match kind.as_deref() {
        Some("text/csv") => from_csv(&octets)?,
        Some("application/json") => from_json(&octets)?,
        _ => return Err(unsupported("text/csv or application/json")),
    };
    let lines = devices.len() + refused.len();
    let only_effective = params.only_effective.unwrap_or(true);
    let mut plans = Vec::new();
    let eids: Vec<Eid> = devices.keys().copied().collect();
    for part in eids.chunks(CHANGED_MAX) {
        let change = Change::Register {
            fleet: fleet.clone(),
            eids: part.to_vec(),
            only_effective,
        };
        let wish = Wish {
            change,
            note: None,
            lifetime_ms: None,
        };
        match console.plan(&reader, wish).await {
            Ok(plan) => plans.push(plan),
            Err(PlanError::Nobody(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if only_effective {
        refused.extend(registered_already(&console, &reader, &devices)?);
    }
    refused.sort_by_key(|one| one.line);
    let data = devices.into_values().map(|(_, device)| device);
    let report = ImportReport {
        lines,
        devices: plans.iter().map(|plan| plan.count).sum(),
        refused,
        data: data.filter(|device| !device.is_empty()).collect(),
        plans,
    };
    let answer = Bytes::from(serde_json::to_vec(&report).unwrap_or_default());
    if let Some(key) = key {
        console
            .repeated
            .keep(key, said, answer.clone(), console.now());
    }
    Ok(json(answer))
}

type Lines = (BTreeMap<Eid, (usize, DeviceEnrichment)>, Vec<RefusedLine>);

fn registered_already(
    console: &Console,
    reader: &Reader,
    devices: &BTreeMap<Eid, (usize, DeviceEnrichment)>,
) -> Result<Vec<RefusedLine>, Problem> {
    let visible = reader.visible();
    let mut refused = Vec::new();
    for (eid, (line, device)) in devices {
        match console.eim.visible_device(&visible, *eid) {
            Ok(known) if known.state != eim::DeviceState::Retired => refused.push(RefusedLine {
                line: *line,
                eid: device.eid.clone(),
                reason: format!("it is registered already, in the fleet {}", known.fleet),
            }),
            Ok(_) | Err(eim::DeviceError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(refused)
}

fn from_json(octets: &[u8]) -> Result<Lines, Problem> {
    let list: Vec<DeviceEnrichment> = parsed(octets)?;
    collected(
        list.into_iter()
            .enumerate()
            .map(|(place, one)| (place + 1, Ok(one))),
    )
}

/// RFC 4180, as far as these columns need it: a field may stand in quotation marks, and none has a line break in it.
fn from_csv(octets: &[u8]) -> Result<Lines, Problem> {
    let text =
        std::str::from_utf8(octets).map_err(|_| Problem::invalid("the list is not UTF-8 text"))?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut columns = vec!["eid", "label", "association_token"];
    let mut lines = text.lines().enumerate().peekable();
    if let Some((_, first)) = lines.peek()
        && let Some(fields) = fields(first)
        && fields.iter().any(|field| field.trim() == "eid")
    {
        let mut named = Vec::new();
        for field in &fields {
            let known = columns.iter().find(|column| **column == field.trim());
            named.push(*known.ok_or_else(|| {
                Problem::invalid(format!(
                    "there is no column {:?}: use eid, label, association_token",
                    field.trim()
                ))
            })?);
        }
        columns = named;
        lines.next();
    }
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    collected(lines.map(|(place, line)| (place + 1, of_line(&columns, line))))
}

fn of_line(columns: &[&str], line: &str) -> Result<DeviceEnrichment, String> {
    let fields = fields(line).ok_or("a quotation mark is not closed")?;
    if fields.len() > columns.len() {
        return Err("it has more fields than there are columns".to_owned());
    }
    let mut device = DeviceEnrichment::default();
    for (column, field) in columns.iter().zip(fields) {
        let field = field.trim();
        match *column {
            "eid" => device.eid = field.to_owned(),
            _ if field.is_empty() => {}
            "label" => device.label = Some(field.to_owned()),
            _ => {
                let token = field.parse();
                device.association_token =
                    Some(token.map_err(|_| "an association token is a number".to_owned())?);
            }
        }
    }
    Ok(device)
}

fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut()?;
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if is_quoted || field.trim().is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    (!is_quoted).then_some(fields)
}

fn collected(
    lines: impl Iterator<Item = (usize, Result<DeviceEnrichment, String>)>,
) -> Result<Lines, Problem> {
    let mut devices: BTreeMap<Eid, (usize, DeviceEnrichment)> = BTreeMap::new();
    let mut refused = Vec::new();
    for (count, (line, read)) in lines.enumerate() {
        if count >= LINES_MAX {
            return Err(Problem::invalid(format!(
                "an import has at most {LINES_MAX} lines: make several of them"
            )));
        }
        let named = read
            .as_ref()
            .map_or_else(|_| String::new(), |one| one.eid.clone());
        let mut refuse = |eid: String, reason: String| {
            let eid = eid.chars().take(64).collect();
            refused.push(RefusedLine { line, eid, reason });
        };
        let device = match read {
            Ok(device) => device,
            Err(reason) => {
                refuse(named, reason);
                continue;
            }
        };
        match device.to_data() {
            Ok(data) => match devices.get(&data.eid) {
                Some((first, _)) => refuse(named, format!("the same as in line {first}")),
                None => {
                    devices.insert(data.eid, (line, device));
                }
            },
            Err(reason) => refuse(named, reason),
        }
    }
    Ok((devices, refused))
}

fn json(octets: Bytes) -> Response {
    let mut response = octets.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Whose key it is, so that nobody is answered what somebody else asked.
fn idempotency_key(reader: &Reader, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const LENGTH_MAX: usize = 128;
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if !(1..=LENGTH_MAX).contains(&key.len()) {
        return Err(Problem::invalid(format!(
            "Idempotency-Key has 1 to {LENGTH_MAX} printable characters"
        )));
    }
    let whose = match &reader.via {
        Via::Session { principal, .. } | Via::Token { principal } => {
            format!("principal:{principal}")
        }
        Via::Local { operator } => format!("operator:{operator}"),
        Via::Proof => return Ok(None),
    };
    Ok(Some(format!("{whose}\0{key}")))
}

/// Answers that are given again.
#[derive(Default)]
pub(crate) struct Repeated(Mutex<HashMap<String, (Digest, Bytes, i64)>>);

impl Repeated {
    const KEPT_MS: i64 = 3_600_000;
    const KEPT_OCTETS: usize = 64 << 20;

    /// What was answered to this request.
    ///
    /// # Errors
    /// When another one came under this key.
    fn find(&self, key: &str, said: Digest, now: i64) -> Result<Option<Bytes>, Problem> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.get(key) {
            Some((_, _, at)) if now.saturating_sub(*at) > Self::KEPT_MS => Ok(None),
            Some((digest, answer, _)) if *digest == said => Ok(Some(answer.clone())),
            Some(_) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "This key was used for another request",
                "under this Idempotency-Key something else was asked within the last hour",
                "use a new key for each new request",
            )),
            None => Ok(None),
        }
    }

    fn keep(&self, key: String, said: Digest, answer: Bytes, now: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (_, _, at)| now.saturating_sub(*at) <= Self::KEPT_MS);
        let octets: usize = kept.values().map(|(_, answer, _)| answer.len()).sum();
        // What does not fit is made anew when it is asked for again: another plan for the same, which harms nobody.
        if octets.saturating_add(answer.len()) <= Self::KEPT_OCTETS {
            kept.insert(key, (said, answer, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "89049032123451234512345678901235";

    #[test]
    fn a_bad_line_costs_only_itself() {
        let text = format!(
            "label,eid\r\n\"meter \"\"7\"\", hall\",{ONE}\r\n\r\nx,123\nfoo,{ONE}\n\"open,{ONE}\na,b,c\n"
        );
        let (devices, refused) = from_csv(text.as_bytes()).unwrap();
        let (line, device) = devices.values().next().unwrap();
        assert_eq!((devices.len(), *line), (1, 2));
        assert_eq!(device.label.as_deref(), Some("meter \"7\", hall"));
        let lines: Vec<usize> = refused.iter().map(|one| one.line).collect();
        assert_eq!(lines, [4, 5, 6, 7]);
        assert!(from_csv(b"eid,colour\n").is_err());
        assert!(from_csv(&[0xFF]).is_err());
    }

    #[test]
    fn the_columns_have_an_order_without_names() {
        let (devices, refused) = from_csv(format!("{ONE},meter,7").as_bytes()).unwrap();
        assert_eq!(refused, []);
        let (_, device) = devices.values().next().unwrap();
        assert_eq!(device.association_token, Some(7));
        let (_, refused) = from_csv(format!("{ONE},meter,x").as_bytes()).unwrap();
        assert_eq!(refused.len(), 1);
    }

    #[test]
    fn a_key_is_of_one_request_and_for_a_while() {
        let kept = Repeated::default();
        let (one, other) = (Digest::of(&[b"1"]), Digest::of(&[b"2"]));
        kept.keep("k".to_owned(), one, Bytes::from_static(b"a"), 0);
        assert_eq!(kept.find("k", one, 1).unwrap().as_deref(), Some(&b"a"[..]));
        assert_eq!(kept.find("k", other, 1).unwrap_err().status, 422);
        assert_eq!(kept.find("l", other, 1).unwrap(), None);
        assert_eq!(kept.find("k", one, Repeated::KEPT_MS + 1).unwrap(), None);
    }
}
