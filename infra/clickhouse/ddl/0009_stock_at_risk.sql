-- What follows from the live picture when it is asked again and again: how long stock lasts, which level of risk that is
-- and since when, today against the same day last week, and what sells most. The streaming service asks the levels and
-- keeps what changed; the summaries refresh themselves.

CREATE TABLE IF NOT EXISTS rt_clock
(
    time_zone   LowCardinality(String) COMMENT 'IANA time zone of a store',
    hour_start  DateTime('UTC')        COMMENT 'Start of the hour, UTC',
    local_date  Date                   COMMENT 'Business date of the hour in the time zone',
    local_hour  UInt8                  COMMENT 'Hour of that date',
    updated_at  DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (time_zone, hour_start)
TTL toDateTime(updated_at) + INTERVAL 800 DAY
COMMENT 'Hours on the stores'' own clocks, since the engine takes no time zone from a column. One row per time zone and hour';

CREATE TABLE IF NOT EXISTS rt_stockout_risk
(
    store_id              LowCardinality(String) COMMENT 'Store, as the tills call it',
    product_id            String                 COMMENT 'Product, as the tills call it',
    level                 LowCardinality(String) COMMENT 'ok, low, critical or out',
    previous_level        LowCardinality(String) COMMENT 'Level before that; ok where there was none',
    changed_at            DateTime64(3, 'UTC')   COMMENT 'When the level changed by the store''s clock, UTC',
    on_hand_then          Decimal(18, 3)         COMMENT 'Units on hand when it changed',
    hours_of_cover_then   Float64                COMMENT 'Hours that these last; 8760 where nothing is expected to sell',
    expected_units_then   Float64                COMMENT 'Expected demand of 24 hours when it changed, units',
    version               UInt64                 COMMENT 'Milliseconds of the look that found it; the highest counts',
    updated_at            DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (store_id, product_id)
TTL toDateTime(updated_at) + INTERVAL 400 DAY
COMMENT 'The level of risk that stock runs out, as it changed last. One row per store and product that was ever at risk';

-- Expected demand of 24 hours: what the last 24 hours sold and, where there is a forecast for the store's own date, the
-- mean of both. A forecast counts like as many hours of sales (the posterior mean of a Poisson rate).
CREATE OR REPLACE VIEW v_stock_cover AS
SELECT
    i.store_id AS store_id, i.product_id AS product_id, c.as_of AS as_of,
    i.on_hand AS on_hand, i.last_movement_at AS last_movement_at, greatest(v.units, 0) AS units_24h,
    f.known AS has_forecast, f.units AS forecast_units,
    if(f.known, (toFloat64(units_24h) + f.units) / 2, toFloat64(units_24h)) AS expected_units,
    if(expected_units > 0, least(8760, greatest(toFloat64(i.on_hand), 0) * 24 / expected_units), 8760) AS hours_of_cover
FROM (SELECT store_id, product_id, on_hand, last_movement_at FROM rt_inventory FINAL) AS i
INNER JOIN v_store_clock AS c ON c.store_id = i.store_id
LEFT JOIN
(
    SELECT b.store_id AS store_id, b.product_id AS product_id, sum(b.units) AS units
    FROM v_recent_sales AS b
    GROUP BY b.store_id, b.product_id
) AS v ON v.store_id = i.store_id AND v.product_id = i.product_id
LEFT JOIN
(
    SELECT s.store_id AS store_id, p.product_id AS product_id, toBool(1) AS known, greatest(o.mean, 0) AS units
    FROM fact_forecast AS o
    INNER JOIN dim_store AS s ON s.store_key = o.store_key
    INNER JOIN dim_product AS p ON p.product_key = o.product_key
    INNER JOIN v_store_clock AS d ON d.store_id = s.store_id
    INNER JOIN (SELECT time_zone, hour_start, local_date FROM rt_clock FINAL) AS k
        ON k.time_zone = s.time_zone AND k.hour_start = toStartOfHour(toDateTime(d.as_of, 'UTC'))
    WHERE o.run_date = (SELECT max(run_date) FROM fact_forecast) AND o.target_date = k.local_date
) AS f ON f.store_id = i.store_id AND f.product_id = i.product_id;

CREATE OR REPLACE VIEW v_stockout_risk AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', i.store_id, s.name) AS store,
    i.store_id AS store_id,
    if(p.product_id = '', 'unknown', p.category) AS category, if(p.product_id = '', i.product_id, p.name) AS product,
    i.product_id AS product_id,
    if(r.level = '', 'ok', r.level) AS level, if(r.level = '', 'ok', r.previous_level) AS previous_level,
    r.changed_at AS changed_at, i.on_hand AS on_hand, i.hours_of_cover AS hours_of_cover,
    i.expected_units AS expected_units, i.has_forecast AS has_forecast, i.as_of AS as_of
FROM v_stock_cover AS i
LEFT JOIN
(
    SELECT store_id, product_id, level, previous_level, changed_at FROM rt_stockout_risk FINAL
) AS r ON r.store_id = i.store_id AND r.product_id = i.product_id
LEFT JOIN dim_store AS s ON s.store_id = i.store_id
LEFT JOIN dim_product AS p ON p.product_id = i.product_id;

CREATE TABLE IF NOT EXISTS rt_fact_hours
(
    store_id       LowCardinality(String) COMMENT 'Store, as the tills call it',
    business_date  Date                   COMMENT 'Date in the store''s own time zone',
    business_hour  UInt8                  COMMENT 'Hour in the store''s own time zone',
    units          Decimal(18, 3)         COMMENT 'Net units: returns and voids count against sales',
    revenue        Decimal(18, 2)         COMMENT 'Net revenue, money',
    updated_at     DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = MergeTree
ORDER BY (store_id, business_date, business_hour)
COMMENT 'The last three weeks of the sales fact by hour, refreshed twice an hour. One row per store, date and hour with a sale';

CREATE MATERIALIZED VIEW IF NOT EXISTS rt_fact_hours_refresh REFRESH EVERY 30 MINUTE TO rt_fact_hours AS
SELECT
    s.store_id AS store_id, f.business_date AS business_date, f.business_hour AS business_hour,
    sum(f.units) AS units, sum(f.revenue) AS revenue, now64(3, 'UTC') AS updated_at
FROM fact_sales AS f
INNER JOIN dim_store AS s ON s.store_key = f.store_key
WHERE f.business_date > (SELECT max(business_date) FROM fact_sales) - 21
    -- Imported days whose hours nobody knows bear hour 24.
    AND f.business_hour < 24
GROUP BY s.store_id, f.business_date, f.business_hour;

-- Hours on the stores' own clocks: as the stream counted them or, where it has none, from the sales fact, which does not
-- know baskets by hour.
CREATE OR REPLACE VIEW v_store_hours AS
SELECT
    if(h.store_id != '', h.store_id, f.store_id) AS store_id,
    if(h.store_id != '', h.local_date, f.business_date) AS local_date,
    if(h.store_id != '', h.local_hour, f.business_hour) AS local_hour,
    if(h.store_id != '', h.units, f.units) AS units, if(h.store_id != '', h.revenue, f.revenue) AS revenue,
    h.transactions AS transactions
FROM (
    SELECT
        r.store_id AS store_id, k.local_date AS local_date, k.local_hour AS local_hour,
        sum(r.units) AS units, sum(r.revenue) AS revenue, sum(r.transactions) AS transactions
    FROM (SELECT store_id, hour_start, units, revenue, transactions FROM rt_revenue_hourly FINAL) AS r
    INNER JOIN dim_store AS s ON s.store_id = r.store_id
    INNER JOIN (SELECT time_zone, hour_start, local_date, local_hour FROM rt_clock FINAL) AS k
        ON k.time_zone = s.time_zone AND k.hour_start = r.hour_start
    GROUP BY r.store_id, k.local_date, k.local_hour
) AS h
FULL OUTER JOIN rt_fact_hours AS f
    ON f.store_id = h.store_id AND f.business_date = h.local_date AND f.business_hour = h.local_hour;

-- Last week's figures are of the same hour of the same weekday on the store's own clock, also across a change to or
-- from daylight saving; 0 where none are known.
CREATE OR REPLACE VIEW v_revenue_hourly AS
SELECT
    r.hour_start AS hour_start,
    if(r.named, r.region, 'unknown') AS region, if(r.named, r.city, 'unknown') AS city,
    if(r.named, r.name, r.store_id) AS store, r.store_id AS store_id,
    r.local_date AS local_date, r.local_hour AS local_hour,
    r.units AS units, r.revenue AS revenue, r.transactions AS transactions,
    w.units AS units_last_week, w.revenue AS revenue_last_week, w.transactions AS transactions_last_week,
    r.updated_at AS updated_at
FROM (
    SELECT
        h.hour_start AS hour_start, h.store_id AS store_id, s.store_id != '' AS named, s.region AS region, s.city AS city,
        s.name AS name, k.local_date AS local_date, k.local_hour AS local_hour,
        h.units AS units, h.revenue AS revenue, h.transactions AS transactions, h.updated_at AS updated_at
    FROM (SELECT store_id, hour_start, units, revenue, transactions, updated_at FROM rt_revenue_hourly FINAL) AS h
    LEFT JOIN dim_store AS s ON s.store_id = h.store_id
    LEFT JOIN (SELECT time_zone, hour_start, local_date, local_hour FROM rt_clock FINAL) AS k
        ON k.time_zone = s.time_zone AND k.hour_start = h.hour_start
) AS r
LEFT JOIN v_store_hours AS w
    ON w.store_id = r.store_id AND w.local_date = r.local_date - 7 AND w.local_hour = r.local_hour;

CREATE TABLE IF NOT EXISTS rt_revenue_today
(
    region             LowCardinality(String) COMMENT 'Sales region',
    as_of              DateTime64(3, 'UTC')   COMMENT 'Newest event of the region''s stores, UTC',
    stores             UInt32                 COMMENT 'Stores that sold something today',
    units              Decimal(18, 3)         COMMENT 'Net units of today, by each store''s own date',
    revenue            Decimal(18, 2)         COMMENT 'Net revenue of today, money',
    transactions       UInt64                 COMMENT 'Baskets of any kind today',
    revenue_last_week  Decimal(18, 2)         COMMENT 'Net revenue a week ago up to the same time of day, money; of the running hour its share',
    updated_at         DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = MergeTree
ORDER BY region
COMMENT 'Today by region, refreshed twice a minute. One row per region';

-- Today is the date of the newest event of all stores, on each store's own clock: a store that has not opened yet, or
-- has fallen silent, has no part in it, but last week's hours count whether or not this week's have sold anything.
CREATE MATERIALIZED VIEW IF NOT EXISTS rt_revenue_today_refresh REFRESH EVERY 30 SECOND TO rt_revenue_today AS
SELECT
    s.region AS region, max(c.as_of) AS as_of, toUInt32(uniqExactIf(h.store_id, h.local_date = k.local_date)) AS stores,
    sumIf(h.units, h.local_date = k.local_date) AS units, sumIf(h.revenue, h.local_date = k.local_date) AS revenue,
    toUInt64(sumIf(h.transactions, h.local_date = k.local_date)) AS transactions,
    toDecimal64(sumIf(toFloat64(h.revenue) * multiIf(
        h.local_hour < k.local_hour, 1, h.local_hour = k.local_hour, (toMinute(n.newest) + 1) / 60, 0
    ), h.local_date = k.local_date - 7), 2) AS revenue_last_week,
    now64(3, 'UTC') AS updated_at
FROM v_store_hours AS h
INNER JOIN dim_store AS s ON s.store_id = h.store_id
CROSS JOIN (SELECT max(as_of) AS newest FROM v_store_clock) AS n
INNER JOIN (SELECT time_zone, hour_start, local_date, local_hour FROM rt_clock FINAL) AS k
    ON k.time_zone = s.time_zone AND k.hour_start = toStartOfHour(toDateTime(n.newest, 'UTC'))
LEFT JOIN v_store_clock AS c ON c.store_id = h.store_id
WHERE h.local_date IN (k.local_date, k.local_date - 7)
GROUP BY s.region;

CREATE OR REPLACE VIEW v_revenue_today AS
SELECT region, as_of, stores, units, revenue, transactions, revenue_last_week, updated_at FROM rt_revenue_today;

CREATE TABLE IF NOT EXISTS rt_top_movers
(
    product_id   String                 COMMENT 'Product, as the tills call it',
    product      String                 COMMENT 'Name people use',
    category     LowCardinality(String) COMMENT 'Second level of the catalogue',
    as_of        DateTime64(3, 'UTC')   COMMENT 'Newest event of the stores that sold it, UTC',
    stores       UInt32                 COMMENT 'Stores that sold it in the last hour',
    units_1h     Decimal(18, 3)         COMMENT 'Net units of the last hour',
    revenue_1h   Decimal(18, 2)         COMMENT 'Net revenue of the last hour, money',
    units_24h    Decimal(18, 3)         COMMENT 'Net units of the last 24 hours',
    revenue_24h  Decimal(18, 2)         COMMENT 'Net revenue of the last 24 hours, money',
    updated_at   DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = MergeTree
ORDER BY product_id
COMMENT 'The hundred products that earned most in the last hour, refreshed twice a minute. One row per product';

CREATE MATERIALIZED VIEW IF NOT EXISTS rt_top_movers_refresh REFRESH EVERY 30 SECOND TO rt_top_movers AS
SELECT
    v.product_id AS product_id, any(v.product) AS product, any(v.category) AS category, max(v.as_of) AS as_of,
    toUInt32(uniqExactIf(v.store_id, v.units_1h > 0)) AS stores,
    sum(v.units_1h) AS units_1h, sum(v.revenue_1h) AS revenue_1h,
    sum(v.units_24h) AS units_24h, sum(v.revenue_24h) AS revenue_24h, now64(3, 'UTC') AS updated_at
FROM v_sales_velocity AS v
-- The last hour of a store that fell silent yesterday is not the last hour.
WHERE v.as_of > (SELECT max(as_of) - INTERVAL 1 HOUR FROM v_store_clock)
GROUP BY v.product_id
HAVING revenue_1h > 0
ORDER BY revenue_1h DESC
LIMIT 100;

CREATE OR REPLACE VIEW v_top_movers AS
SELECT product_id, product, category, as_of, stores, units_1h, revenue_1h, units_24h, revenue_24h, updated_at
FROM rt_top_movers;

CREATE TABLE IF NOT EXISTS rt_stores_at_risk
(
    store_id         LowCardinality(String) COMMENT 'Store, as the tills call it',
    store            LowCardinality(String) COMMENT 'Name people use',
    region           LowCardinality(String) COMMENT 'Sales region',
    as_of            DateTime64(3, 'UTC')   COMMENT 'Newest event of the store, UTC',
    out_products     UInt32                 COMMENT 'Products with nothing on hand',
    critical_products UInt32                COMMENT 'Products at level critical',
    low_products     UInt32                 COMMENT 'Products at level low',
    products         UInt32                 COMMENT 'Products with a movement',
    revenue_at_risk  Decimal(18, 2)         COMMENT 'Expected demand of 24 hours of products out or critical, at list price, money',
    updated_at       DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = MergeTree
ORDER BY store_id
COMMENT 'Stores by what is running out, refreshed twice a minute. One row per store';

CREATE MATERIALIZED VIEW IF NOT EXISTS rt_stores_at_risk_refresh REFRESH EVERY 30 SECOND TO rt_stores_at_risk AS
SELECT
    r.store_id AS store_id, any(r.store) AS store, any(r.region) AS region, max(r.as_of) AS as_of,
    toUInt32(countIf(r.level = 'out')) AS out_products, toUInt32(countIf(r.level = 'critical')) AS critical_products,
    toUInt32(countIf(r.level = 'low')) AS low_products, toUInt32(count()) AS products,
    toDecimal64(sumIf(r.expected_units * toFloat64(p.list_price), r.level IN ('out', 'critical')), 2) AS revenue_at_risk,
    now64(3, 'UTC') AS updated_at
FROM v_stockout_risk AS r
LEFT JOIN dim_product AS p ON p.product_id = r.product_id
GROUP BY r.store_id;

CREATE OR REPLACE VIEW v_stores_at_risk AS
SELECT
    store_id, store, region, as_of, out_products, critical_products, low_products, products, revenue_at_risk, updated_at
FROM rt_stores_at_risk;
