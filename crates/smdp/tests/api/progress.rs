//! ES2+.HandleDownloadProgressInfo: what operators are told, and that it reaches them.

use std::sync::Mutex;

use rsp::binding::es2plus::{Call, HandleDownloadProgressInfo, Request};
use rsp::binding::http::Binding;
use rsp::der::Element;
use rsp::sgp22::{CancelSessionReason, ProfileInstallationResult};
use smdp::{Actor, DeliveryReport, Operator, OperatorAccess, OperatorLink, ProgressError, Refusal};

use super::euicc::{TestEuicc, authenticate, get_package, notify};
use super::support::{EID, ICCID, Lab, config, key};
use pki::Signer;

/// An operator that answers with what a test says, and keeps what it got.
#[derive(Default)]
struct Recorder {
    answers: Mutex<Vec<Result<u16, ()>>>,
    got: Mutex<Vec<(String, Request)>>,
}

impl OperatorLink for Recorder {
    async fn post(&self, url: String, body: Vec<u8>) -> Result<u16, ProgressError> {
        let request = Request::from_json("handleDownloadProgressInfo", &body).unwrap();
        self.got.lock().unwrap().push((url, request));
        match self.answers.lock().unwrap().pop() {
            None => Ok(204),
            Some(Ok(status)) => Ok(status),
            Some(Err(())) => Err(ProgressError::Status(0)),
        }
    }
}

impl Recorder {
    fn infos(&self) -> Vec<HandleDownloadProgressInfo> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|(_, request)| match &request.call {
                Call::HandleDownloadProgressInfo(info) => info.clone(),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn lab() -> Lab {
    let mut settings = config();
    settings.limits.progress_attempts_max = 3;
    settings.operators = vec![Operator {
        name: "mno".to_owned(),
        oid: None,
        access: OperatorAccess::Spki(
            key("variant-o/EUM/SK_EUM_ECDSA_NIST")
                .public_key()
                .to_spki_der(),
        ),
        progress_url: Some("https://mno.example.com/".to_owned()),
    }];
    Lab::with(settings)
}

fn order(lab: &Lab, code: Option<&str>) {
    let iccid = lab.import_plain();
    let orders = lab.smdp.orders();
    let actor = Actor::Operator("mno".to_owned());
    use rsp::binding::es2plus::{ConfirmOrder, DownloadOrder, OrderedProfile};
    let profile = OrderedProfile::Iccid {
        iccid,
        profile_type: None,
    };
    orders
        .download_order(&actor, DownloadOrder { eid: None, profile })
        .unwrap();
    let order = ConfirmOrder {
        iccid,
        eid: None,
        matching_id: Some("P".parse().unwrap()),
        confirmation_code: code.map(str::to_owned),
        smds_address: None,
        release_flag: true,
    };
    orders.confirm_order(&actor, order).unwrap();
}

#[tokio::test]
async fn an_operator_follows_a_download() {
    let lab = lab();
    order(&lab, Some("1"));
    let mut euicc = TestEuicc::sgp26("NIST");
    let ok = authenticate(&lab, &euicc, Some("P"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&ok, Some("2"));
    get_package(&lab, &request, Binding::Json)
        .await
        .unwrap_err();
    let ok = authenticate(&lab, &euicc, Some("P"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&ok, Some("1"));
    get_package(&lab, &request, Binding::Json).await.unwrap();
    let data = euicc.result_data(&ok.transaction_id, ICCID.parse().unwrap(), true);
    notify(&lab, euicc.result(data), Binding::Json).await;

    let recorder = Recorder::default();
    let report = lab.smdp.deliver_progress(&recorder).await.unwrap();
    assert_eq!(
        report,
        DeliveryReport {
            delivered: 5,
            postponed: 0,
            given_up: 0
        }
    );
    let infos = recorder.infos();
    let points: Vec<_> = infos
        .iter()
        .map(|info| {
            let refused = info
                .notification_point_status
                .as_ref()
                .err()
                .map(|f| f.code.clone());
            (info.notification_point_id, refused)
        })
        .collect();
    assert_eq!(
        points,
        [
            (1, None),
            (2, Some(Refusal::ConfirmationCodeWrong.status())),
            (1, None),
            (3, None),
            (4, None)
        ]
    );
    for info in &infos {
        assert_eq!(info.iccid.to_string(), ICCID);
        assert_eq!(info.eid.unwrap().to_string(), EID);
        assert_eq!(info.profile_type, "TS.48");
        assert_eq!(info.timestamp, "2026-08-01T00:00:00Z");
    }
    let result = infos[4].result_data.clone().unwrap();
    ProfileInstallationResult::from_der(&result).unwrap();
    let (url, first) = recorder.got.lock().unwrap()[0].clone();
    assert_eq!(
        url,
        "https://mno.example.com/gsma/rsp2/es2plus/handleDownloadProgressInfo"
    );
    assert_eq!(first.header.function_requester_identifier, "2.999.10");
    assert_eq!(lab.smdp.inventory().progress_waiting().unwrap(), 0);
    assert_eq!(
        lab.smdp.deliver_progress(&recorder).await.unwrap(),
        DeliveryReport::default()
    );
}

#[tokio::test]
async fn messages_are_tried_again_later_and_given_up_in_the_end() {
    let lab = lab();
    order(&lab, None);
    let euicc = TestEuicc::sgp26("NIST");
    let ok = authenticate(&lab, &euicc, Some("P"), Binding::Json)
        .await
        .unwrap();
    let cancel = euicc.cancel(
        &ok.transaction_id,
        "2.999.10",
        CancelSessionReason::EndUserRejection,
    );
    lab.es9(Binding::Json, &cancel).await;
    // The first message fails twice and is then delivered, the second fails for good.
    let recorder = Recorder::default();
    let down = || vec![Err(()), Ok(500)];
    *recorder.answers.lock().unwrap() = down();
    let report = lab.smdp.deliver_progress(&recorder).await.unwrap();
    assert_eq!(
        report,
        DeliveryReport {
            delivered: 0,
            postponed: 2,
            given_up: 0
        }
    );
    let report = lab.smdp.deliver_progress(&recorder).await.unwrap();
    assert_eq!(report, DeliveryReport::default(), "not before its time");
    lab.advance_s(5);
    *recorder.answers.lock().unwrap() = down();
    let report = lab.smdp.deliver_progress(&recorder).await.unwrap();
    assert_eq!(
        report,
        DeliveryReport {
            delivered: 0,
            postponed: 2,
            given_up: 0
        }
    );
    lab.advance_s(9);
    assert_eq!(
        lab.smdp.deliver_progress(&recorder).await.unwrap(),
        DeliveryReport::default()
    );
    lab.advance_s(1);
    *recorder.answers.lock().unwrap() = vec![Ok(503), Ok(204)];
    let report = lab.smdp.deliver_progress(&recorder).await.unwrap();
    assert_eq!(
        report,
        DeliveryReport {
            delivered: 1,
            postponed: 0,
            given_up: 1
        }
    );
    assert_eq!(lab.smdp.inventory().progress_waiting().unwrap(), 0);
    assert_eq!(lab.smdp.counters().progress_given_up, 1);

    let got = recorder.got.lock().unwrap();
    let calls: Vec<_> = got
        .iter()
        .map(|(_, r)| r.header.function_call_identifier.as_str())
        .collect();
    assert_eq!(
        calls,
        ["progress-1", "progress-2"].repeat(3),
        "a repetition is known by its id"
    );
}

#[tokio::test]
async fn the_sender_runs_until_it_is_stopped() {
    let lab = lab();
    order(&lab, None);
    let euicc = TestEuicc::sgp26("NIST");
    let recorder = std::sync::Arc::new(Recorder::default());
    struct Shared(std::sync::Arc<Recorder>);
    impl OperatorLink for Shared {
        async fn post(&self, url: String, body: Vec<u8>) -> Result<u16, ProgressError> {
            self.0.post(url, body).await
        }
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let smdp = lab.smdp.clone();
    let link = Shared(std::sync::Arc::clone(&recorder));
    let sender = tokio::spawn(async move {
        smdp.run_progress_delivery(link, async {
            let _ = stopped.await;
        })
        .await;
    });
    authenticate(&lab, &euicc, Some("P"), Binding::Json)
        .await
        .unwrap();
    for _ in 0..1000 {
        if !recorder.got.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(recorder.infos().len(), 1);
    stop.send(()).unwrap();
    sender.await.unwrap();
}
