-- Facts. Partitioned by month: a batch write builds the months that it touches in a staging table and swaps each in by
-- one REPLACE PARTITION, so a reader sees a month before the write or after it, never between.

CREATE TABLE IF NOT EXISTS fact_sales
(
    business_date  Date           COMMENT 'Date in the store''s own time zone',
    business_hour  UInt8          COMMENT 'Hour in the store''s own time zone',
    store_key      UInt32         COMMENT 'Store',
    product_key    UInt32         COMMENT 'Product',
    units          Decimal(12, 3) COMMENT 'Net units: returns and voids count against sales',
    revenue        Decimal(12, 2) COMMENT 'Net revenue, money',
    discount       Decimal(12, 2) COMMENT 'Discounts given, net, money',
    transactions   UInt32         COMMENT 'Baskets with this product'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(business_date)
ORDER BY (store_key, product_key, business_date, business_hour)
COMMENT 'Sales. One row per store, product, date and hour with a sale or return';

CREATE TABLE IF NOT EXISTS fact_inventory
(
    business_date   Date           COMMENT 'Date in the store''s own time zone',
    store_key       UInt32         COMMENT 'Store',
    product_key     UInt32         COMMENT 'Product',
    opening         Decimal(12, 3) COMMENT 'Units on hand before the first movement',
    received        Decimal(12, 3) COMMENT 'Units received',
    sold            Decimal(12, 3) COMMENT 'Units sold, net of returns',
    transferred     Decimal(12, 3) COMMENT 'Units in from other stores, less units out',
    adjusted        Decimal(12, 3) COMMENT 'Corrections and counts, units',
    spoiled         Decimal(12, 3) COMMENT 'Units written off',
    closing         Decimal(12, 3) COMMENT 'Units on hand after the last movement',
    stockout_hours  Float64        COMMENT 'Hours of trade with nothing on hand'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(business_date)
ORDER BY (store_key, product_key, business_date)
COMMENT 'The stock ledger. One row per store, product and date';

CREATE TABLE IF NOT EXISTS fact_forecast
(
    run_date       Date                   COMMENT 'Last day whose sales were known',
    store_key      UInt32                 COMMENT 'Store',
    product_key    UInt32                 COMMENT 'Product',
    target_date    Date                   COMMENT 'Day that is forecast',
    horizon        UInt8                  COMMENT 'Days ahead of the run date',
    mean           Float64                COMMENT 'Expected demand, units',
    q025           Float64                COMMENT 'Demand stays below this with probability 0.025, units',
    q05            Float64                COMMENT 'Demand stays below this with probability 0.05, units',
    q10            Float64                COMMENT 'Demand stays below this with probability 0.1, units',
    q25            Float64                COMMENT 'Demand stays below this with probability 0.25, units',
    q50            Float64                COMMENT 'Demand stays below this with probability 0.5, units',
    q75            Float64                COMMENT 'Demand stays below this with probability 0.75, units',
    q90            Float64                COMMENT 'Demand stays below this with probability 0.9, units',
    q95            Float64                COMMENT 'Demand stays below this with probability 0.95, units',
    q975           Float64                COMMENT 'Demand stays below this with probability 0.975, units',
    method         LowCardinality(String) COMMENT 'Which model, or which fallback, made the row',
    model_version  LowCardinality(String) COMMENT 'Version of the model'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(run_date)
ORDER BY (run_date, store_key, product_key, horizon)
COMMENT 'Forecasts. One row per run date, store, product and target date';

CREATE TABLE IF NOT EXISTS fact_reorder
(
    run_date            Date    COMMENT 'Last day whose sales and stock were known',
    store_key           UInt32  COMMENT 'Store',
    product_key         UInt32  COMMENT 'Product',
    supplier_key        UInt32  COMMENT 'Who would deliver',
    on_hand             Float64 COMMENT 'Units on hand',
    on_order            Float64 COMMENT 'Units ordered and not yet received',
    lead_time_days      Float64 COMMENT 'Mean time from order to delivery, days',
    review_period_days  Float64 COMMENT 'Days between two chances to order',
    service_level       Float64 COMMENT 'Probability of no stock-out that is aimed at',
    expected_demand     Float64 COMMENT 'Demand over lead time and review period, units',
    safety_stock        Float64 COMMENT 'Reorder point less expected demand, units',
    reorder_point       Float64 COMMENT 'Order when on hand and on order fall to this, units',
    order_up_to         Float64 COMMENT 'Order up to this level, units',
    order_quantity      Float64 COMMENT 'Proposed order in whole packs, units',
    days_of_cover       Float64 COMMENT 'On hand over mean daily demand, days',
    stockout_risk       Float64 COMMENT 'Probability that stock runs out before a delivery ordered now',
    reason              String  COMMENT 'The proposal in words'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(run_date)
ORDER BY (run_date, store_key, product_key)
COMMENT 'Reorder points and proposals. One row per run date, store and product';
