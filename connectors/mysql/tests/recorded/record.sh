#!/bin/bash
# Records the binary logs of this folder anew: record.sh SERVER NAME METADATA [option...]
# SERVER is one of the test servers by its short name, NAME the file to write, METADATA a value of binlog_row_metadata;
# options go to the server. NAME.rows gets the changes that the server's own tool counts: kind, table, number.
set -e
: "${SERVERS:?folder with start.sh, stop.sh, cli.sh and binlog.sh of the test servers}"
HERE=$(cd "$(dirname "$0")"; pwd)
SERVER=$1; NAME=$2; METADATA=$3; shift 3; PORT=${PORT:-34981}
"$SERVERS/start.sh" "$SERVER" "$PORT" --binlog-row-metadata="$METADATA" "$@" > /dev/null
trap '"$SERVERS/stop.sh" "$SERVER" "$PORT" > /dev/null' EXIT
sql() { "$SERVERS/cli.sh" "$SERVER" "$PORT" --default-character-set=utf8mb4 "$@"; }
case $SERVER in my97) more="mysql.sql mysql9.sql" ;; my*) more=mysql.sql ;; ma118) more="mariadb.sql mariadb11.sql" ;; *) more=mariadb.sql ;; esac
flush="FLUSH BINARY LOGS; "
sql -e "$flush"
last=$(sql -N -e 'SHOW BINARY LOGS' | tail -1 | cut -f1)
cd "$HERE"
{ echo "SET sql_mode = 'NO_ENGINE_SUBSTITUTION'; USE work;"; cat types.sql $more; } | sql
sql -e "$flush"
install -m 644 "$SERVERS/run/$SERVER-$PORT/data/$last" "$NAME.binlog"
"$SERVERS/binlog.sh" "$SERVER" "$PORT" "$last" -vv --base64-output=decode-rows |
  sed -n 's/^### \(INSERT INTO\|UPDATE\|DELETE FROM\) `\([^`]*\)`\.`\([^`]*\)`.*/\1 \2.\3/p' |
  sed 's/ INTO//; s/ FROM//' | sort | uniq -c | awk '{print $2, $3, $1}' > "$NAME.rows"
ls -l "$NAME.binlog"
