-- A count settles a stock: what no movement had explained until then is over once somebody has counted what is there.
-- It does so when no movement from before the count can come any more; until then what is unexplained may only be late.

ALTER TABLE rt_inventory
    ADD COLUMN IF NOT EXISTS first_movement_at DateTime64(3, 'UTC') COMMENT 'Time of the oldest movement that arrived, UTC' AFTER last_movement_at;

CREATE TABLE IF NOT EXISTS rt_stock_settled
(
    store_id          LowCardinality(String) COMMENT 'Store, as the tills call it',
    product_id        String                 COMMENT 'Product, as the tills call it',
    counted_at        DateTime64(3, 'UTC')   COMMENT 'Time of the count that settled it, UTC',
    unexplained_then  Decimal(18, 3)         COMMENT 'Units that no movement had explained when it did',
    first_movement_then DateTime64(3, 'UTC') COMMENT 'Time of the oldest movement that had arrived; another one is of other books',
    version           UInt64                 COMMENT 'Milliseconds of the look that found it; the highest counts',
    updated_at        DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (store_id, product_id)
TTL toDateTime(updated_at) + INTERVAL 400 DAY
COMMENT 'What was unexplained when a stock was last counted. One row per store and product that was ever counted';

-- Books that begin later than those that were settled are of a query that began anew: what these could not explain is
-- not among what they can't.
CREATE OR REPLACE VIEW v_inventory_now AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', i.store_id, s.name) AS store,
    i.store_id AS store_id,
    if(p.product_id = '', 'unknown', p.category) AS category, if(p.product_id = '', i.product_id, p.name) AS product,
    i.product_id AS product_id,
    i.on_hand AS on_hand, i.last_movement AS last_movement, i.last_movement_at AS last_movement_at,
    toDecimal64(i.unexplained - if(i.first_movement_at <= c.first_movement_then, c.unexplained_then, 0), 3)
        AS unexplained,
    i.unexplained != if(i.first_movement_at <= c.first_movement_then, c.unexplained_then, 0)
        OR i.last_count_correction < 0 AS phantom_suspected,
    i.last_sale_at AS last_sale_at, i.last_receipt_at AS last_receipt_at, i.last_count_at AS last_count_at,
    i.last_count_correction AS last_count_correction, i.updated_at AS updated_at
FROM (SELECT * FROM rt_inventory FINAL) AS i
LEFT JOIN
(
    SELECT store_id, product_id, unexplained_then, first_movement_then FROM rt_stock_settled FINAL
) AS c ON c.store_id = i.store_id AND c.product_id = i.product_id
LEFT JOIN dim_store AS s ON s.store_id = i.store_id
LEFT JOIN dim_product AS p ON p.product_id = i.product_id;
