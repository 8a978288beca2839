//! Catalogue: what a server says it holds, asked in the same words of every version from 12 on.

mod inside;

use serde::{Deserialize, Serialize};

pub(super) use self::inside::{
    Inside, Relation, SequenceValue, inside, member_sequences, row_counts,
};
use super::session::Session;
use crate::driver::DriverError;

/// A right on a database: to whom, which, and whether it may be passed on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Grant {
    /// None is everybody.
    pub(super) grantee: Option<String>,
    pub(super) privilege: String,
    pub(super) grantable: bool,
}

/// Settings of one role in one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoleSettings {
    pub(super) role: String,
    /// Each as `name=value`.
    pub(super) settings: Vec<String>,
}

/// A database, with what neither `pg_dump` nor `pg_dumpall --globals-only` says of it (H5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) encoding: String,
    pub(super) collate: Option<String>,
    pub(super) ctype: Option<String>,
    /// `c`, `i` or `b`: libc, icu or builtin; none before 15.
    pub(super) provider: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) icu_rules: Option<String>,
    pub(super) tablespace: String,
    pub(super) connection_limit: i64,
    pub(super) allows_connections: bool,
    pub(super) is_template: bool,
    pub(super) comment: Option<String>,
    pub(super) grants: Vec<Grant>,
    /// Each as `name=value`.
    pub(super) settings: Vec<String>,
    pub(super) role_settings: Vec<RoleSettings>,
    pub(super) bytes: Option<u64>,
    /// What we wrote on it: see `generation.rs`.
    #[serde(default)]
    pub(super) marks: Vec<String>,
    /// Slots of logical replication that are bound to it.
    #[serde(default)]
    pub(super) slots: Vec<String>,
}

/// A role and everything that belongs to it on the whole server.
#[expect(clippy::struct_excessive_bools, reason = "they are the server's own, each its own right")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) superuser: bool,
    pub(super) inherit: bool,
    #[serde(rename = "create_role")]
    pub(super) creates_roles: bool,
    pub(super) create_database: bool,
    pub(super) login: bool,
    pub(super) replication: bool,
    pub(super) bypass_row_security: bool,
    pub(super) connection_limit: i64,
    pub(super) valid_until: Option<String>,
    pub(super) comment: Option<String>,
    /// Each as `name=value`.
    pub(super) settings: Vec<String>,
    /// As the server keeps it: a verifier, not the password. None when there is none, or when it
    /// was not told.
    pub(super) password: Option<String>,
    pub(super) memberships: Vec<Membership>,
}

/// That one role is a member of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Membership {
    /// The role that it is a member of.
    pub(super) of: String,
    pub(super) admin: bool,
    /// Since 16.
    pub(super) inherit: Option<bool>,
    /// Since 16.
    pub(super) set: Option<bool>,
}

/// Every database that the server lists but `template0`, by name.
pub(super) async fn databases(session: &Session) -> Result<Vec<Database>, DriverError> {
    let query = "\
        SELECT json_build_object(\
          'name', d.datname, \
          'owner', pg_get_userbyid(d.datdba), \
          'encoding', pg_encoding_to_char(d.encoding), \
          'collate', to_jsonb(d)->>'datcollate', \
          'ctype', to_jsonb(d)->>'datctype', \
          'provider', to_jsonb(d)->>'datlocprovider', \
          'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'), \
          'icu_rules', to_jsonb(d)->>'daticurules', \
          'tablespace', t.spcname, \
          'connection_limit', d.datconnlimit, \
          'allows_connections', d.datallowconn, \
          'is_template', d.datistemplate, \
          'comment', shobj_description(d.oid, 'pg_database'), \
          'grants', (SELECT coalesce(json_agg(json_build_object(\
              'grantee', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, \
              'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]') \
            FROM (SELECT DISTINCT grantee, privilege_type, is_grantable \
              FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba)))) a), \
          'settings', (SELECT coalesce(json_agg(x ORDER BY x), '[]') \
            FROM pg_db_role_setting s, unnest(s.setconfig) x \
            WHERE s.setdatabase = d.oid AND s.setrole = 0 AND x NOT LIKE 'lazarette.%'), \
          'marks', (SELECT coalesce(json_agg(x), '[]') \
            FROM pg_db_role_setting s, unnest(s.setconfig) x \
            WHERE s.setdatabase = d.oid AND s.setrole = 0 AND x LIKE 'lazarette.%'), \
          'role_settings', (SELECT coalesce(json_agg(json_build_object(\
              'role', pg_get_userbyid(s.setrole), \
              'settings', (SELECT json_agg(x ORDER BY x) FROM unnest(s.setconfig) x)) \
              ORDER BY pg_get_userbyid(s.setrole)), '[]') \
            FROM pg_db_role_setting s WHERE s.setdatabase = d.oid AND s.setrole <> 0), \
          'bytes', CASE WHEN has_database_privilege(d.oid, 'CONNECT') AND d.datconnlimit <> -2 \
            THEN pg_database_size(d.oid) END, \
          'slots', (SELECT coalesce(json_agg(r.slot_name), '[]') \
            FROM pg_replication_slots r WHERE r.database = d.datname)) \
        FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace \
        WHERE d.datname <> 'template0' ORDER BY d.datname COLLATE \"C\"";
    let mut databases: Vec<Database> =
        session.rows(session.home(), &[query.to_owned()], "list the databases").await?;
    for database in &mut databases {
        database.grants.sort();
    }
    Ok(databases)
}

/// Every role that is not the server's own, by name.
pub(super) async fn roles(session: &Session) -> Result<Vec<Role>, DriverError> {
    // Only superusers may read verifiers.
    let table = if session.server.superuser { "pg_authid" } else { "pg_roles" };
    let password = if session.server.superuser { "r.rolpassword" } else { "NULL" };
    let query = format!(
        "SELECT json_build_object(\
          'name', r.rolname, 'superuser', r.rolsuper, 'inherit', r.rolinherit, \
          'create_role', r.rolcreaterole, 'create_database', r.rolcreatedb, \
          'login', r.rolcanlogin, 'replication', r.rolreplication, \
          'bypass_row_security', r.rolbypassrls, 'connection_limit', r.rolconnlimit, \
          'valid_until', r.rolvaliduntil::text, \
          'comment', shobj_description(r.oid, 'pg_authid'), \
          'settings', (SELECT coalesce(json_agg(x ORDER BY x), '[]') \
            FROM pg_db_role_setting s, unnest(s.setconfig) x \
            WHERE s.setdatabase = 0 AND s.setrole = r.oid), \
          'password', {password}, \
          'memberships', (SELECT coalesce(json_agg(json_build_object(\
              'of', m.of, 'admin', m.admin, 'inherit', m.inherit, 'set', m.set) \
              ORDER BY m.of), '[]') \
            FROM (SELECT pg_get_userbyid(m.roleid) AS of, bool_or(m.admin_option) AS admin, \
                bool_or((to_jsonb(m)->>'inherit_option')::boolean) AS inherit, \
                bool_or((to_jsonb(m)->>'set_option')::boolean) AS set \
              FROM pg_auth_members m WHERE m.member = r.oid GROUP BY m.roleid) m)) \
        FROM {table} r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname COLLATE \"C\""
    );
    session.rows(session.home(), &[query], "list the roles").await
}

/// The tablespaces of the server, by name.
pub(super) async fn tablespaces(session: &Session) -> Result<Vec<String>, DriverError> {
    let query = "SELECT to_json(spcname) FROM pg_tablespace ORDER BY 1::text COLLATE \"C\"";
    session.rows(session.home(), &[query.to_owned()], "list the tablespaces").await
}

/// Extensions for which there is a control file, by name.
pub(super) async fn available_extensions(session: &Session) -> Result<Vec<String>, DriverError> {
    let query = "SELECT to_json(name) FROM pg_available_extensions";
    session.rows(session.home(), &[query.to_owned()], "list the available extensions").await
}
