#!/usr/bin/env bash
# A real Apache Kafka (one KRaft node) for tests, from its Maven Central jars (pom.xml pins the version).
#
#   kafka.sh up                                  start on free ports with empty data; prints KAFKA_BROKERS=127.0.0.1:PORT
#   kafka.sh down                                stop it, drop its data
#   kafka.sh stop | start | restart              the same ports and data, for tests with the broker away
#   kafka.sh status                              exit 0 and the address when it is up, else exit 1
#   kafka.sh topic NAME PARTITIONS [key=value...]   create a topic, with topic configuration
#   kafka.sh delete NAME                         delete a topic
#   kafka.sh produce TOPIC FILE [--by-key]       lines TIMESTAMP_MS<TAB>KEY<TAB>VALUE (FILE may be -), see Produce.java
#   kafka.sh tool CLASS [ARG...]                 any tool of Kafka's, e.g. org.apache.kafka.tools.ConsoleProducer
#   kafka.sh secure COMMAND...                   the same of another broker, which has listeners with TLS and SASL too
#
# `secure up` makes a CA, certificates and a password, and prints addresses and files, one KEY=VALUE a line:
#   KAFKA_BROKERS         without TLS, for tools
#   KAFKA_SASL_SSL        TLS, and SCRAM-SHA-512 as KAFKA_USER with the password in KAFKA_PASSWORD_FILE
#   KAFKA_SSL             TLS that asks for a client's certificate: KAFKA_CLIENT_CERT and KAFKA_CLIENT_KEY
#   KAFKA_SSL_OTHER_NAME  TLS with a certificate that names another host
#   KAFKA_CA              the CA of all these certificates; KAFKA_OTHER_CA: one that has signed none of them
#
# Needs a JDK (17 or later: Produce.java runs from source) and mvn, and for `secure` openssl. Exit 3: one is missing.
# Exit 1: it failed. Exit 2: misuse.
# Everything lies under target/real-kafka/, or target/real-kafka-secure/; with REAL_KAFKA_DIR a test has a broker of its
# own (jars are shared).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
libs=$root/target/real-kafka/libs
secure=false
if [[ ${1:-} == secure ]]; then
    secure=true
    shift
fi
if $secure; then default_dir=$root/target/real-kafka-secure; else default_dir=$root/target/real-kafka; fi
dir=${REAL_KAFKA_DIR:-$default_dir}
[[ $dir == /* ]] || dir=$PWD/$dir
conf=$dir/server.properties
pid_file=$dir/pid
env_file=$dir/env
log=$dir/kafka.log
wait_s=${REAL_KAFKA_WAIT_S:-90}

say() { echo "kafka.sh: $*" >&2; }
die() { say "$*"; exit 1; }

need() {
    local missing=()
    command -v java >/dev/null || missing+=("java")
    command -v javac >/dev/null || missing+=("javac (a JDK, not only a JRE)")
    command -v mvn >/dev/null || missing+=("mvn")
    ! $secure || command -v openssl >/dev/null || missing+=("openssl")
    ((${#missing[@]} == 0)) && return
    local list
    list=$(printf '%s, ' "${missing[@]}")
    say "missing: ${list%, }. On Debian: apt-get install openjdk-17-jdk-headless maven openssl"
    exit 3
}

# The jars are complete once the pom they were copied for lies beside them.
fetch() {
    cmp -s "$here/pom.xml" "$libs/pom.xml" && return
    say "copying Kafka's jars from Maven Central (once)"
    local began=$SECONDS fresh=$libs.new
    mkdir -p "$(dirname "$libs")"
    rm -rf "$fresh"
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fresh" >&2 \
        || die "mvn could not fetch the jars (see above)"
    cp "$here/pom.xml" "$fresh/pom.xml"
    rm -rf "$libs"
    mv "$fresh" "$libs"
    say "$(find "$libs" -name '*.jar' | wc -l) jars in $((SECONDS - began)) s"
}

# kafka_java HEAP [ARG...]: java on Kafka's class path, quiet but for warnings on stderr.
kafka_java() {
    local heap=$1
    shift
    java -Xmx"$heap" -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel="${REAL_KAFKA_LOG:-warn}" \
        -cp "$libs/*" "$@"
}

# The broker's pid, if it lives and is the one that this folder's files describe: a pid alone may have been given away.
pid_of_ours() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ && -r /proc/$pid/cmdline ]] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "$conf" || return 1
    echo "$pid"
}

brokers() { sed -n 's/^KAFKA_BROKERS=//p' "$env_file" 2>/dev/null; }

brokers_or_die() {
    pid_of_ours >/dev/null || die "no broker is up in $dir"
    brokers
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the ephemeral range, so that no outgoing connection takes it between here and the broker's bind.
free_ports() {
    local port wanted=$1 found=" "
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        if [[ $found == *" $port "* ]] || port_is_taken "$port"; then continue; fi
        echo "$port"
        found+="$port "
        ((--wanted > 0)) || return 0
    done
    die "found no free ports"
}

configure() {
    local port=$1 controller=$2
    cat >"$conf" <<PROPERTIES
node.id=1
process.roles=broker,controller
listeners=CLIENT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=CLIENT://127.0.0.1:$port
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$controller
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data

# Events of long ago and of tomorrow keep their own time, and stay.
log.message.timestamp.type=CreateTime
log.message.timestamp.before.max.ms=9223372036854775807
log.message.timestamp.after.max.ms=9223372036854775807
log.retention.ms=-1
log.retention.bytes=-1
# Messages of 2 MiB are among the bad input that is tested.
message.max.bytes=4194304
replica.fetch.max.bytes=4194304

auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
PROPERTIES
    echo "KAFKA_BROKERS=127.0.0.1:$port" >"$env_file"
}

user=paramedic
tls=$dir/tls

# certificate NAME SAN ISSUER: NAME.key and NAME.pem, signed by ISSUER.
certificate() {
    openssl req -new -newkey rsa:2048 -nodes -keyout "$tls/$1.key" -out "$tls/$1.csr" -subj "/CN=$1" 2>/dev/null
    openssl x509 -req -in "$tls/$1.csr" -CA "$tls/$3.pem" -CAkey "$tls/$3.key" -CAcreateserial -days 7 \
        -extfile <(printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$2") -out "$tls/$1.pem" 2>/dev/null
}

authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tls/$1.key" -out "$tls/$1.pem" -days 7 \
        -subj "/CN=$1 of a test" -addext basicConstraints=critical,CA:TRUE 2>/dev/null
}

# Certificates are made anew each time: they are good for a week only.
make_secrets() {
    rm -rf "$tls"
    mkdir -p "$tls"
    chmod 700 "$tls"
    authority ca
    authority other-ca
    certificate server DNS:localhost,IP:127.0.0.1 ca
    certificate other-name DNS:kafka.example.com ca
    certificate client DNS:paramedic.example.com ca
    local name
    for name in server other-name; do cat "$tls/$name.key" "$tls/$name.pem" >"$tls/$name-store.pem"; done
    openssl rand -hex 16 | tr -d '\n' >"$tls/password"
}

# Listeners with TLS beside the plain one.
configure_secure() {
    local sasl=$1 ssl=$2 other=$3 plain controller
    plain=$(sed -n 's/^advertised.listeners=//p' "$conf")
    controller=$(sed -n 's/^listeners=.*\(CONTROLLER:.*\)$/\1/p' "$conf")
    local more="SASL_SSL://127.0.0.1:$sasl,SSL://127.0.0.1:$ssl,OTHER_NAME://127.0.0.1:$other"
    sed -i "s|^listeners=.*|listeners=$plain,$more,$controller|; \
        s|^advertised.listeners=.*|advertised.listeners=$plain,$more|; \
        s|^listener.security.protocol.map=.*|&,SASL_SSL:SASL_SSL,SSL:SSL,OTHER_NAME:SSL|" "$conf"
    cat >>"$conf" <<PROPERTIES

ssl.keystore.type=PEM
ssl.keystore.location=$tls/server-store.pem
ssl.truststore.type=PEM
ssl.truststore.location=$tls/ca.pem
listener.name.ssl.ssl.client.auth=required
listener.name.other_name.ssl.keystore.type=PEM
listener.name.other_name.ssl.keystore.location=$tls/other-name-store.pem
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
PROPERTIES
    cat >>"$env_file" <<ENV
KAFKA_SASL_SSL=127.0.0.1:$sasl
KAFKA_SSL=127.0.0.1:$ssl
KAFKA_SSL_OTHER_NAME=127.0.0.1:$other
KAFKA_CA=$tls/ca.pem
KAFKA_OTHER_CA=$tls/other-ca.pem
KAFKA_CLIENT_CERT=$tls/client.pem
KAFKA_CLIENT_KEY=$tls/client.key
KAFKA_USER=$user
KAFKA_PASSWORD_FILE=$tls/password
ENV
}

format() {
    local id credentials=()
    if $secure; then
        credentials=(--add-scram "SCRAM-SHA-512=[name=$user,password=$(cat "$tls/password")]")
    fi
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AA' | cut -c1-22) # a random Kafka UUID that begins with no dash
    rm -rf "$dir/data"
    kafka_java 256m kafka.tools.StorageTool format -t "$id" -c "$conf" \
        "${credentials[@]}" >"$dir/format.log" 2>&1 \
        || { cat "$dir/format.log" >&2; die "formatting $dir/data failed"; }
}

# Starts the process and returns once it answers a client; 1 when it ended or did not answer in time.
launch() {
    local pid address port began=$SECONDS
    address=$(brokers)
    port=${address##*:}
    # A session of its own: Ctrl-C in a test run does not take it down before the test's own clean-up does.
    setsid java -Xms256m -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel="${REAL_KAFKA_LOG:-warn}" \
        -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
        -cp "$libs/*" kafka.Kafka "$conf" </dev/null >>"$log" 2>&1 &
    pid=$!
    echo "$pid" >"$pid_file"
    until port_is_taken "$port"; do
        kill -0 "$pid" 2>/dev/null || return 1
        ((SECONDS - began < wait_s)) || return 1
        sleep 0.1
    done
    # The port listens before the node serves: a request that is answered is the proof.
    timeout "$wait_s" java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
        -cp "$libs/*" org.apache.kafka.tools.TopicCommand --bootstrap-server "$address" --list >/dev/null || return 1
    pid_of_ours >/dev/null || return 1
    say "up at $address (pid $pid) after $((SECONDS - began)) s"
}

fail_to_start() {
    tail -n 40 "$log" >&2 || true
    halt_process
    die "the broker did not come up in $wait_s s; its log is $log"
}

# Ends our process and no other; returns when it is gone.
halt_process() {
    local pid
    if pid=$(pid_of_ours); then
        kill -TERM "$pid" 2>/dev/null || true
        for _ in {1..300}; do
            pid_of_ours >/dev/null || break
            sleep 0.1
        done
        if pid_of_ours >/dev/null; then
            say "did not end within 30 s: killed"
            kill -KILL "$pid" 2>/dev/null || true
            while pid_of_ours >/dev/null; do sleep 0.1; done
        fi
    fi
    rm -f "$pid_file"
}

up() {
    need
    if pid_of_ours >/dev/null; then
        say "is up already"
    else
        mkdir -p "$dir"
        fetch
        rm -f "$pid_file" "$env_file"
        # Another process may take a port between the choice and the bind: choose again, twice.
        local attempt ports
        for attempt in 1 2 3; do
            : >"$log"
            mapfile -t ports < <(free_ports 5)
            configure "${ports[0]}" "${ports[1]}"
            if $secure; then
                make_secrets || die "openssl could not make the certificates"
                configure_secure "${ports[@]:2}"
            fi
            format
            launch && break
            grep -q "Address already in use" "$log" && ((attempt < 3)) || fail_to_start
            halt_process
        done
    fi
    cat "$env_file"
}

start() {
    need
    if pid_of_ours >/dev/null; then
        say "is up already"
    else
        [[ -f $conf && -d $dir/data && -d $libs ]] || die "nothing to start in $dir: run up first"
        launch || fail_to_start
    fi
    cat "$env_file"
}

down() {
    halt_process
    rm -rf "$dir/data" "$tls" "$env_file"
}

topic() {
    (($# >= 2)) || { say "topic NAME PARTITIONS [key=value...]"; exit 2; }
    local name=$1 partitions=$2 address configs=() pair
    address=$(brokers_or_die)
    shift 2
    for pair in "$@"; do configs+=(--config "$pair"); done
    kafka_java 256m org.apache.kafka.tools.TopicCommand --bootstrap-server "$address" --create --topic "$name" \
        --partitions "$partitions" --replication-factor 1 "${configs[@]}"
}

delete() {
    (($# == 1)) || { say "delete NAME"; exit 2; }
    local address
    address=$(brokers_or_die)
    kafka_java 256m org.apache.kafka.tools.TopicCommand --bootstrap-server "$address" --delete --topic "$1"
}

produce() {
    (($# >= 2)) || { say "produce TOPIC FILE [--by-key]"; exit 2; }
    local address
    address=$(brokers_or_die)
    java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel="${REAL_KAFKA_LOG:-error}" -cp "$libs/*" \
        "$here/Produce.java" "$address" "$@"
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
stop) halt_process ;;
start) start ;;
restart)
    halt_process
    start
    ;;
status) status ;;
topic) topic "$@" ;;
delete) delete "$@" ;;
produce) produce "$@" ;;
tool)
    (($# > 0)) || { say "tool CLASS [ARG...]"; exit 2; }
    kafka_java 512m "$@"
    ;;
*)
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
