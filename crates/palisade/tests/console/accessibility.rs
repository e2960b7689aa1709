//! Every page by an automatic checker (axe-core), wide and narrow, light and dark.

use serde_json::Value;

use crate::browser::Browser;
use crate::cli::data;
use crate::site::Site;
use crate::story::{arrive, propose};

/// WCAG 2.2 at level AA and everything below.
const RULES: &str = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']";

/// What is wrong on the page that is shown, if it is serious.
async fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    // Scripts of the driver are not bound by the page's policy.
    browser.run(axe).await;
    let script = format!(
        "const done = arguments[arguments.length - 1]; \
         axe.run(document, {{ runOnly: {{ type: 'tag', values: {RULES} }} }}) \
            .then((found) => done(found.violations), (error) => done([{{ id: String(error), impact: 'critical', nodes: [] }}]))"
    );
    let found = browser.run_async(&script, Vec::new()).await;
    let serious = |one: &&Value| ["serious", "critical"].contains(&one["impact"].as_str().unwrap());
    let text = |one: &Value| {
        let nodes = one["nodes"].as_array().unwrap();
        let places: Vec<_> = nodes
            .iter()
            .take(3)
            .map(|node| node["html"].to_string())
            .collect();
        format!("{}: {}", one["id"], places.join(" | "))
    };
    found
        .as_array()
        .unwrap()
        .iter()
        .filter(serious)
        .map(text)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_used_by_everybody() {
    let axe = std::fs::read_to_string(data("axe/axe.min.js")).unwrap();
    let site = Site::new(&["--insecure-no-approvals"]);
    let browser = Browser::open(&site.origin).await;
    let mut wrong = Vec::new();
    for path in ["/sign-in", "/enrol"] {
        browser.visit(path).await;
        for one in violations(&browser, &axe).await {
            wrong.push(format!("{path}: {one}"));
        }
    }
    // The checker finds what there is to find.
    browser
        .run("document.querySelector('main, body').append(document.createElement('button'))")
        .await;
    let found = violations(&browser, &axe).await;
    assert!(
        found.iter().any(|one| one.contains("button-name")),
        "{found:?}"
    );

    arrive(&browser, &site.enrolment("alice")).await;
    browser.visit("/propose?kind=register").await;
    browser.fill("eid", &site.eid).await;
    browser.press("See what would happen").await;
    browser.await_text("What you sign").await;
    for one in violations(&browser, &axe).await {
        wrong.push(format!("the preview: {one}"));
    }
    let intent = propose(&browser).await;
    site.new_card();
    site.poll_until("association", "accepted");

    let device = format!("/devices/{}", site.eid);
    let timeline = format!("{device}/timeline");
    let pages = [
        "/",
        "/devices",
        "/devices?q=nothing",
        &device,
        &timeline,
        "/operations",
        "/approvals",
        "/intents",
        &intent,
        "/profiles",
        "/people",
        "/people/alice",
        "/propose",
        "/propose?kind=register",
        "/propose?kind=invite",
        "/propose?kind=freeze",
        "/policy",
        "/policy/edit",
        "/ledger",
        "/ledger/entries/1",
        "/sessions",
        "/devices/no-such-device",
    ];
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light")] {
        browser.resize(width, 900).await;
        browser.prefer(scheme).await;
        for path in pages {
            browser.visit(path).await;
            for one in violations(&browser, &axe).await {
                wrong.push(format!("{path} ({width}, {scheme}): {one}"));
            }
            let overflow = browser
                .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
                .await;
            if overflow.as_f64().unwrap() > 1.0 {
                wrong.push(format!(
                    "{path} ({width}, {scheme}): {overflow} px too wide"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    browser.close().await;
}
