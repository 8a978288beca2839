# Compare: what the demo counts by itself, and compares with what a restore brought back. Sourced, not run.
# shellcheck shell=bash disable=SC2154

# The stack's own facts, without what its application keeps writing.
remember_before() {
  mkdir -p "$state/before"
  shop fingerprint >"$state/before/facts"
  shop markers >"$state/before/markers"
  say "$(wc -l <"$state/before/facts") facts."
}

equal() { # WHAT EXPECTED FOUND
  if [ "$2" = "$3" ]; then
    printf '  equal    %s\n' "$1"
  else
    printf '  DIFFERS  %s: expected %s, found %s\n' "$1" "$2" "$3"
    failures=$((failures + 1))
  fi
}

say_damage() {
  local lost
  lost=$(shop fingerprint 2>/dev/null | LC_ALL=C comm -23 "$state/before/facts" - | wc -l)
  say "$lost of $(wc -l <"$state/before/facts") facts are no longer true."
  [ "$lost" -gt 0 ] || fail "the stack was not wrecked; nothing would be proven"
}

say_reuse() {
  quiet_ctl --output json snapshot list "$stack" |
    jq -r '.[0] | "Of \(.read_bytes) bytes read, \(.reused_bytes) were in the repository already; \(.stored_bytes) were added."'
}

# Rows of every table, as the snapshot's evidence has them and as they are now. Evidence writes names as SQL does.
compare_rows() {
  local database table count now grows
  while IFS=$'\t' read -r database table count; do
    now=$(docker exec "$stack-db-1" psql -XAtqU shop -d "$database" -c "SELECT count(*) FROM ONLY $table" </dev/null 2>/dev/null || echo none)
    # The application writes these again as soon as it runs.
    case $table in public.visit | public.entry) grows=yes ;; *) grows="" ;; esac
    if [ -n "$grows" ] && [ "$now" != none ] && [ "$now" -ge "$count" ]; then
      printf '  equal    rows of %s in %s: %s, and %s since it runs again\n' "$table" "$database" "$count" $((now - count))
    else
      equal "rows of $table in $database: $count" "$count" "$now"
    fi
  done < <(quiet_ctl --output json snapshot show "$first" |
    jq -r '.components[] | select(.kind == "database") | .evidence | to_entries[]
      | select(.key | test("^database .*/table .*/rows$"))
      | [(.key | capture("^database (?<d>.*?)/table (?<t>.*)/rows$") | .d, .t), .value.count] | @tsv')
}

compare_all() {
  local found=$state/found
  say "Compared with $1:"
  compare_rows
  shop fingerprint >"$found"
  if cmp -s "$state/before/facts" "$found"; then
    printf '  equal    %s facts: schemas, roles, rights, settings, large objects, vectors; files with owner, mode, time, hash\n' "$(wc -l <"$found")"
  else
    printf '  DIFFERS  facts of the stack (< before, > now):\n'
    LC_ALL=C diff "$state/before/facts" "$found" | grep '^[<>]' | cut -c1-300 | head -40 || true
    failures=$((failures + 1))
  fi
  equal "marker rows (the one added after that snapshot is gone)" "$(cat "$state/before/markers")" "$(shop markers)"
  equal "the application's container" running "$(docker inspect -f '{{.State.Status}}' "$stack-app-1")"
}
