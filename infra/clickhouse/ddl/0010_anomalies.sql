-- What looks wrong right now: sales far from what the store's hour is used to, tills that fell silent, prices changed by
-- hand too often, stock below zero. The streaming service asks again and again, and keeps each incident from the look
-- that found it first to the one that found it no more.

CREATE TABLE IF NOT EXISTS rt_sales_profile
(
    store_id       LowCardinality(String) COMMENT 'Store, as the tills call it',
    category       LowCardinality(String) COMMENT 'Second level of the catalogue',
    weekday        UInt8                  COMMENT 'Day of the week of the business date, Monday is 1',
    local_hour     UInt8                  COMMENT 'Hour of the business date',
    weeks          UInt16                 COMMENT 'Days of trade of this weekday that the figures are from',
    units          Float64                COMMENT 'Median net units of the hour',
    units_scale    Float64                COMMENT 'Usual distance from the median, units',
    revenue        Float64                COMMENT 'Median net revenue of the hour, money',
    revenue_scale  Float64                COMMENT 'Usual distance from the median, money',
    updated_at     DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = MergeTree
ORDER BY (store_id, category, weekday, local_hour)
COMMENT 'What an hour is used to sell, of the last eight weeks in the sales fact, refreshed twice an hour. One row per store, category, weekday and hour with a sale';

-- The scale is 1.4826 times the median absolute deviation, which is the standard deviation where values are normal, but
-- never less than that of counts with the same mean and twice the variance of a Poisson count, since a basket often has
-- more than one unit: eight equal weeks don't mean that a ninth must be equal. An hour without a sale has no row in the
-- fact and counts as zero.
CREATE MATERIALIZED VIEW IF NOT EXISTS rt_sales_profile_refresh REFRESH EVERY 30 MINUTE TO rt_sales_profile AS
SELECT
    store_id, category, weekday, local_hour, toUInt16(weeks) AS weeks,
    arrayReduce('medianExact', all_units) AS units,
    greatest(1.4826 * arrayReduce('medianExact', arrayMap(x -> abs(x - units), all_units)), least_scale) AS units_scale,
    arrayReduce('medianExact', all_revenue) AS revenue,
    greatest(
        1.4826 * arrayReduce('medianExact', arrayMap(x -> abs(x - revenue), all_revenue)),
        least_scale * greatest(arraySum(all_revenue), 1) / greatest(arraySum(all_units), 1)
    ) AS revenue_scale,
    now64(3, 'UTC') AS updated_at
FROM
(
    SELECT
        q.store_id AS store_id, q.category AS category, q.weekday AS weekday, q.local_hour AS local_hour,
        d.weeks AS weeks,
        arrayResize(groupArray(q.units), toUInt32(d.weeks), 0.) AS all_units,
        arrayResize(groupArray(q.revenue), toUInt32(d.weeks), 0.) AS all_revenue,
        sqrt(2 * greatest(arrayAvg(all_units), 1)) AS least_scale
    FROM
    (
        SELECT
            f.store_key AS store_key, s.store_id AS store_id, p.category AS category, f.business_date AS business_date,
            toDayOfWeek(f.business_date) AS weekday, f.business_hour AS local_hour,
            sum(toFloat64(f.units)) AS units, sum(toFloat64(f.revenue)) AS revenue
        FROM fact_sales AS f
        INNER JOIN dim_store AS s ON s.store_key = f.store_key
        INNER JOIN dim_product AS p ON p.product_key = f.product_key
        -- Imported days whose hours nobody knows bear hour 24.
        WHERE f.business_date > (SELECT max(business_date) FROM fact_sales) - 56 AND f.business_hour < 24
        GROUP BY f.store_key, s.store_id, p.category, f.business_date, f.business_hour
    ) AS q
    INNER JOIN
    (
        SELECT store_key, toDayOfWeek(business_date) AS weekday, uniqExact(business_date) AS weeks
        FROM fact_sales
        WHERE business_date > (SELECT max(business_date) FROM fact_sales) - 56 AND business_hour < 24
        GROUP BY store_key, weekday
    ) AS d ON d.store_key = q.store_key AND d.weekday = q.weekday
    GROUP BY q.store_id, q.category, q.weekday, q.local_hour, d.weeks
);

-- The last 60 minutes in whole stretches of five, against the two hours of the profile that they lie in, each by its
-- share; variances add up, and the spread of counts is never below that of the profile. Only where four weeks or more
-- are known.
CREATE OR REPLACE VIEW v_sales_surprise AS
SELECT
    e.store_id AS store_id, e.category AS category, e.as_of AS as_of,
    toFloat64(o.units) AS units, e.units AS expected_units, (units - expected_units) / e.units_scale AS units_score,
    toFloat64(o.revenue) AS revenue, e.revenue AS expected_revenue,
    (revenue - expected_revenue) / e.revenue_scale AS revenue_score
FROM
(
    SELECT
        h.store_id AS store_id, f.category AS category, h.as_of AS as_of,
        sum(h.share * f.units) AS units,
        greatest(sqrt(sum(h.share * pow(f.units_scale, 2))), sqrt(2 * greatest(units, 1))) AS units_scale,
        sum(h.share * f.revenue) AS revenue,
        greatest(
            sqrt(sum(h.share * pow(f.revenue_scale, 2))),
            sqrt(2 * greatest(units, 1)) * greatest(revenue, 1) / greatest(units, 1)
        ) AS revenue_scale
    FROM
    (
        SELECT
            g.store_id AS store_id, g.as_of AS as_of, toDayOfWeek(k.local_date) AS weekday, k.local_hour AS local_hour,
            if(g.earlier, 60 - g.minute, g.minute) / 60 AS share
        FROM
        (
            SELECT
                c.store_id AS store_id, c.as_of AS as_of, s.time_zone AS time_zone,
                toMinute(toStartOfFiveMinutes(toDateTime(c.as_of, 'UTC'))) AS minute,
                arrayJoin([false, true]) AS earlier,
                toStartOfHour(toDateTime(c.as_of, 'UTC')) - if(earlier, 3600, 0) AS hour_start
            FROM v_store_clock AS c
            INNER JOIN dim_store AS s ON s.store_id = c.store_id
        ) AS g
        INNER JOIN (SELECT time_zone, hour_start, local_date, local_hour FROM rt_clock FINAL) AS k
            ON k.time_zone = g.time_zone AND k.hour_start = g.hour_start
    ) AS h
    INNER JOIN rt_sales_profile AS f
        ON f.store_id = h.store_id AND f.weekday = h.weekday AND f.local_hour = h.local_hour
    WHERE f.weeks >= 4 AND h.share > 0
    GROUP BY h.store_id, f.category, h.as_of
) AS e
LEFT JOIN
(
    SELECT b.store_id AS store_id, p.category AS category, sum(b.units) AS units, sum(b.revenue) AS revenue
    FROM v_recent_sales AS b
    INNER JOIN dim_product AS p ON p.product_id = b.product_id
    WHERE b.bucket_start < toStartOfFiveMinutes(toDateTime(b.as_of, 'UTC'))
        AND b.bucket_start >= toStartOfFiveMinutes(toDateTime(b.as_of, 'UTC')) - INTERVAL 1 HOUR
    GROUP BY b.store_id, p.category
) AS o ON o.store_id = e.store_id AND o.category = e.category;

CREATE TABLE IF NOT EXISTS rt_anomaly
(
    kind        LowCardinality(String) COMMENT 'unusual_units, unusual_revenue, till_silent, till_offline, store_silent, price_overrides or negative_stock',
    store_id    LowCardinality(String) COMMENT 'Store, as the tills call it',
    subject     String                 COMMENT 'What it is about in the store: a category, a register or a product; empty for all of it',
    started_at  DateTime64(3, 'UTC')   COMMENT 'When it began by the store''s clock, UTC',
    ended_at    DateTime64(3, 'UTC')   COMMENT 'When it was found no more, UTC; 1970 while it lasts',
    score       Float64                COMMENT 'How far from what is expected, in usual distances or limits; the farthest so far',
    expected    Float64                COMMENT 'What was expected',
    observed    Float64                COMMENT 'What was observed',
    sentence    String                 COMMENT 'The anomaly in words',
    version     UInt64                 COMMENT 'Milliseconds of the look that found it; the highest counts',
    updated_at  DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (store_id, kind, subject, started_at)
TTL toDateTime(updated_at) + INTERVAL 90 DAY
COMMENT 'What looked wrong. One row per store, kind, subject and time it began';

CREATE OR REPLACE VIEW v_anomaly AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', a.store_id, s.name) AS store,
    a.store_id AS store_id, a.kind AS kind, a.subject AS subject, a.started_at AS started_at, a.ended_at AS ended_at,
    toUnixTimestamp(a.ended_at) = 0 AS lasts, a.score AS score, a.expected AS expected, a.observed AS observed,
    a.sentence AS sentence
FROM
(
    SELECT store_id, kind, subject, started_at, ended_at, score, expected, observed, sentence FROM rt_anomaly FINAL
) AS a
LEFT JOIN dim_store AS s ON s.store_id = a.store_id;
