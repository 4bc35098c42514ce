-- Reading the shop's lake with DuckDB 1.5 or newer, while ingest writes it. Run it with the duckdb shell: duckdb < examples/duckdb.sql
INSTALL iceberg;
LOAD iceberg;
CREATE OR REPLACE SECRET lake (
    TYPE s3, KEY_ID 'tidemark', SECRET 'tidemark-secret', ENDPOINT '127.0.0.1:39000', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false
);

-- A table is its path: <lake>/<database>/<table>. No service runs but the store.
CREATE OR REPLACE VIEW orders AS SELECT * FROM iceberg_scan('s3://lake/shop/shop/orders');
CREATE OR REPLACE VIEW order_items AS SELECT * FROM iceberg_scan('s3://lake/shop/shop/order_items');
CREATE OR REPLACE VIEW products AS SELECT * FROM iceberg_scan('s3://lake/shop/shop/products');
CREATE OR REPLACE VIEW customers AS SELECT * FROM iceberg_scan('s3://lake/shop/shop/customers');

-- Orders by state: the same question to MySQL gives the same answer at the lake's GTID set.
SELECT status, count(*) AS orders, sum(total) AS total FROM orders GROUP BY ALL ORDER BY ALL;

-- What sells.
SELECT p.title, sum(i.quantity) AS pieces, sum(i.quantity * i.price) AS turnover
FROM order_items i JOIN products p USING (sku) GROUP BY ALL ORDER BY turnover DESC LIMIT 10;

-- Every order's total is the sum of its lines. Tables are committed one after the other, all at the same GTID set: between two of these
-- commits the newest orders can be missing on one side, and a second look finds them. Differences that stay would be a fault.
SELECT o.id, o.total, sum(i.quantity * i.price) AS lines
FROM orders o JOIN order_items i ON i.order_id = o.id GROUP BY ALL HAVING o.total <> lines;

-- Every commit is a snapshot.
SELECT sequence_number, timestamp_ms FROM iceberg_snapshots('s3://lake/shop/shop/orders') ORDER BY ALL DESC LIMIT 5;
