//! What the eIM is told, and what it is not told any more.

use intent::action::FreezeScope;
use intent::api::FeedItem;
use intent::{Action, IntentId};
use rsp::ids::Eid;

use super::ask;
use crate::event::{Actor, Event};
use crate::state::State;
use crate::testing::{World, delete, eid, enable, freeze};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Lets something of an intent leave for a device.
fn release(world: &mut World, intent: u64, device: Eid) {
    let event = Event::PackageReleased {
        eid: Some(device),
        intent,
        approvals: Vec::new(),
    };
    world.commit(vec![(Actor::Eim, event)]);
}

/// Devices that the feed names for an intent.
fn told(world: &World, after: u64, id: IntentId) -> Option<Vec<String>> {
    let feed = world.state.feed(after, u64::MAX, world.now);
    feed.items.into_iter().find_map(|item| match item {
        FeedItem::Approved { id: of, eids, .. } if of == id => Some(eids),
        _ => None,
    })
}

fn texts(eids: &[Eid]) -> Option<Vec<String>> {
    Some(eids.iter().map(Eid::to_string).collect())
}

#[test]
fn an_intent_that_expired_is_told_of_where_nothing_came_of_it() {
    let (mut world, mut alice, _) = World::peopled();
    let partly = ask(
        &mut world,
        &mut alice,
        enable(&[eid(1), eid(2), eid(3), eid(4)]),
    )
    .unwrap();
    let wholly = ask(&mut world, &mut alice, enable(&[eid(5)])).unwrap();
    let waiting = ask(&mut world, &mut alice, delete(&[eid(6)])).unwrap();
    release(&mut world, partly.entry, eid(2));
    release(&mut world, wholly.entry, eid(5));
    assert_eq!(
        told(&world, 0, partly.id),
        texts(&[eid(1), eid(2), eid(3), eid(4)]),
        "while it can be carried out, an eIM that lost its database is told of all"
    );
    world.now += 2 * HOUR_MS;
    assert_eq!(told(&world, 0, partly.id), texts(&[eid(1), eid(3), eid(4)]));
    assert_eq!(told(&world, 0, wholly.id), None);
    assert_eq!(told(&world, 0, waiting.id), None, "nobody approved it");
    assert_eq!(
        told(&world, partly.entry, partly.id),
        None,
        "followed past it"
    );
    world.now += 6 * DAY_MS;
    assert_eq!(told(&world, 0, partly.id), texts(&[eid(1), eid(3), eid(4)]));
}

#[test]
fn what_is_not_told_any_more_is_said_to_be_missing_once() {
    let (mut world, mut alice, _) = World::peopled();
    let wholly = ask(&mut world, &mut alice, enable(&[eid(5)])).unwrap();
    release(&mut world, wholly.entry, eid(5));
    let before = world.state.feed(0, u64::MAX, world.now);
    world.now += 9 * DAY_MS;
    ask(&mut world, &mut alice, enable(&[eid(6)])).unwrap();
    let feed = world.state.feed(0, u64::MAX, world.now);
    assert_eq!(feed.forgotten, None, "of it nothing is missing");
    let partly = ask(&mut world, &mut alice, enable(&[eid(1), eid(2)])).unwrap();
    release(&mut world, partly.entry, eid(2));
    world.now += 9 * DAY_MS;
    ask(&mut world, &mut alice, freeze("cars")).unwrap();
    assert_eq!(told(&world, 0, partly.id), None);
    let feed = world.state.feed(before.next, u64::MAX, world.now);
    assert_eq!(feed.forgotten, Some(partly.entry));
    assert!(feed.next >= partly.entry, "nobody is told of it for ever");
    let rest = world.state.feed(feed.next, u64::MAX, world.now);
    assert_eq!((rest.forgotten, rest.items.len()), (None, 0));

    let snapshot = serde_json::to_string(&world.state).unwrap();
    let restored: State = serde_json::from_str(&snapshot).unwrap();
    assert!(restored == world.state);
}

#[test]
fn the_newest_thaw_is_told_and_no_other() {
    let (mut world, mut alice, mut bob) = World::peopled();
    let mut thaws = Vec::new();
    for fleet in ["meters", "cars", "meters"] {
        ask(&mut world, &mut alice, freeze(fleet)).unwrap();
        let action = Action::Thaw {
            scope: FreezeScope::Fleet(fleet.parse().unwrap()),
        };
        world.agree(&mut alice, &mut bob, action).unwrap();
        let feed = world.state.feed(0, u64::MAX, world.now);
        let thawed = |item: &&FeedItem| matches!(item, FeedItem::Thawed { .. });
        assert_eq!(feed.items.iter().filter(thawed).count(), 1);
        thaws.push(feed.next);
    }
    assert!(thaws.is_sorted_by(|one, next| one < next));
    for seen in &thaws[..2] {
        let feed = world.state.feed(*seen, u64::MAX, world.now);
        assert!(
            matches!(&feed.items[..], [FeedItem::Thawed { by }] if by.as_str() == "alice"),
            "{:?}",
            feed.items
        );
    }
}
