-- What people and Power BI read: final rows only, plain names and types, no keys to look up.

CREATE OR REPLACE VIEW v_sales AS
SELECT
    f.business_date AS date, f.business_hour AS hour,
    s.region AS region, s.city AS city, s.name AS store, s.store_id AS store_id,
    p.department AS department, p.category AS category, p.subcategory AS subcategory, p.name AS product,
    p.product_id AS product_id,
    f.units AS units, f.revenue AS revenue, f.discount AS discount, f.transactions AS transactions
FROM fact_sales AS f
INNER JOIN dim_store AS s ON s.store_key = f.store_key
INNER JOIN dim_product AS p ON p.product_key = f.product_key;

CREATE OR REPLACE VIEW v_inventory AS
SELECT
    f.business_date AS date,
    s.region AS region, s.city AS city, s.name AS store, s.store_id AS store_id,
    p.department AS department, p.category AS category, p.name AS product, p.product_id AS product_id,
    f.opening AS opening, f.received AS received, f.sold AS sold, f.transferred AS transferred,
    f.adjusted AS adjusted, f.spoiled AS spoiled, f.closing AS closing, f.stockout_hours AS stockout_hours
FROM fact_inventory AS f
INNER JOIN dim_store AS s ON s.store_key = f.store_key
INNER JOIN dim_product AS p ON p.product_key = f.product_key;

CREATE OR REPLACE VIEW v_forecast AS
SELECT
    f.run_date AS run_date, f.target_date AS date, f.horizon AS horizon,
    s.region AS region, s.name AS store, s.store_id AS store_id,
    p.category AS category, p.name AS product, p.product_id AS product_id,
    f.mean AS expected_units, f.q05 AS low_units, f.q95 AS high_units, f.method AS method,
    f.model_version AS model_version
FROM fact_forecast AS f
INNER JOIN dim_store AS s ON s.store_key = f.store_key
INNER JOIN dim_product AS p ON p.product_key = f.product_key;

CREATE OR REPLACE VIEW v_reorder AS
SELECT
    f.run_date AS run_date,
    s.region AS region, s.name AS store, s.store_id AS store_id,
    p.category AS category, p.name AS product, p.product_id AS product_id, u.name AS supplier,
    f.on_hand AS on_hand, f.on_order AS on_order, f.reorder_point AS reorder_point, f.safety_stock AS safety_stock,
    f.order_quantity AS order_quantity, f.days_of_cover AS days_of_cover, f.stockout_risk AS stockout_risk,
    f.expected_demand AS expected_demand, f.reason AS reason
FROM fact_reorder AS f
INNER JOIN dim_store AS s ON s.store_key = f.store_key
INNER JOIN dim_product AS p ON p.product_key = f.product_key
INNER JOIN dim_supplier AS u ON u.supplier_key = f.supplier_key;
