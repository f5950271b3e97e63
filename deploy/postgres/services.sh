#!/usr/bin/env bash
# Run once by the image of PostgreSQL, on new data: a role and a database for each service, closed to all others.
set -euo pipefail
for service in orders payments shipping notifications; do
  secret="${service^^}_DATABASE_PASSWORD"
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set service="$service" --set secret="${!secret:?}" \
    --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE :"service" LOGIN PASSWORD :'secret';
CREATE DATABASE :"service" OWNER :"service";
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done
psql --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --command 'REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC'
