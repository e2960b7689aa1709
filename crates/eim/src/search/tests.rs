//! Searches over a made-up fleet, against what a plain look at every device finds.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::seed::{Seed, fill};
use crate::tests::{Home, START_MS, eid, fleet, only};

const DEVICES: usize = 1_600;

/// A fleet of made-up devices; more than [`CANDIDATES_MAX`], so that both ways of searching are taken.
struct Fixture {
    home: Home,
    all: Vec<ListedDevice>,
    _folder: TempDir,
}

fn seeded(path: &Path) {
    let options = Seed {
        devices: DEVICES as u32,
        events: 16_000,
        now_ms: START_MS,
        seed: 7,
    };
    let made = fill(path, &options, &mut |_| None, &mut |_| ()).unwrap();
    assert_eq!(made.devices, DEVICES as u64);
    assert!((15_000..18_000).contains(&made.events), "{made:?}");
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eim.sqlite");
        seeded(&path);
        let home = Home::at(&path);
        let query = DeviceQuery {
            limit: 500,
            ..DeviceQuery::default()
        };
        let all = pages(&home, &Visible::All, &query);
        assert_eq!(all.len(), DEVICES);
        Self {
            home,
            all,
            _folder: folder,
        }
    }

    fn expect(&self, visible: &Visible, query: &DeviceQuery) -> Vec<Eid> {
        let mut expected: Vec<&ListedDevice> = self
            .all
            .iter()
            .filter(|device| visible.covers(&device.fleet) && self.meets(device, query))
            .collect();
        let minute = |device: &ListedDevice| {
            let contact = device.contact.as_ref();
            contact.map_or(0, |contact| contact.last_poll_at / 60_000)
        };
        expected.sort_by_key(|device| match query.order {
            DeviceOrder::Eid => (0, device.eid),
            DeviceOrder::LastPoll => (minute(device), device.eid),
            DeviceOrder::Registered => (device.registered_at, device.eid),
        });
        if query.descending {
            expected.reverse();
        }
        expected.iter().map(|device| device.eid).collect()
    }

    fn meets(&self, device: &ListedDevice, query: &DeviceQuery) -> bool {
        let by_text = match &query.text {
            None => true,
            Some(SearchText::Eid(digits)) => device.eid.to_string().starts_with(digits),
            Some(SearchText::Label(text)) => {
                let label = device.label.to_ascii_lowercase();
                label.contains(&text.to_ascii_lowercase())
            }
            Some(SearchText::Iccid(digits)) => {
                let profiles = self.home.eim.profiles(device.eid).unwrap();
                let mut iccids = profiles.iter().map(|profile| profile.iccid.to_string());
                iccids.any(|iccid| iccid.starts_with(digits))
            }
        };
        let polled = device.contact.as_ref().map(|contact| contact.last_poll_at);
        let by_contact = match query.contact {
            None => true,
            Some(ContactFilter::Never) => polled.is_none(),
            Some(ContactFilter::Since(at)) => {
                polled.is_some_and(|polled| polled / 60_000 >= at / 60_000)
            }
            Some(ContactFilter::NotSince(at)) => {
                polled.is_none_or(|polled| polled / 60_000 < at / 60_000)
            }
        };
        let has_tag = |tag: &TagFilter| {
            device.tags.iter().any(|has| {
                has.key() == tag.key && tag.value.as_ref().is_none_or(|value| has.value() == value)
            })
        };
        let failed = [
            OperationState::Failed,
            OperationState::Expired,
            OperationState::RolledBack,
        ];
        by_text
            && by_contact
            && query.tag.as_ref().is_none_or(has_tag)
            && query
                .fleet
                .as_ref()
                .is_none_or(|fleet| fleet.as_str() == device.fleet)
            && query.state.is_none_or(|state| state == device.state)
            && query
                .association
                .is_none_or(|association| association == device.association)
            && (!query.open_operations || device.open_operations > 0)
            && (!query.failing
                || device
                    .last_ended
                    .is_some_and(|state| failed.contains(&state)))
            && query.provider.as_ref().is_none_or(|provider| {
                let enabled = device.enabled.as_ref();
                enabled.is_some_and(|enabled| enabled.provider == *provider)
            })
    }
}

/// All pages of a query.
fn pages(home: &Home, visible: &Visible, query: &DeviceQuery) -> Vec<ListedDevice> {
    let (mut query, mut all) = (query.clone(), Vec::new());
    for _ in 0..20_000 {
        let page = home.eim.search_devices(visible, &query).unwrap();
        assert!(page.devices.len() <= limit_of(query.limit));
        all.extend(page.devices);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
    panic!("the pages never end");
}

fn eids(devices: &[ListedDevice]) -> Vec<Eid> {
    devices.iter().map(|device| device.eid).collect()
}

fn filters() -> Vec<DeviceQuery> {
    let base = DeviceQuery::default();
    let text = |text| DeviceQuery {
        text: Some(text),
        ..DeviceQuery::default()
    };
    vec![
        base.clone(),
        text(SearchText::Eid(eid(77).to_string())),
        text(SearchText::Eid("8904903200000000000000000001".to_owned())),
        text(SearchText::Iccid("8988000000000077".to_owned())),
        text(SearchText::Iccid("898800".to_owned())),
        text(SearchText::Label("NORTH 0000".to_owned())),
        text(SearchText::Label("no such".to_owned())),
        DeviceQuery {
            tag: Some("site=Bremen".parse().unwrap()),
            ..base.clone()
        },
        DeviceQuery {
            tag: Some("site".parse().unwrap()),
            open_operations: true,
            ..base.clone()
        },
        DeviceQuery {
            fleet: Some(fleet("trackers")),
            contact: Some(ContactFilter::Since(START_MS - 3_600_000)),
            ..base.clone()
        },
        DeviceQuery {
            contact: Some(ContactFilter::NotSince(START_MS - 86_400_000)),
            ..base.clone()
        },
        DeviceQuery {
            contact: Some(ContactFilter::Never),
            state: Some(DeviceState::Registered),
            ..base.clone()
        },
        DeviceQuery {
            state: Some(DeviceState::Associated),
            association: Some(Association::Accepted),
            ..base.clone()
        },
        DeviceQuery {
            association: Some(Association::Unknown),
            ..base.clone()
        },
        DeviceQuery {
            failing: true,
            ..base.clone()
        },
        DeviceQuery {
            provider: Some("Aurora Mobile".to_owned()),
            failing: true,
            ..base.clone()
        },
        DeviceQuery {
            provider: Some("Aurora Mobile".to_owned()),
            state: Some(DeviceState::Retired),
            ..base
        },
    ]
}

#[test]
fn every_filter_in_every_order_finds_what_a_plain_look_finds() {
    let fixture = Fixture::new();
    let scopes = [
        Visible::All,
        only(&["meters-north", "meters-south", "trackers"]),
        only(&["pilot", "cold-chain", "nobody"]),
        only(&[]),
    ];
    let orders = [
        DeviceOrder::Eid,
        DeviceOrder::LastPoll,
        DeviceOrder::Registered,
    ];
    let mut found = 0;
    for filter in filters() {
        for order in orders {
            for descending in [false, true] {
                let query = DeviceQuery {
                    order,
                    descending,
                    limit: if descending { 61 } else { 500 },
                    ..filter.clone()
                };
                for visible in &scopes {
                    let seen = eids(&pages(&fixture.home, visible, &query));
                    assert_eq!(
                        seen,
                        fixture.expect(visible, &query),
                        "{query:?} {visible:?}"
                    );
                    found += seen.len();
                }
            }
        }
    }
    assert!(found > 10 * DEVICES, "the filters find something: {found}");
}

#[tokio::test]
async fn pages_neither_repeat_nor_lose_devices_while_others_are_registered() {
    let fixture = Fixture::new();
    for order in [DeviceOrder::Eid, DeviceOrder::Registered] {
        let mut query = DeviceQuery {
            order,
            limit: 100,
            ..DeviceQuery::default()
        };
        let mut seen = Vec::new();
        let mut number = 1_000_000;
        loop {
            let page = fixture
                .home
                .eim
                .search_devices(&Visible::All, &query)
                .unwrap();
            seen.extend(eids(&page.devices));
            let Some(next) = page.next else {
                break;
            };
            query.after = Some(next);
            if number < 1_000_020 {
                fixture.home.register("pilot", number..number + 1).await;
                number += 1;
            }
        }
        let distinct: BTreeSet<Eid> = seen.iter().copied().collect();
        assert_eq!(distinct.len(), seen.len());
        let before = fixture.all.iter();
        assert!(
            before
                .into_iter()
                .all(|device| distinct.contains(&device.eid))
        );
    }
}

#[test]
fn what_is_typed_is_a_text_and_nothing_more() {
    let fixture = Fixture::new();
    let search = |text: SearchText| {
        let query = DeviceQuery {
            text: Some(text),
            ..DeviceQuery::default()
        };
        fixture.home.eim.search_devices(&Visible::All, &query)
    };
    for text in ["%", "_", "' OR 1=1 --", "\\", "*", "\u{2028}", "é"] {
        let page = search(SearchText::Label(text.to_owned())).unwrap();
        assert!(page.devices.is_empty(), "{text:?}");
    }
    let long = "x".repeat(201);
    for text in ["", "a\u{0}b", "a\nb", "\u{1b}[31m", long.as_str()] {
        let refused = search(SearchText::Label(text.to_owned()));
        assert!(
            matches!(refused, Err(ReadingError::Text { .. })),
            "{text:?}"
        );
    }
    for text in [
        "",
        "89%",
        "89'",
        "８９",
        long.as_str(),
        "890490320000000000000000000000000",
    ] {
        let refused = search(SearchText::Eid(text.to_owned()));
        assert!(
            matches!(refused, Err(ReadingError::Digits { .. })),
            "{text:?}"
        );
        let refused = search(SearchText::Iccid(text.to_owned()));
        assert!(
            matches!(refused, Err(ReadingError::Digits { .. })),
            "{text:?}"
        );
    }
    let provider = DeviceQuery {
        provider: Some("a\u{7}".to_owned()),
        ..DeviceQuery::default()
    };
    let refused = fixture.home.eim.search_devices(&Visible::All, &provider);
    assert!(matches!(refused, Err(ReadingError::Text { .. })));
    let actor = OperationQuery {
        actor: Some("\n".to_owned()),
        ..OperationQuery::default()
    };
    let refused = fixture.home.eim.search_operations(&Visible::All, &actor);
    assert!(matches!(refused, Err(ReadingError::Text { .. })));
}

#[test]
fn limits_and_cursors_of_others_making_do_no_harm() {
    let fixture = Fixture::new();
    let north = only(&["meters-north"]);
    for order in [
        DeviceOrder::Eid,
        DeviceOrder::LastPoll,
        DeviceOrder::Registered,
    ] {
        for (at, eid) in [
            (0, ""),
            (i64::MIN, "g"),
            (i64::MAX, "zzzz"),
            (5, "8904\u{0}"),
        ] {
            for descending in [false, true] {
                let query = DeviceQuery {
                    order,
                    descending,
                    after: Some(DeviceCursor {
                        at,
                        eid: eid.to_owned(),
                    }),
                    limit: u32::MAX,
                    ..DeviceQuery::default()
                };
                let page = fixture.home.eim.search_devices(&north, &query).unwrap();
                assert!(page.devices.len() <= 500);
                let is_north = |device: &ListedDevice| device.fleet == "meters-north";
                assert!(page.devices.iter().all(is_north));
            }
        }
    }
    let default = fixture
        .home
        .eim
        .search_devices(&Visible::All, &DeviceQuery::default())
        .unwrap();
    assert_eq!(default.devices.len(), 50);
}

#[test]
fn a_text_is_what_it_looks_like() {
    let guess = |text: &str| SearchText::guess(text).unwrap();
    let whole = eid(3).to_string();
    assert_eq!(guess(&whole), SearchText::Eid(whole.clone()));
    assert_eq!(guess("8904 9032"), SearchText::Eid("89049032".to_owned()));
    let iccid = "8988000000000077001";
    assert_eq!(guess(iccid), SearchText::Iccid(iccid.to_owned()));
    assert_eq!(
        guess("  meter 12 "),
        SearchText::Label("meter 12".to_owned())
    );
    assert_eq!(guess("123"), SearchText::Label("123".to_owned()));
    assert!(SearchText::guess("").is_err());
    assert!(SearchText::guess("a\u{0}").is_err());
}

fn operation_pages(home: &Home, visible: &Visible, query: &OperationQuery) -> Vec<Operation> {
    let (mut query, mut all) = (query.clone(), Vec::new());
    for _ in 0..20_000 {
        let page = home.eim.search_operations(visible, &query).unwrap();
        all.extend(page.operations);
        match page.next {
            Some(next) => query.before = Some(next),
            None => return all,
        }
    }
    panic!("the pages never end");
}

#[test]
fn operations_are_found_by_each_filter_newest_first_and_only_on_visible_devices() {
    let fixture = Fixture::new();
    let query = OperationQuery {
        limit: 500,
        ..OperationQuery::default()
    };
    let all = operation_pages(&fixture.home, &Visible::All, &query);
    assert!(all.len() > 3_000, "{}", all.len());
    let fleet_of = |operation: &Operation| {
        let device = fixture
            .all
            .iter()
            .find(|device| device.eid == operation.eid);
        device.unwrap().fleet.clone()
    };
    let campaign = all.iter().find_map(|operation| {
        let same = |other: &&Operation| other.intent == operation.intent;
        (all.iter().filter(same).count() > 100).then_some(operation.intent)
    });
    let base = OperationQuery {
        limit: 37,
        ..OperationQuery::default()
    };
    let queries = [
        base.clone(),
        OperationQuery {
            state: Some(OperationState::Failed),
            ..base.clone()
        },
        OperationQuery {
            actor: Some("principal:lena".to_owned()),
            ..base.clone()
        },
        OperationQuery {
            actor: Some("principal:lena".to_owned()),
            state: Some(OperationState::Queued),
            ..base.clone()
        },
        OperationQuery {
            intent: campaign.unwrap(),
            ..base.clone()
        },
        OperationQuery {
            intent: campaign.unwrap(),
            state: Some(OperationState::Done),
            actor: Some("principal:amir".to_owned()),
            ..base.clone()
        },
        OperationQuery {
            fleet: Some(fleet("vending")),
            since: Some(START_MS - 30 * 86_400_000),
            ..base
        },
    ];
    for query in queries {
        for visible in [Visible::All, only(&["vending", "pilot"]), only(&[])] {
            let seen = operation_pages(&fixture.home, &visible, &query);
            let expected: Vec<&Operation> = all
                .iter()
                .filter(|operation| {
                    let in_fleet = fleet_of(operation);
                    visible.covers(&in_fleet)
                        && query
                            .fleet
                            .as_ref()
                            .is_none_or(|fleet| fleet.as_str() == in_fleet)
                        && query.state.is_none_or(|state| state == operation.state)
                        && query
                            .intent
                            .is_none_or(|intent| Some(intent) == operation.intent)
                        && query
                            .actor
                            .as_ref()
                            .is_none_or(|actor| *actor == operation.actor)
                        && query
                            .since
                            .is_none_or(|since| operation.created_at >= since)
                })
                .collect();
            assert_eq!(
                seen.iter().collect::<Vec<_>>(),
                expected,
                "{query:?} {visible:?}"
            );
        }
    }
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id));
}
