# Creates the role `hitl` of workers, gateways and commands, after resonate.sql. The image of PostgreSQL runs it once.
# psql reads the password itself, so that no list of processes shows it.
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set password `cat "$DB_PASSWORD_FILE"`
CREATE ROLE hitl LOGIN PASSWORD :'password' IN ROLE resonate_worker;
SQL
