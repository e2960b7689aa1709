//! What monitoring asks.

use http::Method;

use crate::cli::{OWNER, enrol, owner_code};
use crate::program::{Program, json};
use crate::site::Site;

#[test]
fn monitoring_sees_health_without_and_figures_with_a_token() {
    let site = Site::new(&["--insecure-no-approvals"]);
    enrol(&site.folder, &owner_code(&site.folder), "alice", OWNER);
    let program = Program::new(&site);
    assert_eq!(program.get("/healthz").status, 200);
    let ready = program.get("/readyz");
    assert_eq!(json(&ready)["status"], "ready");
    // Asked by address, as load balancers do.
    let fields = [("host", site.address())];
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        program.send(Method::GET, "/readyz", &fields, "").status,
        200
    );

    assert_eq!(program.get("/metrics").status, 401);
    let create = [
        "token",
        "create",
        "prometheus",
        "--grant",
        "viewer",
        "--data",
        "eim",
        "--passkey",
        OWNER,
    ];
    let token = site.folder.json(&create);
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let figures = program.send(Method::GET, "/metrics", &[("authorization", &bearer)], "");
    assert_eq!(figures.status, 200, "{:?}", figures.body);
    let text = String::from_utf8(figures.body.to_vec()).unwrap();
    for line in [
        "palisade_authority_up 1",
        "palisade_devices{state=\"registered\"} 0",
        "palisade_console_requests_total{method=\"GET\",status=\"401\"} 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // A token reads and nothing else, and a guessed one reads nothing.
    let posted = program.send(
        Method::POST,
        "/sign-out",
        &[("authorization", &bearer)],
        "{}",
    );
    assert_eq!(posted.status, 403);
    let guessed = bearer.replace(&bearer[bearer.len() - 4..], "aaaa");
    let refused = program.send(Method::GET, "/metrics", &[("authorization", &guessed)], "");
    assert_eq!(refused.status, 401);

    // Without its authority the installation is not ready, and says so.
    let status = site.folder.json(&["eim", "status", "--data", "eim"]);
    assert!(status["authority"]["pid"].is_u64(), "{status}");
}
