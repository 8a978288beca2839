-- The database `ledger`: another owner, another collation.
SET ROLE accountant;
CREATE SCHEMA books;
CREATE TABLE books.account (code char(4) PRIMARY KEY, name text NOT NULL, balance numeric(20, 4) NOT NULL);
INSERT INTO books.account SELECT lpad(n::text, 4, '0'), 'account ' || n, n * 1000.0001 FROM generate_series(1, 300) n;
GRANT USAGE ON SCHEMA books TO reporting;
GRANT SELECT ON ALL TABLES IN SCHEMA books TO reporting;
RESET ROLE;
CREATE TABLE public.entry (number bigint PRIMARY KEY, amount numeric NOT NULL, at timestamptz NOT NULL DEFAULT now());
