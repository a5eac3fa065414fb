-- Dimensions of the star schema. Each has a row with key 0 for what is unknown, so that no fact is ever dropped by a
-- join. Small, and replaced whole: no partitions, one REPLACE PARTITION tuple() per write.

CREATE TABLE IF NOT EXISTS dim_date
(
    date          Date32                 COMMENT 'Day',
    year          UInt16                 COMMENT 'Calendar year',
    quarter       UInt8                  COMMENT 'Quarter of the year, 1 to 4',
    month         UInt8                  COMMENT 'Month of the year, 1 to 12',
    week          UInt8                  COMMENT 'ISO week of the year',
    weekday       UInt8                  COMMENT 'Day of the week, Monday is 1',
    is_weekend    Bool                   COMMENT 'Saturday or Sunday',
    is_holiday    Bool                   COMMENT 'Public holiday',
    holiday_name  LowCardinality(String) COMMENT 'Name of the public holiday; empty on other days'
)
ENGINE = MergeTree
ORDER BY date
COMMENT 'One row per day, to one year ahead';

CREATE TABLE IF NOT EXISTS dim_store
(
    store_key  UInt32                 COMMENT 'Integer key; 0 is the unknown store',
    store_id   LowCardinality(String) COMMENT 'Store, as the tills call it',
    name       LowCardinality(String) COMMENT 'Name people use',
    region     LowCardinality(String) COMMENT 'Sales region',
    city       LowCardinality(String) COMMENT 'City',
    format     LowCardinality(String) COMMENT 'hypermarket, supermarket or convenience',
    time_zone  LowCardinality(String) COMMENT 'IANA time zone, gives the business date',
    opened_on  Date32                 COMMENT 'First day of trade'
)
ENGINE = MergeTree
ORDER BY store_key
COMMENT 'One row per store';

CREATE TABLE IF NOT EXISTS dim_supplier
(
    supplier_key         UInt32                 COMMENT 'Integer key; 0 is the unknown supplier',
    supplier_id          LowCardinality(String) COMMENT 'Supplier',
    name                 LowCardinality(String) COMMENT 'Name people use',
    lead_time_days_mean  Float64                COMMENT 'Mean time from order to delivery, days',
    lead_time_days_sd    Float64                COMMENT 'Spread of the lead time, days',
    review_period_days   UInt16                 COMMENT 'Days between two chances to order'
)
ENGINE = MergeTree
ORDER BY supplier_key
COMMENT 'One row per supplier';

CREATE TABLE IF NOT EXISTS dim_product
(
    product_key      UInt32                 COMMENT 'Integer key; 0 is the unknown product',
    product_id       LowCardinality(String) COMMENT 'Product, as the tills call it',
    name             String                 COMMENT 'Name people use',
    department       LowCardinality(String) COMMENT 'Top level of the catalogue',
    category         LowCardinality(String) COMMENT 'Second level',
    subcategory      LowCardinality(String) COMMENT 'Third level',
    brand            LowCardinality(String) COMMENT 'Brand',
    unit_cost        Decimal(12, 2)         COMMENT 'What one unit costs the retailer, money',
    list_price       Decimal(12, 2)         COMMENT 'Price of one unit without promotion, money',
    pack_size        UInt32                 COMMENT 'Units in one pack of the supplier',
    shelf_life_days  UInt32                 COMMENT 'Days until it spoils; 0 where it keeps',
    supplier_key     UInt32                 COMMENT 'Who delivers it'
)
ENGINE = MergeTree
ORDER BY product_key
COMMENT 'One row per product';
