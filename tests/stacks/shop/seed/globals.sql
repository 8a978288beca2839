-- Roles, memberships, a second database, and what belongs to a database but is in no dump of it.
CREATE ROLE accountant LOGIN PASSWORD 'counts beans' VALID UNTIL '2099-01-01';
CREATE ROLE reporting NOLOGIN;
CREATE ROLE "odd Name" LOGIN CONNECTION LIMIT 3;
GRANT reporting TO "odd Name";
CREATE DATABASE ledger OWNER accountant TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
COMMENT ON DATABASE ledger IS 'what the shop owes and is owed';
COMMENT ON DATABASE shop IS 'what the shop has';
ALTER DATABASE ledger CONNECTION LIMIT 50;
ALTER DATABASE ledger SET statement_timeout = '77s';
ALTER DATABASE shop SET work_mem = '7MB';
ALTER DATABASE shop SET search_path = public, "odd Schema";
ALTER ROLE accountant SET timezone = 'Europe/Lisbon';
ALTER ROLE "odd Name" IN DATABASE ledger SET search_path = 'books';
REVOKE CONNECT, TEMPORARY ON DATABASE ledger FROM PUBLIC;
GRANT CONNECT ON DATABASE ledger TO reporting;
GRANT CREATE ON DATABASE ledger TO shop;
