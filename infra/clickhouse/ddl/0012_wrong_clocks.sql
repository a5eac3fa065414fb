-- A wrong clock does no lasting harm. The last sign of life of a till is that of its newest hour, so it is asked of the
-- hours: a table of its own kept the newest event for good, and a till that was once a year ahead never fell silent
-- again. Hours that the warehouse's clock hasn't reached are of a clock that was wrong, by more than a till's may be.

CREATE OR REPLACE VIEW v_pos_health AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', 'unknown', s.city) AS city,
    if(s.store_id = '', h.store_id, s.name) AS store, h.store_id AS store_id, h.register_id AS register_id,
    h.last_event_at AS last_event_at, h.last_kind AS last_kind, h.updated_at AS updated_at
FROM (
    SELECT store_id, register_id, last_event_at, last_kind, updated_at
    FROM rt_pos_hourly FINAL
    WHERE hour_start <= now('UTC') + INTERVAL 15 MINUTE
    ORDER BY store_id, register_id, hour_start DESC
    LIMIT 1 BY store_id, register_id
) AS h
LEFT JOIN dim_store AS s ON s.store_id = h.store_id;

-- What is ahead of the warehouse's clock says nothing of a store's time: bounded to it, the store's time would go on
-- with the warehouse's, whether or not anything happens in the store.
CREATE OR REPLACE VIEW v_store_clock AS
SELECT
    c.store_id AS store_id, max(c.newest) AS as_of
FROM (
    SELECT store_id, last_movement_at AS newest FROM rt_inventory
    UNION ALL
    SELECT store_id, last_event_at AS newest FROM rt_pos_hourly
) AS c
WHERE c.newest <= now64(3, 'UTC') + INTERVAL 15 MINUTE
GROUP BY c.store_id;

DROP TABLE IF EXISTS rt_pos_health;
