//! The console as people use it: the real binary, a real browser, real software devices.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking, in its helpers too"
)]

#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod cli;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod support;

mod accessibility;
mod api;
mod browser;
mod probes;
mod program;
mod properties;
mod sign_in;
mod site;
mod story;
mod webhooks;

use browser::Browser;
use site::Site;

#[tokio::test]
async fn nobody_sees_anything_before_signing_in() {
    let site = Site::new(&[]);
    let browser = Browser::open(&site.origin).await;
    browser.visit("/devices?state=failing").await;
    assert_eq!(
        browser.path().await,
        "/sign-in?next=%2Fdevices%3Fstate%3Dfailing"
    );
    browser.close().await;
}
