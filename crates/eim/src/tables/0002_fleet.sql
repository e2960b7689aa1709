-- Reading across devices: what lists are sorted and searched by, counts that are kept as rows change, the order in which
-- events were committed, changes of the enabled profile, tags.
--
-- Triggers keep lists and counts, so that no verb can forget to. They write only when something changed that is counted.

-- Counts, one row each:
--   device    state of devices
--   provider  enabled profiles of devices that are not retired, by provider
--   open      state of operations that are not over
--   hour, day state of operations that ended in this hour or day since 1970 (UTC), which is the slot
CREATE TABLE tally (
    kind   TEXT NOT NULL,
    name   TEXT NOT NULL,
    slot   BIGINT NOT NULL,
    fleet  TEXT NOT NULL,
    n      BIGINT NOT NULL,
    PRIMARY KEY (kind, name, slot, fleet)
) WITHOUT ROWID;

-- What lists of devices are sorted and filtered by, in narrow rows: those of device hold certificates.
CREATE TABLE device_listing (
    eid            TEXT PRIMARY KEY,
    fleet          TEXT NOT NULL,
    state          TEXT NOT NULL,
    association    TEXT NOT NULL,
    registered_at  BIGINT NOT NULL,
    -- Minutes since 1970, 0 when it never polled: an order that does not change with every poll.
    polled_minute  BIGINT NOT NULL,
    label          TEXT NOT NULL
) WITHOUT ROWID;

-- Tags of operators: metadata.
CREATE TABLE device_tag (
    eid    TEXT NOT NULL REFERENCES device (eid),
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (eid, key)
) WITHOUT ROWID;
CREATE INDEX device_tag_key ON device_tag (key, value, eid);

-- Events in the order in which they were committed: the writer numbers them, and what was committed together is seen together.
-- The ids do not sort like that: they are made before an event waits for the writer.
CREATE TABLE event_log (
    seq  INTEGER PRIMARY KEY,
    eid  TEXT NOT NULL,
    id   TEXT NOT NULL
);

-- When another profile became the enabled one, as signed results tell it. The first row of a device is what was found first.
CREATE TABLE profile_change (
    id          INTEGER PRIMARY KEY,
    eid         TEXT NOT NULL,
    at          BIGINT NOT NULL,
    is_first    BOOLEAN NOT NULL,
    from_iccid  TEXT,
    to_iccid    TEXT,
    operation   TEXT
);
CREATE INDEX profile_change_device ON profile_change (eid, id);

-- The device's fleet, here too, so that operations are listed by it.
ALTER TABLE operation ADD COLUMN fleet TEXT NOT NULL DEFAULT '';

-- What is there already.

UPDATE operation SET fleet = (SELECT fleet FROM device WHERE device.eid = operation.eid);

INSERT INTO device_listing (eid, fleet, state, association, registered_at, polled_minute, label)
SELECT d.eid, d.fleet, d.state, d.association, d.registered_at, coalesce(c.last_poll_at / 60000, 0), d.label
FROM device d LEFT JOIN device_contact c ON c.eid = d.eid;

INSERT INTO tally (kind, name, slot, fleet, n)
SELECT 'device', state, 0, fleet, count(*) FROM device GROUP BY state, fleet;

INSERT INTO tally (kind, name, slot, fleet, n)
SELECT 'provider', p.provider, 0, d.fleet, count(*) FROM profile p JOIN device d ON d.eid = p.eid
WHERE p.state = 'enabled' AND d.state <> 'retired' GROUP BY p.provider, d.fleet;

INSERT INTO tally (kind, name, slot, fleet, n)
SELECT 'open', state, 0, fleet, count(*) FROM operation WHERE finished_at IS NULL GROUP BY state, fleet;

INSERT INTO tally (kind, name, slot, fleet, n)
SELECT 'hour', state, finished_at / 3600000, fleet, count(*) FROM operation
WHERE finished_at IS NOT NULL GROUP BY state, finished_at / 3600000, fleet;

INSERT INTO tally (kind, name, slot, fleet, n)
SELECT 'day', state, finished_at / 86400000, fleet, count(*) FROM operation
WHERE finished_at IS NOT NULL GROUP BY state, finished_at / 86400000, fleet;

INSERT INTO event_log (eid, id) SELECT eid, id FROM event ORDER BY id;

-- Since when this one was enabled, nobody wrote down: known since the profile was listed last.
INSERT INTO profile_change (eid, at, is_first, from_iccid, to_iccid)
SELECT eid, max(updated_at), TRUE, NULL, min(CASE WHEN state = 'enabled' THEN iccid END) FROM profile GROUP BY eid;

-- Indexes.

CREATE INDEX device_listing_fleet ON device_listing (fleet, eid);
CREATE INDEX device_listing_polled ON device_listing (fleet, polled_minute, eid, state);
CREATE INDEX device_listing_registered ON device_listing (fleet, registered_at, eid);
CREATE INDEX device_listing_state ON device_listing (state, association);
CREATE INDEX device_listing_association ON device_listing (association);
CREATE INDEX profile_provider ON profile (provider, eid) WHERE state = 'enabled';
-- Lists of operations by what does not change, so that a package that goes its way writes none of them; those that are open,
-- and those that did not succeed, which are few, have their own.
CREATE INDEX operation_fleet_open ON operation (fleet, finished_at, id) WHERE finished_at IS NULL;
CREATE INDEX operation_fleet_unsuccessful ON operation (fleet, state, id)
WHERE state IN ('failed', 'cancelled', 'expired', 'rolled-back');
DROP INDEX operation_of_intent;
CREATE INDEX operation_intent_open ON operation (intent, finished_at, id, fleet)
WHERE intent IS NOT NULL AND finished_at IS NULL;
CREATE INDEX operation_intent_unsuccessful ON operation (intent, state, id, fleet)
WHERE intent IS NOT NULL AND state IN ('failed', 'cancelled', 'expired', 'rolled-back');
CREATE INDEX operation_by_intent ON operation (intent, id, fleet) WHERE intent IS NOT NULL;
CREATE INDEX operation_fleet ON operation (fleet, id);
CREATE INDEX operation_by_actor ON operation (actor, id, fleet);
CREATE INDEX operation_unsuccessful ON operation (eid, id, state) WHERE state IN ('failed', 'expired', 'rolled-back');

-- From here on.

CREATE TRIGGER device_listed AFTER INSERT ON device BEGIN
    INSERT INTO device_listing (eid, fleet, state, association, registered_at, polled_minute, label)
    VALUES (NEW.eid, NEW.fleet, NEW.state, NEW.association, NEW.registered_at, 0, NEW.label);
    INSERT INTO tally (kind, name, slot, fleet, n) VALUES ('device', NEW.state, 0, NEW.fleet, 1)
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER device_relisted AFTER UPDATE OF label, state, fleet, association ON device
WHEN OLD.state <> NEW.state OR OLD.association <> NEW.association OR OLD.label <> NEW.label OR OLD.fleet <> NEW.fleet BEGIN
    UPDATE device_listing SET fleet = NEW.fleet, state = NEW.state, association = NEW.association, label = NEW.label
    WHERE eid = NEW.eid;
END;

CREATE TRIGGER device_counted AFTER UPDATE OF state, fleet ON device_listing
WHEN OLD.state <> NEW.state OR OLD.fleet <> NEW.fleet BEGIN
    UPDATE tally SET n = n - 1 WHERE kind = 'device' AND name = OLD.state AND slot = 0 AND fleet = OLD.fleet;
    INSERT INTO tally (kind, name, slot, fleet, n) VALUES ('device', NEW.state, 0, NEW.fleet, 1)
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER device_moved AFTER UPDATE OF state, fleet ON device_listing
WHEN OLD.fleet <> NEW.fleet OR (OLD.state = 'retired') <> (NEW.state = 'retired') BEGIN
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'provider', provider, 0, OLD.fleet, -count(*) FROM profile
    WHERE eid = OLD.eid AND state = 'enabled' AND OLD.state <> 'retired' GROUP BY provider
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + excluded.n;
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'provider', provider, 0, NEW.fleet, count(*) FROM profile
    WHERE eid = NEW.eid AND state = 'enabled' AND NEW.state <> 'retired' GROUP BY provider
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + excluded.n;
    UPDATE operation SET fleet = NEW.fleet WHERE eid = NEW.eid AND fleet <> NEW.fleet;
END;

CREATE TRIGGER contact_first AFTER INSERT ON device_contact BEGIN
    UPDATE device_listing SET polled_minute = NEW.last_poll_at / 60000 WHERE eid = NEW.eid;
END;

CREATE TRIGGER contact_again AFTER UPDATE OF last_poll_at ON device_contact
WHEN OLD.last_poll_at / 60000 <> NEW.last_poll_at / 60000 BEGIN
    UPDATE device_listing SET polled_minute = NEW.last_poll_at / 60000 WHERE eid = NEW.eid;
END;

CREATE TRIGGER operation_entered AFTER INSERT ON operation BEGIN
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'open', NEW.state, 0, NEW.fleet, 1 WHERE NEW.finished_at IS NULL
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'hour', NEW.state, NEW.finished_at / 3600000, NEW.fleet, 1 WHERE NEW.finished_at IS NOT NULL
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'day', NEW.state, NEW.finished_at / 86400000, NEW.fleet, 1 WHERE NEW.finished_at IS NOT NULL
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

-- Three for the three ways in which an operation goes on: each package does the first two, so they do only what they must.
CREATE TRIGGER operation_moved AFTER UPDATE OF state, finished_at, fleet ON operation
WHEN OLD.finished_at IS NULL AND NEW.finished_at IS NULL AND (OLD.state <> NEW.state OR OLD.fleet <> NEW.fleet) BEGIN
    UPDATE tally SET n = n - 1 WHERE kind = 'open' AND name = OLD.state AND slot = 0 AND fleet = OLD.fleet;
    INSERT INTO tally (kind, name, slot, fleet, n) VALUES ('open', NEW.state, 0, NEW.fleet, 1)
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER operation_ended AFTER UPDATE OF state, finished_at, fleet ON operation
WHEN OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL BEGIN
    UPDATE tally SET n = n - 1 WHERE kind = 'open' AND name = OLD.state AND slot = 0 AND fleet = OLD.fleet;
    INSERT INTO tally (kind, name, slot, fleet, n) VALUES ('hour', NEW.state, NEW.finished_at / 3600000, NEW.fleet, 1)
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
    INSERT INTO tally (kind, name, slot, fleet, n) VALUES ('day', NEW.state, NEW.finished_at / 86400000, NEW.fleet, 1)
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER operation_ended_again AFTER UPDATE OF state, finished_at, fleet ON operation
WHEN OLD.finished_at IS NOT NULL
AND (OLD.state <> NEW.state OR OLD.finished_at IS NOT NEW.finished_at OR OLD.fleet <> NEW.fleet) BEGIN
    UPDATE tally SET n = n - 1
    WHERE kind = 'hour' AND name = OLD.state AND slot = OLD.finished_at / 3600000 AND fleet = OLD.fleet;
    UPDATE tally SET n = n - 1
    WHERE kind = 'day' AND name = OLD.state AND slot = OLD.finished_at / 86400000 AND fleet = OLD.fleet;
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'open', NEW.state, 0, NEW.fleet, 1 WHERE NEW.finished_at IS NULL
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'hour', NEW.state, NEW.finished_at / 3600000, NEW.fleet, 1 WHERE NEW.finished_at IS NOT NULL
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'day', NEW.state, NEW.finished_at / 86400000, NEW.fleet, 1 WHERE NEW.finished_at IS NOT NULL
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER profile_found AFTER INSERT ON profile WHEN NEW.state = 'enabled' BEGIN
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'provider', NEW.provider, 0, fleet, 1 FROM device_listing WHERE eid = NEW.eid AND state <> 'retired'
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER profile_changed AFTER UPDATE OF state, provider ON profile
WHEN OLD.state <> NEW.state OR OLD.provider <> NEW.provider BEGIN
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'provider', OLD.provider, 0, fleet, -1 FROM device_listing
    WHERE eid = OLD.eid AND state <> 'retired' AND OLD.state = 'enabled'
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n - 1;
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'provider', NEW.provider, 0, fleet, 1 FROM device_listing
    WHERE eid = NEW.eid AND state <> 'retired' AND NEW.state = 'enabled'
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER profile_gone AFTER DELETE ON profile WHEN OLD.state = 'enabled' BEGIN
    INSERT INTO tally (kind, name, slot, fleet, n)
    SELECT 'provider', OLD.provider, 0, fleet, -1 FROM device_listing WHERE eid = OLD.eid AND state <> 'retired'
    ON CONFLICT (kind, name, slot, fleet) DO UPDATE SET n = n - 1;
END;
