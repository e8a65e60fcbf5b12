# Creates the role `hitl` of workers, gateways and commands, after resonate.sql. The image of PostgreSQL runs it once.
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$(cat "$DB_PASSWORD_FILE")" <<'SQL'
CREATE ROLE hitl LOGIN PASSWORD :'password' IN ROLE resonate_worker;
SQL
