CREATE SCHEMA "Weird "".schema";
CREATE TABLE orders (id int primary key, note text);
INSERT INTO orders SELECT g, 'line one' || chr(10) || 'line \. two' || chr(9) || g FROM generate_series(1, 25) g;
CREATE TABLE empty (x int);
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1,3);
CREATE TABLE one_text (t text);
INSERT INTO one_text VALUES (''), ('\.'), (NULL), (chr(10)), ('\');
CREATE TABLE "Weird "".schema"."ta;ble
two" (a int);
INSERT INTO "Weird "".schema"."ta;ble
two" VALUES (1), (2);
CREATE TABLE parted (k int, v text) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
INSERT INTO parted SELECT 1 + g % 2, 'x' FROM generate_series(1, 9) g;
CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3);
CREATE UNLOGGED TABLE unlogged (a int); INSERT INTO unlogged VALUES (1);
CREATE MATERIALIZED VIEW mv AS SELECT * FROM orders;
CREATE VIEW v AS SELECT * FROM orders;
SELECT lo_from_bytea(424242, 'hello'::bytea);
SELECT lo_from_bytea(424243, convert_to(repeat('x', 2500), 'UTF8'));
SELECT lo_create(424244);
SELECT lo_from_bytea(424245, 'a'::bytea); SELECT lo_put(424245, 3000, 'b'::bytea);
