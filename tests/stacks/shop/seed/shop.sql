-- The database `shop`: many kinds of objects, few rows. :rows is how many customers there are.
CREATE SCHEMA "odd Schema";
CREATE TYPE mood AS ENUM ('glad', 'sad', 'it''s complicated');
CREATE DOMAIN price AS numeric(12, 2) CHECK (VALUE >= 0);

CREATE TABLE customer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  mood mood NOT NULL DEFAULT 'glad',
  notes jsonb NOT NULL DEFAULT '{}',
  photo bytea,
  since timestamptz NOT NULL
);
INSERT INTO customer (name, mood, notes, photo, since)
SELECT 'customer ' || n, (ARRAY['glad', 'sad', 'it''s complicated']::mood[])[1 + n % 3], jsonb_build_object('n', n, 'tab', E'a\tb\\c'),
  decode(md5(n::text), 'hex'), '2020-01-01 00:00:00+00'::timestamptz + n * interval '1 hour'
FROM generate_series(1, :rows) n;

CREATE TABLE purchase (
  id bigserial,
  customer bigint NOT NULL REFERENCES customer,
  at date NOT NULL,
  cost price NOT NULL,
  PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE purchase_2024 PARTITION OF purchase FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE purchase_2025 PARTITION OF purchase FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO purchase (customer, at, cost)
SELECT 1 + n % :rows, '2024-01-01'::date + n % 700, n * 0.07 FROM generate_series(1, 3 * :rows) n;
CREATE INDEX purchase_customer ON purchase (customer) WHERE cost > 1;

CREATE TABLE "odd Schema"."odd ""Table""" ("odd Column" text, empty text);
INSERT INTO "odd Schema"."odd ""Table""" VALUES (E'line\nbreak', NULL), ('\.', ''), ('ünïcödé ☃', 'x');
CREATE TABLE nothing (id int);
CREATE UNLOGGED TABLE scratch (id int);
CREATE SEQUENCE ticket START 100 INCREMENT 7;
SELECT nextval('ticket'), nextval('ticket');

CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) || '!' $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.notes := NEW.notes || '{"touched": true}'; RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION touch();
UPDATE customer SET mood = 'sad' WHERE id % 100 = 0;
CREATE VIEW loud AS SELECT id, shout(name) AS name FROM customer;
CREATE MATERIALIZED VIEW spent AS SELECT customer, sum(cost) AS total FROM purchase GROUP BY customer;
ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY reporting_sees_glad ON customer FOR SELECT TO reporting USING (mood = 'glad');
GRANT SELECT ON customer, loud TO reporting;
GRANT USAGE ON SCHEMA "odd Schema" TO "odd Name";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reporting;

CREATE EXTENSION guestbook;
INSERT INTO guest (name) SELECT 'guest ' || n FROM generate_series(1, 5) n;

SELECT lo_from_bytea(424242, decode(repeat(md5('large'), 8192), 'hex')), lo_from_bytea(424243, '');
ALTER LARGE OBJECT 424242 OWNER TO accountant;
GRANT SELECT ON LARGE OBJECT 424243 TO reporting;
COMMENT ON LARGE OBJECT 424242 IS 'a scan';

CREATE TABLE visit (number bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE marker (note text NOT NULL, at timestamptz NOT NULL DEFAULT now());

SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') AS has_vector \gset
\if :has_vector
CREATE EXTENSION vector;
CREATE TABLE item (id int PRIMARY KEY, embedding vector(16) NOT NULL);
INSERT INTO item
SELECT n, (SELECT array_agg(((n * 7919 + k * 104729) % 1000) / 1000.0 ORDER BY k) FROM generate_series(1, 16) k)::real[]::vector
FROM generate_series(1, 500) n;
CREATE INDEX item_nearest ON item USING hnsw (embedding vector_l2_ops);
\endif
