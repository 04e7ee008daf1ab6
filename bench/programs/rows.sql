-- A table filled, indexed, joined, updated and read back.
PRAGMA journal_mode = MEMORY;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, kind INTEGER, price INTEGER);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 40000), i % 97, i * 31 % 1009 FROM n;
COMMIT;
CREATE INDEX item_name ON item(name);
CREATE INDEX item_kind ON item(kind, price);
SELECT kind, count(*), sum(price), max(name) FROM item GROUP BY kind ORDER BY 3 DESC, 1 LIMIT 5;
SELECT count(*) FROM item a JOIN item b ON a.name = 'item ' || b.id WHERE b.price < 700;
UPDATE item SET price = price + 1 WHERE name LIKE 'item 1%';
DELETE FROM item WHERE id % 3 = 0;
SELECT count(*), sum(price), sum(length(name)) FROM item;
SELECT name, row_number() OVER (PARTITION BY kind ORDER BY price, id) AS r FROM item ORDER BY r DESC, name LIMIT 3;
