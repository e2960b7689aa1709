-- What operators know of devices whose registration waits for approvals: given to the device once it is registered by this
-- intent, and forgotten if it never is.
CREATE TABLE pending_data (
    intent             TEXT NOT NULL,
    eid                TEXT NOT NULL,
    label              TEXT,
    association_token  BIGINT,
    euicc_certificate  BLOB,
    eum_certificate    BLOB,
    -- Who gave it.
    actor              TEXT NOT NULL,
    expires_at         BIGINT NOT NULL,
    PRIMARY KEY (intent, eid)
) WITHOUT ROWID;
CREATE INDEX pending_data_expiry ON pending_data (expires_at);
