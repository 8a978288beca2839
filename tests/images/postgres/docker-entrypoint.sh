#!/bin/bash
# Entrypoint of the PostgreSQL images: the official image's contract, written anew.
set -eo pipefail
secret() { # VAR [default]: VAR, or the contents of the file named by VAR_FILE, or the default
  local f="${1}_FILE"
  if [ -n "${!1:-}" ] && [ -n "${!f:-}" ]; then echo "error: both $1 and $f are set (but are exclusive)" >&2; exit 1; fi
  if [ -n "${!f:-}" ]; then export "$1=$(cat "${!f}")"; elif [ -z "${!1:-}" ]; then export "$1=${2:-}"; fi
  unset "$f"
}
sql() { PGHOST= PGHOSTADDR= psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -w -X ${POSTGRES_DB:+-d "$POSTGRES_DB"} "$@"; }
docker_process_sql() { sql "$@"; }
[ "${1:0:1}" = - ] && set -- postgres "$@"
want_help=; for a; do case "$a" in -\?|--help|--describe-config|-V|--version) want_help=1;; esac; done
if [ "$1" = postgres ] && [ -z "$want_help" ]; then
  secret POSTGRES_PASSWORD; secret POSTGRES_USER postgres; secret POSTGRES_DB "$POSTGRES_USER"; secret POSTGRES_INITDB_ARGS
  mkdir -p "$PGDATA"; chmod 00700 "$PGDATA" || :
  mkdir -p /var/run/postgresql && chmod 03775 /var/run/postgresql || :
  [ -n "${POSTGRES_INITDB_WALDIR:-}" ] && { mkdir -p "$POSTGRES_INITDB_WALDIR"; chmod 700 "$POSTGRES_INITDB_WALDIR"; }
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} \! -user postgres -exec chown postgres {} +
    export HOME=/var/lib/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH_SOURCE" "$@"
  fi
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
      echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
      echo '       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.' >&2; exit 1
    fi
    if ! getent passwd "$(id -u)" >/dev/null; then   # docker run --user 12345
      w=$(ls /usr/lib/*/libnss_wrapper.so | head -1); export LD_PRELOAD=$w NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
      echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" > "$NSS_WRAPPER_PASSWD"; echo "postgres:x:$(id -g):" > "$NSS_WRAPPER_GROUP"
    fi
    eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"$POSTGRES_INITDB_ARGS"' ${POSTGRES_INITDB_WALDIR:+--waldir "$POSTGRES_INITDB_WALDIR"}'
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "${@:2}")}" >> "$PGDATA/pg_hba.conf"
    export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
    PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -o "$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")" -w start
    if [ -z "$(POSTGRES_DB= sql -d postgres -tA --set db="$POSTGRES_DB" <<<"SELECT 1 FROM pg_database WHERE datname = :'db';")" ]; then
      POSTGRES_DB= sql -d postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    for f in /docker-entrypoint-initdb.d/*; do
      case "$f" in
        *.sh) if [ -x "$f" ]; then echo "$0: running $f"; "$f"; else echo "$0: sourcing $f"; . "$f"; fi;;
        *.sql) echo "$0: running $f"; sql -f "$f";;
        *.sql.gz) echo "$0: running $f"; gunzip -c "$f" | sql;;
        *.sql.xz) echo "$0: running $f"; xzcat "$f" | sql;;
        *.sql.zst) echo "$0: running $f"; zstd -dc "$f" | sql;;
        *) [ -e "$f" ] && echo "$0: ignoring $f";;
      esac
    done
    PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
  else
    printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
  fi
fi
exec "$@"
