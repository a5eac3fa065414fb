-- Real time: written by the streaming service, a few seconds behind the tills. Each row has a deterministic key and a
-- version, so a batch that is written again replaces itself; the views read final rows only. Rows live for 90 days after
-- they were last written, whatever their event time, so that a replay of old events stays too. The star schema has the
-- history.

CREATE TABLE IF NOT EXISTS rt_revenue_hourly
(
    store_id      LowCardinality(String) COMMENT 'Store, as the tills call it',
    hour_start    DateTime('UTC')        COMMENT 'Start of the hour, UTC',
    units         Decimal(18, 3)         COMMENT 'Net units: returns and voids count against sales',
    revenue       Decimal(18, 2)         COMMENT 'Net revenue, money',
    transactions  UInt32                 COMMENT 'Baskets of any kind',
    version       UInt64                 COMMENT 'Start of the writing service and number of the batch; the highest counts',
    updated_at    DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour_start)
ORDER BY (store_id, hour_start)
TTL toDateTime(updated_at) + INTERVAL 90 DAY
COMMENT 'Sales as they happen. One row per store and hour with a basket';

CREATE TABLE IF NOT EXISTS rt_pos_health
(
    store_id       LowCardinality(String) COMMENT 'Store, as the tills call it',
    register_id    LowCardinality(String) COMMENT 'Till within the store',
    last_event_at  DateTime64(3, 'UTC')   COMMENT 'Time of the till''s newest event, UTC; the newest counts',
    last_kind      LowCardinality(String) COMMENT 'What that event was: open, close, heartbeat, offline …',
    updated_at     DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(last_event_at)
ORDER BY (store_id, register_id)
TTL toDateTime(updated_at) + INTERVAL 90 DAY
COMMENT 'The last sign of life of each till. One row per store and register';

CREATE OR REPLACE VIEW v_revenue_hourly AS
SELECT
    r.hour_start AS hour_start,
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', 'unknown', s.city) AS city,
    if(s.store_id = '', r.store_id, s.name) AS store, r.store_id AS store_id,
    r.units AS units, r.revenue AS revenue, r.transactions AS transactions, r.updated_at AS updated_at
FROM (SELECT store_id, hour_start, units, revenue, transactions, updated_at FROM rt_revenue_hourly FINAL) AS r
LEFT JOIN dim_store AS s ON s.store_id = r.store_id;

CREATE OR REPLACE VIEW v_pos_health AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', 'unknown', s.city) AS city,
    if(s.store_id = '', h.store_id, s.name) AS store, h.store_id AS store_id, h.register_id AS register_id,
    h.last_event_at AS last_event_at, h.last_kind AS last_kind, h.updated_at AS updated_at
FROM (SELECT store_id, register_id, last_event_at, last_kind, updated_at FROM rt_pos_health FINAL) AS h
LEFT JOIN dim_store AS s ON s.store_id = h.store_id;
