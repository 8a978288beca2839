//! Queries: what is asked of a database, in words that every version from 12 on understands.

/// Which namespaces hold what users made.
const USERS: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// Joins the extension `e` that the relation `c` belongs to, if it does.
const EXTENSION: &str = "LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass \
    AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' \
    LEFT JOIN pg_extension e ON e.oid = d.refobjid";

/// In the order of bytes, whatever the locale.
const SORTED: &str = "ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

/// Every query, each of whose rows is one of [`super::Row`].
pub(super) fn all(superuser: bool) -> Vec<String> {
    let mut queries = vec![
        "SELECT json_build_object('extension', json_build_object(\
           'name', extname, 'version', extversion)) FROM pg_extension"
            .to_owned(),
        tables(),
        sequences(),
        objects(),
        rights(),
        format!(
            "SELECT json_build_object('schema', n.nspname) FROM pg_namespace n \
             WHERE {USERS} ORDER BY n.nspname COLLATE \"C\""
        ),
        "SELECT json_build_object('foreign_tables', count(*)) FROM pg_class WHERE relkind = 'f'"
            .to_owned(),
        large_objects(superuser).to_owned(),
    ];
    if superuser {
        queries.push(
            "SELECT json_build_object('subscriptions', count(*)) FROM pg_subscription s \
             JOIN pg_database b ON b.oid = s.subdbid WHERE b.datname = current_database()"
                .to_owned(),
        );
    }
    queries
}

/// Tables with rows of their own, those of extensions too.
fn tables() -> String {
    format!(
        "SELECT json_build_object('table', json_build_object(\
           'schema', n.nspname, 'name', c.relname, 'oid', c.oid::int8, \
           'filenode', pg_relation_filenode(c.oid)::int8, 'extension', e.extname, \
           'dumped_where', CASE WHEN c.oid = ANY(e.extconfig) \
             THEN e.extcondition[array_position(e.extconfig, c.oid)] END, \
           'columns', CASE WHEN e.oid IS NULL THEN '[]' ELSE (\
             SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]') \
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
               AND NOT a.attisdropped AND a.attgenerated = '') END, \
           'writes', pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid) \
             + pg_stat_get_tuples_deleted(c.oid))) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace {EXTENSION} \
         WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_t' \
           AND ({USERS} OR e.oid IS NOT NULL) {SORTED}"
    )
}

fn sequences() -> String {
    format!(
        "SELECT json_build_object('sequence', json_build_object(\
           'schema', n.nspname, 'name', c.relname, 'increment', s.seqincrement, \
           'last_value', pg_sequence_last_value(c.oid), \
           'skipped', e.oid IS NOT NULL AND NOT (c.oid = ANY(coalesce(e.extconfig, '{{}}'))))) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_sequence s ON s.seqrelid = c.oid {EXTENSION} \
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' \
           AND ({USERS} OR e.oid IS NOT NULL) {SORTED}"
    )
}

/// Whether the object `oid` of the catalogue `class` is a part of an extension.
fn is_member(class: &str, oid: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{class}'::regclass AND d.objid = {oid} \
         AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')"
    )
}

/// How many of each kind there are. Constraints `NOT NULL` are in the catalogue since 18 only.
fn objects() -> String {
    format!(
        "SELECT json_build_object('objects', json_build_object('kind', o.kind, \
           'count', count(*))) FROM (\
             SELECT 'relations of kind ' || c.relkind::text AS kind FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE {USERS} AND c.relpersistence <> 't' AND NOT {relation} \
             UNION ALL SELECT 'functions' FROM pg_proc p \
               JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {USERS} AND NOT {function} \
             UNION ALL SELECT 'triggers' FROM pg_trigger t \
               JOIN pg_class c ON c.oid = t.tgrelid \
               JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE {USERS} AND NOT t.tgisinternal \
             UNION ALL SELECT 'constraints of kind ' || k.contype::text FROM pg_constraint k \
               JOIN pg_namespace n ON n.oid = k.connamespace \
               WHERE {USERS} AND k.contype NOT IN ('n', 't') \
             UNION ALL SELECT 'policies' FROM pg_policy \
             UNION ALL SELECT 'event triggers' FROM pg_event_trigger\
         ) o GROUP BY o.kind",
        relation = is_member("pg_class", "c.oid"),
        function = is_member("pg_proc", "p.oid"),
    )
}

/// One hash over owners and rights of all relations, whoever granted them.
fn rights() -> String {
    format!(
        "SELECT json_build_object('rights', md5(string_agg(r.line, E'\\n' \
           ORDER BY r.line COLLATE \"C\"))) FROM (\
             SELECT concat_ws('|', n.nspname, c.relname, pg_get_userbyid(c.relowner), \
               (SELECT string_agg(a.one, ';' ORDER BY a.one COLLATE \"C\") FROM (\
                 SELECT DISTINCT concat_ws(',', \
                   CASE WHEN x.grantee = 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, \
                   x.privilege_type, x.is_grantable) AS one \
                 FROM aclexplode(coalesce(c.relacl, acldefault(\
                   (CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::\"char\", c.relowner))) x\
               ) a)) AS line \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {USERS} \
               AND c.relpersistence <> 't' AND NOT {relation}) r",
        relation = is_member("pg_class", "c.oid"),
    )
}

/// Counts large objects; their sizes are for superusers to see.
fn large_objects(superuser: bool) -> &'static str {
    if superuser {
        "SELECT json_build_object('large_objects', json_build_object('count', count(*), \
           'digest', coalesce(sum(('x' || left(encode(sha256(convert_to(\
             o.oid::text || ':' || o.bytes::text, 'UTF8')), 'hex'), 12))::bit(48)::bigint), 0)\
             ::text)) \
         FROM (SELECT m.oid, coalesce((SELECT max(d.pageno::bigint * \
             (current_setting('block_size')::int / 4) + octet_length(d.data)) \
             FROM pg_largeobject d WHERE d.loid = m.oid), 0) AS bytes \
           FROM pg_largeobject_metadata m) o"
    } else {
        "SELECT json_build_object('large_objects', json_build_object('count', count(*), \
           'digest', NULL)) FROM pg_largeobject_metadata"
    }
}
