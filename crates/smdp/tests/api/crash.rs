//! What survives a restart: everything that was answered.

use rsp::binding::http::Binding;
use smdp::{ProfileState, Refusal};
use store::{Store, StoreOptions};

use super::euicc::{TestEuicc, authenticate, get_package, notify};
use super::support::{ICCID, Lab, assert_refused, config};

#[tokio::test]
async fn a_restart_between_any_two_steps_loses_no_order_and_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smdp.db");
    let mut seed = 10;
    let mut open = || {
        seed += 1;
        let store = Store::open(&path, smdp::MIGRATIONS, StoreOptions::default()).unwrap();
        Lab::with_store(config(), store, seed)
    };
    let mut euicc = TestEuicc::sgp26("NIST");

    let lab = open();
    lab.release(None, Some("CRASH"), Some("77"));
    drop(lab);

    // After AuthenticateClient: the session is gone, the order is not.
    let lab = open();
    assert_eq!(lab.state(), ProfileState::Released);
    let lost = authenticate(&lab, &euicc, Some("CRASH"), Binding::Json)
        .await
        .unwrap();
    drop(lab);
    let lab = open();
    let request = euicc.prepare(&lost, Some("77"));
    let refused = get_package(&lab, &request, Binding::Json).await;
    assert_refused(refused, Refusal::TransactionUnknown);

    // After GetBoundProfilePackage: the next session proposes the same one-time key.
    let first = authenticate(&lab, &euicc, Some("CRASH"), Binding::Json)
        .await
        .unwrap();
    let request = euicc.prepare(&first, Some("77"));
    get_package(&lab, &request, Binding::Json).await.unwrap();
    drop(lab);
    let lab = open();
    assert_eq!(lab.state(), ProfileState::Downloaded);
    let second = authenticate(&lab, &euicc, Some("CRASH"), Binding::Json)
        .await
        .unwrap();
    assert!(second.smdp_signed2.bpp_euicc_otpk.is_some());
    let request = euicc.prepare(&second, Some("77"));
    let package = get_package(&lab, &request, Binding::Json).await.unwrap();
    euicc.open(&second.smdp_certificate, &package);
    drop(lab);

    // The result of a session that the server has forgotten is believed by its signature.
    let lab = open();
    let data = euicc.result_data(&second.transaction_id, ICCID.parse().unwrap(), true);
    let result = euicc.result(data);
    notify(&lab, result.clone(), Binding::Json).await;
    assert_eq!(lab.state(), ProfileState::Installed);
    drop(lab);

    // It was answered before it was lost? The device sends it again; nothing happens twice.
    let lab = open();
    assert_eq!(lab.state(), ProfileState::Installed);
    notify(&lab, result, Binding::Json).await;
    let steps = lab
        .smdp
        .inventory()
        .history(&ICCID.parse().unwrap(), 20)
        .unwrap();
    let installs = steps.iter().filter(|step| step.event == "install").count();
    assert_eq!(installs, 1);
    assert_eq!(lab.smdp.counters().notifications_believed, 1);
}
