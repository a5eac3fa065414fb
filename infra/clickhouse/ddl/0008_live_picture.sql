-- The live picture: what sells, what lies in the stores, how the tills are, and what was refused. Written by the
-- streaming service under the same rules as the tables before: deterministic keys, the highest version counts, rows live
-- for some time after they were last written.

CREATE TABLE IF NOT EXISTS rt_sales_velocity
(
    store_id      LowCardinality(String) COMMENT 'Store, as the tills call it',
    product_id    String                 COMMENT 'Product, as the tills call it',
    bucket_start  DateTime('UTC')        COMMENT 'Start of the five minutes, UTC',
    units         Decimal(18, 3)         COMMENT 'Net units: returns and voids count against sales',
    revenue       Decimal(18, 2)         COMMENT 'Net revenue, money',
    transactions  UInt32                 COMMENT 'Baskets of any kind with this product',
    version       UInt64                 COMMENT 'Start of the writing service and number of the batch; the highest counts',
    updated_at    DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(bucket_start)
ORDER BY (toDate(bucket_start), store_id, product_id, bucket_start)
TTL toDateTime(updated_at) + INTERVAL 14 DAY
COMMENT 'Sales as they happen. One row per store, product and five minutes with a basket';

CREATE TABLE IF NOT EXISTS rt_inventory
(
    store_id               LowCardinality(String) COMMENT 'Store, as the tills call it',
    product_id             String                 COMMENT 'Product, as the tills call it',
    on_hand                Decimal(18, 3)         COMMENT 'Units on hand by the store''s books, after the newest movement',
    last_movement          LowCardinality(String) COMMENT 'What the newest movement was: sale, receipt, count …',
    last_movement_at       DateTime64(3, 'UTC')   COMMENT 'Time of the newest movement, UTC',
    opening                Decimal(18, 3)         COMMENT 'Units on hand before the oldest movement that arrived',
    moved                  Decimal(18, 3)         COMMENT 'Sum of all movements that arrived, units',
    unexplained            Decimal(18, 3)         COMMENT 'On hand less opening less moved: units that no movement explains',
    movements              UInt64                 COMMENT 'Movements that arrived',
    last_sale_at           DateTime64(3, 'UTC')   COMMENT 'Time of the newest sale, UTC; 1970 where there was none',
    last_receipt_at        DateTime64(3, 'UTC')   COMMENT 'Time of the newest delivery, UTC; 1970 where there was none',
    last_count_at          DateTime64(3, 'UTC')   COMMENT 'Time of the newest count, UTC; 1970 where there was none',
    last_count_correction  Decimal(18, 3)         COMMENT 'Units that the newest count added; negative where the books had more than the shelf',
    version                UInt64                 COMMENT 'Start of the writing service and number of the batch; the highest counts',
    updated_at             DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (store_id, product_id)
TTL toDateTime(updated_at) + INTERVAL 400 DAY
COMMENT 'Stock as it is. One row per store and product with a movement';

CREATE TABLE IF NOT EXISTS rt_pos_hourly
(
    store_id         LowCardinality(String) COMMENT 'Store, as the tills call it',
    register_id      LowCardinality(String) COMMENT 'Till within the store',
    hour_start       DateTime('UTC')        COMMENT 'Start of the hour, UTC',
    last_event_at    DateTime64(3, 'UTC')   COMMENT 'Time of the newest event in the hour, UTC',
    last_kind        LowCardinality(String) COMMENT 'What that event was',
    events           UInt32                 COMMENT 'Events of any kind',
    price_overrides  UInt32                 COMMENT 'Prices that a cashier changed',
    no_sales         UInt32                 COMMENT 'Drawer openings without a sale',
    scan_errors      UInt32                 COMMENT 'Articles that could not be scanned',
    offline_events   UInt32                 COMMENT 'Times that the till went offline',
    version          UInt64                 COMMENT 'Start of the writing service and number of the batch; the highest counts',
    updated_at       DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour_start)
ORDER BY (store_id, register_id, hour_start)
TTL toDateTime(updated_at) + INTERVAL 90 DAY
COMMENT 'What tills report. One row per store, register and hour with an event';

CREATE TABLE IF NOT EXISTS rt_dead_letters
(
    kafka_topic      LowCardinality(String) COMMENT 'Topic that the message came from',
    kafka_partition  Int32                  COMMENT 'Partition',
    kafka_offset     Int64                  COMMENT 'Offset within the partition',
    sent_at          DateTime64(3, 'UTC')   COMMENT 'When the broker got the message, UTC; tells offsets of a topic that was made anew apart',
    rejection        LowCardinality(String) COMMENT 'Why the contract refuses the message',
    raw_value        String                 COMMENT 'The message, byte for byte',
    updated_at       DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(updated_at)
PARTITION BY toYYYYMM(sent_at)
ORDER BY (kafka_topic, kafka_partition, kafka_offset, sent_at)
TTL toDateTime(updated_at) + INTERVAL 90 DAY
COMMENT 'Messages that a contract refuses. One row per message';

CREATE TABLE IF NOT EXISTS rt_query_progress
(
    query            LowCardinality(String) COMMENT 'Query of the streaming service',
    at               DateTime('UTC')        COMMENT 'Start of the ten seconds that the row is about, UTC',
    batch            UInt64                 COMMENT 'Number of the newest batch',
    batches          UInt32                 COMMENT 'Batches that ended',
    rows_in          UInt64                 COMMENT 'Messages read',
    refused          UInt64                 COMMENT 'Messages that the contract refused',
    ahead            UInt64                 COMMENT 'Events ahead of the clock, left out',
    too_large        UInt64                 COMMENT 'Baskets that no column can hold, left out',
    late             UInt64                 COMMENT 'Events behind the watermark, left out',
    rows_out         UInt64                 COMMENT 'Rows written',
    longest_batch_ms UInt32                 COMMENT 'Time of the longest batch, milliseconds',
    lag              UInt64                 COMMENT 'Messages that waited in the topics after the newest batch',
    newest_event_at  DateTime64(3, 'UTC')   COMMENT 'Time of the newest event so far, UTC; 1970 where there was none',
    watermark        DateTime64(3, 'UTC')   COMMENT 'Older events are late, UTC; 1970 where there is none',
    state_rows       UInt64                 COMMENT 'Keys in the query''s state',
    state_bytes      UInt64                 COMMENT 'Memory that the state takes, bytes',
    updated_at       DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (query, at)
TTL toDateTime(updated_at) + INTERVAL 14 DAY
COMMENT 'How the streaming service is. One row per query and ten seconds with a batch';

-- No store is ahead of the warehouse's own clock by more than a till's may be: a machine whose clock was wrong for a
-- moment would otherwise leave a store in the future for good.
CREATE OR REPLACE VIEW v_store_clock AS
SELECT
    c.store_id AS store_id, least(max(c.newest), now64(3, 'UTC') + INTERVAL 15 MINUTE) AS as_of
FROM (
    SELECT store_id, last_movement_at AS newest FROM rt_inventory
    UNION ALL
    SELECT store_id, last_event_at AS newest FROM rt_pos_health
) AS c
GROUP BY c.store_id;

-- The stretches of five minutes of each store's last 24 hours.
CREATE OR REPLACE VIEW v_recent_sales AS
SELECT
    b.store_id AS store_id, b.product_id AS product_id, b.bucket_start AS bucket_start, b.units AS units,
    b.revenue AS revenue, b.transactions AS transactions, c.as_of AS as_of
FROM (
    SELECT store_id, product_id, bucket_start, units, revenue, transactions FROM rt_sales_velocity FINAL
    -- Dates are the table's order: without this line the whole table would be read.
    WHERE toDate(bucket_start) >= (SELECT toDate(min(as_of)) - 1 FROM v_store_clock)
) AS b
INNER JOIN v_store_clock AS c ON c.store_id = b.store_id
WHERE b.bucket_start > c.as_of - INTERVAL 24 HOUR;

CREATE OR REPLACE VIEW v_sales_velocity AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', v.store_id, s.name) AS store,
    v.store_id AS store_id,
    if(p.product_id = '', 'unknown', p.category) AS category, if(p.product_id = '', v.product_id, p.name) AS product,
    v.product_id AS product_id, v.as_of AS as_of,
    v.units_15m AS units_15m, v.revenue_15m AS revenue_15m, v.transactions_15m AS transactions_15m,
    v.units_1h AS units_1h, v.revenue_1h AS revenue_1h, v.transactions_1h AS transactions_1h,
    v.units_24h AS units_24h, v.revenue_24h AS revenue_24h, v.transactions_24h AS transactions_24h
FROM (
    SELECT
        b.store_id AS store_id, b.product_id AS product_id, b.as_of AS as_of,
        sumIf(b.units, b.bucket_start > b.as_of - INTERVAL 15 MINUTE) AS units_15m,
        sumIf(b.revenue, b.bucket_start > b.as_of - INTERVAL 15 MINUTE) AS revenue_15m,
        sumIf(b.transactions, b.bucket_start > b.as_of - INTERVAL 15 MINUTE) AS transactions_15m,
        sumIf(b.units, b.bucket_start > b.as_of - INTERVAL 1 HOUR) AS units_1h,
        sumIf(b.revenue, b.bucket_start > b.as_of - INTERVAL 1 HOUR) AS revenue_1h,
        sumIf(b.transactions, b.bucket_start > b.as_of - INTERVAL 1 HOUR) AS transactions_1h,
        sum(b.units) AS units_24h, sum(b.revenue) AS revenue_24h, sum(b.transactions) AS transactions_24h
    FROM v_recent_sales AS b
    GROUP BY b.store_id, b.product_id, b.as_of
) AS v
LEFT JOIN dim_store AS s ON s.store_id = v.store_id
LEFT JOIN dim_product AS p ON p.product_id = v.product_id;

CREATE OR REPLACE VIEW v_inventory_now AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', i.store_id, s.name) AS store,
    i.store_id AS store_id,
    if(p.product_id = '', 'unknown', p.category) AS category, if(p.product_id = '', i.product_id, p.name) AS product,
    i.product_id AS product_id,
    i.on_hand AS on_hand, i.last_movement AS last_movement, i.last_movement_at AS last_movement_at,
    i.unexplained AS unexplained, i.unexplained != 0 OR i.last_count_correction < 0 AS phantom_suspected,
    i.last_sale_at AS last_sale_at, i.last_receipt_at AS last_receipt_at, i.last_count_at AS last_count_at,
    i.last_count_correction AS last_count_correction, i.updated_at AS updated_at
FROM (SELECT * FROM rt_inventory FINAL) AS i
LEFT JOIN dim_store AS s ON s.store_id = i.store_id
LEFT JOIN dim_product AS p ON p.product_id = i.product_id;

CREATE OR REPLACE VIEW v_pos_hourly AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', h.store_id, s.name) AS store,
    h.store_id AS store_id, h.register_id AS register_id, h.hour_start AS hour_start, h.events AS events,
    h.price_overrides AS price_overrides, h.no_sales AS no_sales, h.scan_errors AS scan_errors,
    h.offline_events AS offline_events
FROM
(
    SELECT store_id, register_id, hour_start, events, price_overrides, no_sales, scan_errors, offline_events
    FROM rt_pos_hourly FINAL
) AS h
LEFT JOIN dim_store AS s ON s.store_id = h.store_id;

CREATE OR REPLACE VIEW v_dead_letters AS
SELECT kafka_topic, kafka_partition, kafka_offset, sent_at, rejection, raw_value
FROM rt_dead_letters FINAL;
