-- Facts of the server: roles, memberships, and what is set for databases and roles.
\pset format unaligned
\pset tuples_only on
SELECT 'role ' || rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
  rolconnlimit, coalesce(rolvaliduntil::text, '-'), md5(coalesce(rolpassword, ''))
FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1;
SELECT 'member ' || m.rolname || ' of ' || r.rolname, a.admin_option
FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE m.rolname !~ '^pg_' ORDER BY 1;
SELECT 'database ' || d.datname, r.rolname, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, d.datconnlimit, d.datallowconn,
  d.datistemplate, coalesce((SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(d.datacl) x), '-'),
  coalesce(shobj_description(d.oid, 'pg_database'), '-')
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname <> 'template0' ORDER BY 1;
SELECT 'setting ' || coalesce(d.datname, '*') || '/' || coalesce(r.rolname, '*'), (SELECT string_agg(x, ',' ORDER BY x) FROM unnest(s.setconfig) x)
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole ORDER BY 1;
