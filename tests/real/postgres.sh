#!/usr/bin/env bash
# A real PostgreSQL for tests, from the Debian package's binaries.
#
#   postgres.sh up                         start on a free port with empty data; prints DATABASE_URL=postgres://...
#   postgres.sh down                       stop it, drop its data
#   postgres.sh stop [fast|immediate]      immediate: as if it had crashed; it recovers from its log at the next start
#   postgres.sh start | restart [MODE]     the same port and data, for tests with the server away
#   postgres.sh promote                    stop it and start it as a restored server: on a new timeline
#   postgres.sh keep                       keep a copy of its data, as a standby would (it is stopped meanwhile)
#   postgres.sh fail-over                  go on from that copy, on a new timeline: what came since is lost
#   postgres.sh status                     exit 0 and the address when it is up, else exit 1
#   postgres.sh psql [ARG...]              psql as its superuser, on the database `paramedic`
#
# Needs initdb, postgres and psql (any version from 13), and openssl for the server's certificate. Exit 3: one is
# missing. Exit 1: it failed. Exit 2: misuse. It never runs as root: then as the user `postgres`.
# Everything lies under target/real-postgres/; with REAL_POSTGRES_DIR a test has a server of its own. There, ca.crt is
# what sslrootcert wants with sslmode=verify-full (for 127.0.0.1 and localhost), other-ca.crt one that signed nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${REAL_POSTGRES_DIR:-$root/target/real-postgres}
dir=$(realpath -m "$dir") # as the server names it on its command line
data=$dir/data
env_file=$dir/env
log=$dir/postgres.log
wait_s=${REAL_POSTGRES_WAIT_S:-60}
password=${REAL_POSTGRES_PASSWORD:-ambulance}

say() { echo "postgres.sh: $*" >&2; }
die() { say "$*"; exit 1; }

bin=""
find_binaries() {
    local candidate
    for candidate in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn) "$(dirname "$(command -v postgres 2>/dev/null || echo /nowhere/x)")"; do
        if [[ -x $candidate/initdb && -x $candidate/postgres && -x $candidate/pg_ctl ]]; then
            bin=$candidate
            return
        fi
    done
}
find_binaries

need() {
    local missing=()
    [[ -n $bin ]] || missing+=("PostgreSQL's server (initdb, postgres, pg_ctl)")
    [[ -n $bin && -x $bin/psql ]] || command -v psql >/dev/null || missing+=("psql")
    command -v openssl >/dev/null || missing+=("openssl")
    if ((EUID == 0)); then
        command -v runuser >/dev/null || missing+=("runuser")
        id postgres >/dev/null 2>&1 || missing+=("the user postgres")
    fi
    ((${#missing[@]} == 0)) && return
    local list
    list=$(printf '%s, ' "${missing[@]}")
    say "missing: ${list%, }. On Debian: apt-get install postgresql openssl"
    exit 3
}

# The server refuses to run as root.
as_server() {
    if ((EUID == 0)); then
        (cd / && runuser -u postgres -- "$@")
    else
        (cd / && "$@")
    fi
}

# The postmaster's pid, if it lives and has our data folder: a pid alone may have been given away.
pid_of_ours() {
    local pid
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ && -r /proc/$pid/cmdline ]] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "$data" || return 1
    echo "$pid"
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the ephemeral range, so that no outgoing connection takes it between here and the server's bind.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        port_is_taken "$port" || { echo "$port"; return; }
    done
    die "found no free port"
}

certificates() {
    local name subject
    for name in ca other-ca; do
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=paramedic test $name" \
            -keyout "$dir/$name.key" -out "$dir/$name.crt" 2>>"$log" || die "openssl failed, see $log"
    done
    subject="subjectAltName=DNS:localhost,IP:127.0.0.1"
    openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout "$data/server.key" -out "$dir/server.csr" \
        2>>"$log" || die "openssl failed, see $log"
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 3650 \
        -extfile <(echo "$subject") -out "$data/server.crt" 2>>"$log" || die "openssl failed, see $log"
    chmod 600 "$data/server.key"
    ((EUID != 0)) || chown postgres "$data/server.key" "$data/server.crt"
    rm -f "$dir/server.csr" "$dir/ca.key" "$dir/ca.srl" "$dir/other-ca.key"
}

# The socket's path has a limit of about 100 bytes: where the folder's is too long, the socket lies in /tmp.
socket_dir() {
    if ((${#dir} < 80)); then echo "$dir"; else echo "/tmp/paramedic-pg-$(cksum <<<"$dir" | cut -d' ' -f1)"; fi
}

create() {
    local port=$1 socket
    socket=$(socket_dir)
    rm -rf "$data"
    mkdir -p "$data" "$socket"
    chmod 700 "$data"
    ((EUID != 0)) || chown postgres "$data" "$socket"
    local secret
    secret=$(mktemp)
    ((EUID != 0)) || chown postgres "$secret"
    echo "$password" >"$secret"
    # No part of the path above may be closed to the server's user: say so rather than "permission denied".
    as_server test -w "$data" || die "the user postgres cannot reach $data: choose another REAL_POSTGRES_DIR"
    as_server "$bin/initdb" -D "$data" -U postgres --pwfile="$secret" --auth-host=scram-sha-256 --auth-local=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-instructions >>"$log" 2>&1 || die "initdb failed, see $log"
    rm -f "$secret"
    certificates
    cat >>"$data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$socket'
ssl = on
fsync = on
synchronous_commit = on
full_page_writes = on
max_connections = 200
max_prepared_transactions = 0
shared_buffers = 64MB
max_wal_size = 512MB
log_line_prefix = '%m [%p] %q%u@%d %a '
log_lock_waits = on
CONF
    echo "DATABASE_URL=postgres://paramedic:$password@127.0.0.1:$port/paramedic" >"$env_file"
}

port_of_ours() { sed -n 's/^port = //p' "$data/postgresql.conf" | tail -n 1; }

run_psql() {
    local psql=$bin/psql database=$1
    shift
    [[ -x $psql ]] || psql=psql
    PGPASSWORD=$password "$psql" -X -h 127.0.0.1 -p "$(port_of_ours)" -U postgres -d "$database" -v ON_ERROR_STOP=1 "$@"
}

# Starts the server and returns once it answers.
launch() {
    local began=$SECONDS
    # A session of its own: Ctrl-C in a test run does not take it down before the test's own clean-up does.
    as_server setsid "$bin/pg_ctl" -D "$data" -l "$dir/server.log" -w -t "$wait_s" start >>"$log" 2>&1 || return 1
    run_psql postgres -qAtc 'SELECT 1' >/dev/null 2>>"$log" || return 1
    say "up at 127.0.0.1:$(port_of_ours) (pid $(pid_of_ours)) after $((SECONDS - began)) s"
}

fail_to_start() {
    tail -n 20 "$log" "$dir/server.log" >&2 2>/dev/null || true
    halt_process immediate
    die "the server did not come up in $wait_s s; its log is $dir/server.log"
}

# The role owns its database, and is no superuser: what the store needs more than that, it must say.
populate() {
    run_psql postgres -q -c "CREATE ROLE paramedic LOGIN PASSWORD '$password'" \
        -c "CREATE DATABASE paramedic OWNER paramedic" >>"$log" 2>&1 || die "creating the database failed, see $log"
}

# Ends our server and no other; returns when it is gone.
halt_process() {
    local mode=${1:-fast}
    [[ $mode == fast || $mode == immediate || $mode == smart ]] || { say "stop [fast|immediate]"; exit 2; }
    pid_of_ours >/dev/null || return 0
    as_server "$bin/pg_ctl" -D "$data" -w -t "$wait_s" -m "$mode" stop >>"$log" 2>&1 \
        || die "the server did not end in $wait_s s, see $log"
}

up() {
    need
    if pid_of_ours >/dev/null; then
        say "is up already"
    else
        mkdir -p "$dir"
        rm -f "$env_file"
        # Another process may take the port between the choice and the bind: choose again, twice.
        local attempt
        for attempt in 1 2 3; do
            : >"$log"
            rm -f "$dir/server.log"
            touch "$dir/server.log"
            ((EUID != 0)) || chown postgres "$dir/server.log"
            create "$(free_port)"
            launch && break
            grep -q "Address already in use" "$dir/server.log" && ((attempt < 3)) || fail_to_start
            halt_process immediate
        done
        populate
    fi
    cat "$env_file"
}

start() {
    need
    if pid_of_ours >/dev/null; then
        say "is up already"
    else
        [[ -f $data/PG_VERSION && -f $env_file ]] || die "nothing to start in $dir: run up first"
        launch || fail_to_start
    fi
    cat "$env_file"
}

# As after a restore from an archive that ended: PostgreSQL goes on upon a timeline of its own.
promote() {
    halt_process fast
    grep -q '^restore_command' "$data/postgresql.conf" || echo "restore_command = 'false'" >>"$data/postgresql.conf"
    as_server touch "$data/recovery.signal"
    start
    for _ in {1..100}; do
        [[ $(run_psql postgres -qAtc 'SELECT pg_is_in_recovery()') == f ]] && return
        sleep 0.1
    done
    die "the server stayed in recovery, see $dir/server.log"
}

keep() {
    halt_process fast
    rm -rf "$dir/kept"
    cp -a "$data" "$dir/kept"
    start
}

fail_over() {
    [[ -d $dir/kept ]] || die "nothing is kept in $dir: run keep before"
    halt_process immediate
    rm -rf "$data"
    mv "$dir/kept" "$data"
    promote
}

down() {
    halt_process immediate
    rm -rf "$data" "$dir/kept" "$env_file"
    [[ $(socket_dir) == "$dir" ]] || rm -rf "$(socket_dir)"
}

status() {
    local pid
    if pid=$(pid_of_ours); then
        cat "$env_file"
        say "up, pid $pid, $dir"
    else
        say "down"
        exit 1
    fi
}

command=${1:-}
(($# > 0)) && shift
case $command in
up) up ;;
down) down ;;
stop) halt_process "$@" ;;
start) start ;;
restart)
    halt_process "$@"
    start
    ;;
promote) promote ;;
keep) keep ;;
fail-over) fail_over ;;
status) status ;;
psql)
    pid_of_ours >/dev/null || die "no server is up in $dir"
    run_psql paramedic "$@"
    ;;
*)
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
