//! Two people at their browsers and a device that polls: from the first visit to the proof of what was done.

use serde_json::Value;

use crate::browser::Browser;
use crate::site::{Site, Smdp, enrolment};

/// The profile that comes and goes.
const ICCID: &str = "89000123456789012341";

/// Enrols at a link and signs in.
pub(crate) async fn arrive(browser: &Browser, link: &str) {
    browser.visit(link).await;
    browser.press("Make a passkey").await;
    browser.await_text("You are enrolled").await;
    browser.press("Go on to sign in").await;
    browser.press("Sign in with a passkey").await;
    browser.await_text("Signed in as").await;
}

/// Signs what the preview shows; gives the path of the intent.
pub(crate) async fn propose(browser: &Browser) -> String {
    browser.press("Sign with your passkey and propose").await;
    browser.await_path("/intents/").await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_change_a_sim_and_can_prove_it() {
    let site = Site::new(&[]);
    let alice = Browser::open(&site.origin).await;
    arrive(&alice, &site.enrolment("alice")).await;
    alice.await_text("owner").await;

    // The code worked once.
    let mallory = Browser::open(&site.origin).await;
    mallory.visit(&site.enrolment("mallory")).await;
    mallory.press("Make a passkey").await;
    mallory.await_text("The code").await;
    assert!(!mallory.text().await.contains("You are enrolled"));
    mallory.close().await;

    // Alice is alone, so she may let one more person in by herself.
    alice.visit("/propose?kind=invite").await;
    alice.fill("name", "bob").await;
    alice.choose("role", "owner").await;
    alice.press("See what would happen").await;
    alice.await_text("What you sign").await;
    propose(&alice).await;
    let text = alice.await_text("/enrol#").await;
    let code = text.split("code=").nth(1).unwrap();
    let code: String = code
        .chars()
        .take_while(|one| !one.is_whitespace())
        .collect();

    let bob = Browser::open(&site.origin).await;
    arrive(&bob, &enrolment("bob", &code)).await;

    // A device comes under management.
    alice.visit("/propose?kind=register").await;
    alice.fill("eid", &site.eid).await;
    alice.press("See what would happen").await;
    alice.await_text(&site.eid).await;
    propose(&alice).await;
    let page = format!("/devices/{}", site.eid);
    site.new_card();
    site.poll_until("association", "accepted");

    // A profile is downloaded: that needs nobody else. What the code is stays out of the record.
    let smdp = Smdp::start(&site);
    let code = smdp.order(&site, ICCID);
    alice.visit(&page).await;
    alice.press("Download a profile").await;
    alice.fill("code", &code).await;
    alice.press("See what would happen").await;
    let preview = alice.await_text("What you sign").await;
    assert!(
        !preview.contains(code.rsplit('$').next().unwrap()),
        "{preview}"
    );
    propose(&alice).await;
    alice.await_text("queued").await;
    site.poll_with(&smdp);
    alice.await_text("done").await;
    assert!(site.card().contains(ICCID), "{}", site.card());

    // Deleting it needs another person: not alice.
    alice.visit(&page).await;
    alice.await_text(ICCID).await;
    alice.press("Delete").await;
    let preview = alice.await_text("What you sign").await;
    assert!(preview.contains("1 other person approves"), "{preview}");
    assert!(preview.contains("gone for good"), "{preview}");
    // Nothing is signed before she says that she knows what is lost.
    alice.press("Sign with your passkey and propose").await;
    assert!(alice.path().await.starts_with("/propose"));
    alice.click("#sure").await;
    let intent = propose(&alice).await;
    alice.await_text("Somebody else has to approve it").await;
    let hash = hash_on(&alice).await;
    assert!(intent.contains(&hash), "{intent}");
    site.poll();
    assert!(site.card().contains(ICCID), "not approved yet");

    // Bob sees the same hash, approves exactly that, and watches it happen.
    bob.visit("/approvals").await;
    bob.await_text("Waiting for you").await;
    bob.visit(&intent).await;
    bob.await_text("Approve with your passkey").await;
    assert_eq!(hash_on(&bob).await, hash);
    bob.press("Approve with your passkey").await;
    bob.await_text("bob").await;
    bob.await_text("queued").await;
    site.poll();
    bob.await_text("done").await;
    assert!(!site.card().contains(ICCID), "{}", site.card());

    // The timeline names both, and its bundle verifies with the public key alone.
    alice.visit(&page).await;
    let timeline = alice.await_text("Timeline").await;
    for words in ["alice", "bob", "delete"] {
        assert!(
            timeline.to_lowercase().contains(words),
            "{words}: {timeline}"
        );
    }
    let bundle = alice.fetch(&format!("{page}/history.json")).await;
    std::fs::write(site.folder.path("history.json"), &bundle).unwrap();
    let key = "eim/authority/ledger.pub";
    let checked = ["ledger", "check-bundle", "history.json", "--key", key];
    site.folder.ok(&checked);
    let altered = bundle.replacen("bob", "eve", 1);
    std::fs::write(site.folder.path("history.json"), altered).unwrap();
    assert_ne!(site.folder.run(&checked).status, 0);

    // An entry verifies in place.
    let entry: Value = serde_json::from_str(&bundle).unwrap();
    let number = entry["entries"][0]["number"].as_u64().unwrap_or(1);
    alice.visit(&format!("/ledger/entries/{number}")).await;
    alice.press("Verify here").await;
    alice.await_text("checkpoint").await;

    // Bob's passkey is revoked: his next request is his last.
    alice.visit("/people/bob").await;
    alice
        .click("section[aria-labelledby=credentials] button.danger")
        .await;
    alice.await_text("What you sign").await;
    let revocation = propose(&alice).await;
    alice.await_text("Somebody else has to approve it").await;
    bob.visit(&revocation).await;
    bob.press("Approve with your passkey").await;
    bob.await_path("/sign-in").await;
    bob.press("Sign in with a passkey").await;
    bob.await_text("This passkey cannot sign in here").await;

    for browser in [&alice, &bob] {
        let complaints = browser.complaints().await;
        let unexpected: Vec<_> = complaints
            .iter()
            .filter(|one| !one.contains("401") && !one.contains("403"))
            .collect();
        assert!(unexpected.is_empty(), "{unexpected:?}");
    }
    alice.close().await;
    bob.close().await;
}

/// The hash that a page shows in groups.
async fn hash_on(browser: &Browser) -> String {
    let script = "return document.querySelector('.hash').textContent.replace(/\\s/g, '')";
    let hash = browser.run(script).await.as_str().unwrap().to_owned();
    // 32 octets in base64url.
    assert_eq!(hash.len(), 43, "{hash}");
    hash
}
