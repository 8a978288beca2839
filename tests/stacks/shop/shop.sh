#!/usr/bin/env bash
# Shop: the stack of the tests and the demo, made on the Docker host where this runs as Docker Compose would make it.
#
#   shop.sh up           creates the project's directory and the stack, seeds it, waits until it is healthy
#   shop.sh sleep|wake   stops all of it until told to wake, also over a restart of the host
#   shop.sh quiet|busy   stops the application in order, or starts it and waits until it is healthy
#   shop.sh counters     the last number the application wrote, in each of the four places
#   shop.sh fingerprint  every fact that a restore must bring back, sorted, one a line
#   shop.sh marker TEXT  adds a row that no earlier snapshot has
#   shop.sh markers      the texts of these rows
#   shop.sh wreck        drops tables, deletes and damages files
#   shop.sh down         removes the stack, its volumes and its directory
#
# SHOP_NAME (shop), SHOP_DIR (/srv/NAME), SHOP_DB_IMAGE (pgvector/pgvector:pg17) and SHOP_ROWS (2000) say which.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=${SHOP_NAME:-shop}
dir=${SHOP_DIR:-/srv/$name}
image=${SHOP_DB_IMAGE:-pgvector/pgvector:pg17}
rows=${SHOP_ROWS:-2000}
mount=/var/lib/postgresql/data
[ "$image" != postgres:18 ] || mount=/var/lib/postgresql
db=$name-db-1
app=$name-app-1
label=com.docker.compose
password='p@ss "word" $1'

fail() {
  echo "shop.sh: $*" >&2
  exit 1
}
psql() { docker exec -i "$db" psql -XqU shop -v ON_ERROR_STOP=1 "$@"; }
volume() { docker volume inspect -f '{{.Mountpoint}}' "${name}_data"; }

healthy() { # CONTAINER
  local end=$((SECONDS + 240)) state
  while :; do
    state=$(docker inspect -f '{{.State.Health.Status}}' "$1")
    [ "$state" != healthy ] || return 0
    [ $SECONDS -lt $end ] || { docker logs --tail 20 "$1" >&2; fail "$1 is $state after 240 s"; }
    sleep 0.2
  done
}

project() {
  mkdir -p "$dir/uploads"
  cp "$here/compose.yaml" "$here/app.env" "$dir/"
  sed -i "s/^name: shop$/name: $name/" "$dir/compose.yaml"
  printf 'DB_IMAGE=%s\nDB_MOUNT=%s\nDB_PASSWORD=%s\n' "$image" "$mount" "'$password'" >"$dir/.env"
  chmod 600 "$dir/.env"
}

hash() { sha256sum <<<"$*" | cut -d' ' -f1; }

service() { # SERVICE IMAGE DEPENDS ARGUMENT…: one container with the labels that compose gives it
  local service=$1 image=$2 depends=$3 id
  shift 3
  id=$(docker image inspect -f '{{.Id}}' "$image")
  docker create --name "$name-$service-1" --network "${name}_default" --network-alias "$service" \
    --label "$label.config-hash=$(hash "$image" "$@")" --label "$label.container-number=1" \
    --label "$label.depends_on=$depends" --label "$label.image=$id" --label "$label.oneoff=False" \
    --label "$label.project=$name" --label "$label.project.config_files=$dir/compose.yaml" \
    --label "$label.project.working_dir=$dir" --label "$label.service=$service" --label "$label.version=2.40.3" \
    "$@" "$image" >/dev/null
}

up() {
  local kept
  project
  docker network create --label "$label.config-hash=$(hash network)" --label "$label.network=default" \
    --label "$label.project=$name" --label "$label.version=2.40.3" "${name}_default" >/dev/null
  for kept in pgdata data; do
    docker volume create --label "$label.config-hash=$(hash $kept)" --label "$label.project=$name" \
      --label "$label.version=2.40.3" --label "$label.volume=$kept" "${name}_$kept" >/dev/null
  done
  service db "$image" "" --restart unless-stopped --shm-size 128m -v "${name}_pgdata:$mount" \
    -e POSTGRES_USER=shop -e "POSTGRES_PASSWORD=$password" -e POSTGRES_DB=shop \
    --health-cmd '/usr/lib/postgresql/$PG_MAJOR/bin/pg_isready -q -h 127.0.0.1 -U shop' --health-interval 2s --health-timeout 5s --health-retries 30
  service app lazarette/shop-app:1 db:service_healthy:false --restart always -v "${name}_data:/data" -v "$dir/uploads:/uploads" \
    --env-file "$dir/app.env" -e PGHOST=db -e PGUSER=shop -e "PGPASSWORD=$password"
  docker start "$db" >/dev/null
  healthy "$db"
  psql -d shop <"$here/seed/globals.sql" >/dev/null
  psql -d shop -v rows="$rows" <"$here/seed/shop.sql" >/dev/null
  psql -d ledger <"$here/seed/ledger.sql" >/dev/null
  files
  docker start "$app" >/dev/null
  healthy "$app"
}

# Files of every kind in the volume, and a few in the project's directory.
files() {
  local root
  root=$(volume)
  cd "$root"
  mkdir -p photos/2024 "empty dir" private
  seq 1 20000 >photos/2024/list.txt
  head -c 300000 /dev/zero | tr '\0' 'x' >photos/large.bin
  ln photos/large.bin photos/large-again.bin
  ln -s 2024/list.txt photos/latest
  ln -s /nowhere/at/all photos/dangling
  truncate -s 5M photos/sparse.img
  printf 'tail' >>photos/sparse.img
  : >photos/empty
  mkfifo pipe
  mknod device c 1 3
  printf 'latin' >"$(printf 'caf\351.txt')"
  printf 'new\nline' >"$(printf 'two\nlines.txt')"
  printf 'secret' >private/key && chmod 0400 private/key && chmod 0700 private
  printf '#!/bin/sh\n' >private/tool && chmod 4755 private/tool
  chown 1234:5678 photos/2024/list.txt "empty dir"
  chmod 1777 "empty dir"
  if command -v setfattr >/dev/null; then setfattr -n user.origin -v 'the camera' photos/large.bin; fi
  if command -v setfacl >/dev/null; then setfacl -m u:4321:r photos/empty; fi
  touch -d '2001-02-03 04:05:06.123456789Z' photos/2024/list.txt photos/2024
  touch -h -d '1999-12-31 23:59:59.5Z' photos/latest
  cd /
  printf 'uploaded' >"$dir/uploads/one.txt"
  chown 1234:5678 "$dir/uploads/one.txt"
}

quiet() { docker stop "$app" >/dev/null; }

# (Without a restart policy, or the application would be started before the database is healthy.)
sleep_all() {
  docker update --restart no "$app" "$db" >/dev/null
  docker stop "$app" >/dev/null
  docker stop "$db" >/dev/null
}

wake() {
  docker update --restart unless-stopped "$db" >/dev/null
  docker update --restart always "$app" >/dev/null
  docker start "$db" >/dev/null
  healthy "$db"
  busy
}

busy() {
  docker start "$app" >/dev/null
  healthy "$app"
}

counters() {
  echo "shop=$(psql -At -d shop -c 'SELECT coalesce(max(number), 0) FROM visit')" \
    "ledger=$(psql -At -d ledger -c 'SELECT coalesce(max(number), 0) FROM entry')" \
    "volume=$(tail -n 1 "$(volume)/rounds.log" 2>/dev/null || echo 0)" \
    "bind=$(tail -n 1 "$dir/uploads/rounds.log" 2>/dev/null || echo 0)"
}

tree() { # WORD DIRECTORY: every entry with all that a file has; not what the application keeps writing
  local word=$1 root=$2
  (
    cd "$root"
    find . \( -name rounds.log -o -name 'page-*.txt' \) -prune -o \
      \( -path . -printf '%p %y mode=%m owner=%U:%G\0' -o -type d -printf '%p %y mode=%m owner=%U:%G mtime=%T@\0' \
      -o -printf '%p %y mode=%m owner=%U:%G size=%s links=%n mtime=%T@ -> %l\0' \) | tr '\n\0' '?\n'
    find . \( -name rounds.log -o -name 'page-*.txt' \) -prune -o -type f -print0 | sort -z | xargs -0r sha256sum
    if command -v getfattr >/dev/null; then find . -type f -print0 | sort -z | xargs -0r getfattr -d -m - -e hex 2>/dev/null | paste -sd' ' | tr '#' '\n' || true; fi
  ) | sed "s/^/$word /"
}

fingerprint() {
  {
    psql -d shop <"$here/globals.sql"
    local database
    for database in shop ledger; do
      psql -d "$database" <"$here/fingerprint.sql"
      # Names of restored objects, their owners and rights, as the server's own tool writes them.
      echo "schema $database $(docker exec "$db" pg_dump -U shop -s "$database" | grep -vE '^\\(un)?restrict ' | sha256sum | cut -d' ' -f1)"
    done
    tree volume "$(volume)"
    tree bind "$dir/uploads"
    sha256sum "$dir/compose.yaml" "$dir/app.env" "$dir/.env" | sed 's/^/file /'
    docker inspect "$db" "$app" | jq -c '.[] | ["container", .Name, .Config.Env, .Config.Labels, .Config.Healthcheck, .Config.Cmd,
      .Config.Entrypoint, .Config.StopSignal, .HostConfig.RestartPolicy, .HostConfig.Binds, .HostConfig.ShmSize,
      (.Mounts | map([.Type, .Name, .Destination, .RW]) | sort), (.NetworkSettings.Networks | keys)]'
    docker volume inspect "${name}_pgdata" "${name}_data" | jq -c '.[] | ["volume", .Name, .Driver, .Labels, .Options]'
    docker network inspect "${name}_default" | jq -c '.[] | ["network", .Name, .Driver, .Labels, .Internal]'
  } | LC_ALL=C sort
}

wreck() {
  psql -d shop -c 'DROP MATERIALIZED VIEW spent' -c 'DROP TABLE purchase CASCADE' -c 'UPDATE customer SET name = reverse(name)' \
    -c 'DELETE FROM guest' -c 'SELECT lo_unlink(424242)' -c 'TRUNCATE marker' -c 'ALTER DATABASE shop RESET ALL' >/dev/null
  psql -d ledger -c 'DROP SCHEMA books CASCADE' -c 'ALTER ROLE "odd Name" IN DATABASE ledger RESET ALL' >/dev/null 2>&1
  local root
  root=$(volume)
  rm -rf "$root/photos" "$root/pipe"
  printf 'overwritten' >"$root/private/key"
  printf 'not there before' >"$root/intruder"
  rm -f "$dir/uploads/one.txt"
}

down() {
  docker ps -aq --filter "label=$label.project=$name" | xargs -r docker rm -fv >/dev/null
  docker volume ls -q --filter "label=$label.project=$name" | xargs -r docker volume rm >/dev/null
  docker network ls -q --filter "label=$label.project=$name" | xargs -r docker network rm >/dev/null
  rm -rf "$dir"
}

case ${1:-} in
  sleep) sleep_all ;;
  up | wake | quiet | busy | counters | fingerprint | wreck | down) "$1" ;;
  marker) psql -d shop -v note="${2:?a text}" <<<"INSERT INTO marker (note) VALUES (:'note');" ;;
  markers) psql -At -d shop -c 'SELECT note FROM marker ORDER BY at, note' ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
