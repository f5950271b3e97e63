-- The tables that every service's plumbing needs, version 1. A service's first migration runs this; a change is a new file.

-- Every fact this service has said, kept for replay; partitioned by day so that forgetting is dropping a table.
CREATE SEQUENCE event_log_id_seq AS bigint CACHE 1;
CREATE TABLE event_log (
    id bigint NOT NULL DEFAULT nextval('event_log_id_seq'),
    day date NOT NULL DEFAULT current_date,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
CREATE TABLE event_log_default PARTITION OF event_log DEFAULT;

-- What the relay still has to send. Rows come and go all the time: vacuum them early, or polls slow down after a burst.
CREATE TABLE outbox_pending (
    id bigint PRIMARY KEY,
    day date NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What this service has heard and acted on: the same event is never handled twice within the retention.
CREATE TABLE inbox (
    event_id uuid NOT NULL,
    consumer text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, consumer)
);
CREATE INDEX inbox_received_at ON inbox (received_at);

-- What could not be handled, with its original bytes. A row that blocks its key holds back the key's later messages; one
-- that waits has not failed itself. `mended` is what an operator wants handled instead of the original, which stays.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    key bytea,
    headers jsonb NOT NULL,
    body bytea,
    fingerprint bytea NOT NULL,
    event_id uuid,
    aggregate_key text,
    blocks_key boolean NOT NULL,
    waiting boolean NOT NULL,
    reason text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now(),
    mended jsonb,
    redrive_by text,
    redrive_at timestamptz
);
-- A record that is delivered again is the same dead letter again.
CREATE UNIQUE INDEX dead_letters_once ON dead_letters (consumer, topic, fingerprint);
CREATE INDEX dead_letters_blocking ON dead_letters (consumer, aggregate_key, id) WHERE blocks_key;
CREATE INDEX dead_letters_due ON dead_letters (consumer, id) WHERE waiting OR redrive_at IS NOT NULL;
CREATE INDEX dead_letters_topic ON dead_letters (consumer, topic, blocks_key);

-- Every redrive of a dead letter: who asked, when, and what came of it. A mended letter's original bytes stay here.
CREATE TABLE redrives (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_id bigint NOT NULL,
    consumer text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    event_id uuid,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    outcome text NOT NULL CHECK (outcome IN ('handled', 'known', 'ignored', 'failed')),
    reason text NOT NULL,
    original jsonb,
    mended jsonb
);
CREATE INDEX redrives_letter_id ON redrives (letter_id);
CREATE INDEX redrives_ended_at ON redrives (ended_at);

-- Provider calls, provider events, deadlines: work that is due at a time, claimed by lease or by row lock.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    key text NOT NULL,
    dedupe text UNIQUE,
    payload jsonb NOT NULL,
    state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'done', 'failed')),
    due_at timestamptz NOT NULL,
    first_due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    lease_token uuid,
    lease_until timestamptz,
    last_error text,
    correlation_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX jobs_due ON jobs (kind, due_at) WHERE state = 'due';
CREATE INDEX jobs_failed ON jobs (first_due_at) WHERE state = 'failed';
CREATE INDEX jobs_finished_at ON jobs (finished_at) WHERE state = 'done';

-- What a caller's Idempotency-Key stands for: the aggregate that came of it, or the refusal.
CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    key text NOT NULL,
    field text NOT NULL,
    arguments_hash bytea NOT NULL,
    aggregate_id text,
    refusal jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key, field)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
