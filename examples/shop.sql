-- A small shop with steady traffic, for the local stack and for compose.yaml. Runs on MySQL 8.0 and newer, in the mysql client or
-- through examples/stack; harmless when run again. The traffic is an event of the server itself, so nothing else has to run.
CREATE DATABASE IF NOT EXISTS shop;
USE shop;

CREATE TABLE IF NOT EXISTS customers (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email      VARCHAR(120) NOT NULL UNIQUE,
    name       VARCHAR(80) NOT NULL,
    tier       ENUM ('basic', 'silver', 'gold') NOT NULL DEFAULT 'basic',
    address    JSON,
    created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
);

CREATE TABLE IF NOT EXISTS products (
    sku        VARCHAR(20) NOT NULL PRIMARY KEY,
    title      VARCHAR(120) NOT NULL,
    price      DECIMAL(10, 2) NOT NULL,
    stock      INT NOT NULL,
    weight_kg  FLOAT,
    updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)
);

CREATE TABLE IF NOT EXISTS orders (
    id          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_id BIGINT UNSIGNED NOT NULL,
    status      ENUM ('new', 'paid', 'shipped', 'cancelled') NOT NULL DEFAULT 'new',
    total       DECIMAL(12, 2) NOT NULL DEFAULT 0,
    note        TEXT,
    placed_at   DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
);

CREATE TABLE IF NOT EXISTS order_items (
    order_id BIGINT NOT NULL,
    line     SMALLINT UNSIGNED NOT NULL,
    sku      VARCHAR(20) NOT NULL,
    quantity INT NOT NULL,
    price    DECIMAL(10, 2) NOT NULL,
    PRIMARY KEY (order_id, line)
);

INSERT IGNORE INTO products (sku, title, price, stock, weight_kg)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
SELECT CONCAT('SKU-', LPAD(i, 4, '0')), CONCAT('Product number ', i), 1 + i * 37 % 9900 / 100, 1000, 0.1 * (i % 50) FROM n;

INSERT IGNORE INTO customers (id, email, name, tier, address)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
SELECT i, CONCAT('customer', i, '@example.com'), CONCAT('Customer ', i), ELT(1 + i % 3, 'basic', 'silver', 'gold'),
       JSON_OBJECT('city', ELT(1 + i % 4, 'Lisboa', 'Zürich', 'Kraków', 'Osaka'), 'number', i) FROM n;

DROP EVENT IF EXISTS traffic;
DROP PROCEDURE IF EXISTS trade;

DELIMITER $$
-- trade places some orders, each in one transaction over three tables, and moves older ones along.
CREATE PROCEDURE trade(IN orders_to_place INT)
BEGIN
    DECLARE placed INT DEFAULT 0;
    DECLARE order_id BIGINT;
    DECLARE lines_of_order INT;
    WHILE placed < orders_to_place DO
        SET lines_of_order = 1 + FLOOR(RAND() * 4);
        START TRANSACTION;
        INSERT INTO orders (customer_id, note) VALUES (1 + FLOOR(RAND() * 500), IF(RAND() < 0.2, 'please ring twice', NULL));
        SET order_id = LAST_INSERT_ID();
        WHILE lines_of_order > 0 DO
            INSERT INTO order_items (order_id, line, sku, quantity, price)
            SELECT order_id, lines_of_order, p.sku, 1 + FLOOR(RAND() * 3), p.price FROM products p
            WHERE p.sku = CONCAT('SKU-', LPAD(1 + placed * 7 % 200, 4, '0'));
            UPDATE products SET stock = stock - 1 WHERE sku = CONCAT('SKU-', LPAD(1 + placed * 7 % 200, 4, '0'));
            SET lines_of_order = lines_of_order - 1;
        END WHILE;
        UPDATE orders o SET o.total = (SELECT SUM(i.quantity * i.price) FROM order_items i WHERE i.order_id = o.id) WHERE o.id = order_id;
        COMMIT;
        SET placed = placed + 1;
    END WHILE;
    UPDATE orders SET status = 'paid' WHERE status = 'new' AND id < order_id - 20 ORDER BY id DESC LIMIT 10;
    UPDATE orders SET status = IF(RAND() < 0.1, 'cancelled', 'shipped') WHERE status = 'paid' AND id < order_id - 60 ORDER BY id DESC LIMIT 10;
    DELETE i FROM order_items i JOIN orders o ON o.id = i.order_id WHERE o.status = 'cancelled' AND o.id > order_id - 1000;
    DELETE FROM orders WHERE status = 'cancelled' AND id > order_id - 1000;
    UPDATE customers SET tier = 'gold' WHERE id = 1 + FLOOR(RAND() * 500);
END$$
DELIMITER ;

CREATE EVENT traffic ON SCHEDULE EVERY 1 SECOND DO CALL shop.trade(10);
