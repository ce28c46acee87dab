#!/bin/sh
# Start redisflow with the secrets that were mounted as files: /run/secrets/REDISFLOW_URL becomes $REDISFLOW_URL.
#
# So they are in no image, in no list of processes, and not in what `docker inspect` shows.
set -eu

for file in "${SECRETS:-/run/secrets}"/REDISFLOW_*; do
    [ -f "$file" ] || continue
    export "$(basename "$file")=$(cat "$file")"
done

exec redisflow "$@"
