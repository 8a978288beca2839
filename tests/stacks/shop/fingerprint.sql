-- Facts of one database, a line each, `name value`. What the application keeps writing (visit, entry) and when rows
-- were written is left out; everything else must come back the same.
\pset format unaligned
\pset tuples_only on
SELECT format('SELECT %L, count(*), md5(coalesce(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C"), '''')) FROM %s t;',
    'table ' || current_database() || '.' || c.oid::regclass, c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND c.relname NOT IN ('visit', 'entry')
ORDER BY n.nspname, c.relname \gexec
SELECT 'sequence ' || current_database() || '.' || schemaname || '.' || sequencename, coalesce(last_value::text, 'unused')
FROM pg_sequences ORDER BY 1;
SELECT 'large-object ' || current_database() || '.' || l.oid, md5(lo_get(l.oid)), r.rolname, coalesce(l.lomacl::text, '-'),
  coalesce(obj_description(l.oid, 'pg_largeobject'), '-')
FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner ORDER BY 1;
SELECT 'extension ' || current_database() || '.' || extname, extversion FROM pg_extension ORDER BY 1;
