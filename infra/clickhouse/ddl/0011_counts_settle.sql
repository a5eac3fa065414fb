-- A count settles a stock: what no movement had explained until then is over once somebody has counted what is there.

CREATE TABLE IF NOT EXISTS rt_stock_settled
(
    store_id          LowCardinality(String) COMMENT 'Store, as the tills call it',
    product_id        String                 COMMENT 'Product, as the tills call it',
    counted_at        DateTime64(3, 'UTC')   COMMENT 'Time of the count that settled it, UTC',
    unexplained_then  Decimal(18, 3)         COMMENT 'Units that no movement had explained when the count was seen',
    movements_then    UInt64                 COMMENT 'Movements that had arrived by then',
    version           UInt64                 COMMENT 'Milliseconds of the look that found it; the highest counts',
    updated_at        DateTime64(3, 'UTC')   COMMENT 'When the row was written, UTC'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (store_id, product_id)
TTL toDateTime(updated_at) + INTERVAL 400 DAY
COMMENT 'What was unexplained when a stock was last counted. One row per store and product that was ever counted';

CREATE OR REPLACE VIEW v_inventory_now AS
SELECT
    if(s.store_id = '', 'unknown', s.region) AS region, if(s.store_id = '', i.store_id, s.name) AS store,
    i.store_id AS store_id,
    if(p.product_id = '', 'unknown', p.category) AS category, if(p.product_id = '', i.product_id, p.name) AS product,
    i.product_id AS product_id,
    i.on_hand AS on_hand, i.last_movement AS last_movement, i.last_movement_at AS last_movement_at,
    toDecimal64(i.unexplained - c.unexplained_then, 3) AS unexplained,
    unexplained != 0 OR i.last_count_correction < 0 AS phantom_suspected,
    i.last_sale_at AS last_sale_at, i.last_receipt_at AS last_receipt_at, i.last_count_at AS last_count_at,
    i.last_count_correction AS last_count_correction, i.updated_at AS updated_at
FROM (SELECT * FROM rt_inventory FINAL) AS i
LEFT JOIN
(
    SELECT store_id, product_id, unexplained_then FROM rt_stock_settled FINAL
) AS c ON c.store_id = i.store_id AND c.product_id = i.product_id
LEFT JOIN dim_store AS s ON s.store_id = i.store_id
LEFT JOIN dim_product AS p ON p.product_id = i.product_id;
