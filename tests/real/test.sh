#!/usr/bin/env bash
# `make test`: all tests, on a real Kafka where java and mvn are there, and on a real PostgreSQL where that is installed.
# The last lines say what they ran on.
#
# Arguments go to `cargo test` (e.g. `tests/real/test.sh --test live`). A server that is up already (kafka.sh up,
# postgres.sh up, or KAFKA_BROKERS, DATABASE_URL in the environment) is used and left up; else one is brought up here and
# taken down at the end. Tests that want one append a line "NAME real|embedded" or "NAME postgres|no-postgres" to
# $TEST_BROKER_REPORT. Where CI is set, a test that could have run on a real server and did not is a failure.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

in_ci() { [[ ${CI:-false} != false && ${CI:-0} != 0 ]]; }

started=()
finish() {
    local script
    for script in "${started[@]}"; do "$here/$script" down || true; done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# provide SCRIPT VARIABLE: the server's address in $address, or why there is none in $why.
address=""
why=""
provide() {
    local script=$1 variable=$2 rc=0
    address=${!variable:-}
    why=""
    [[ -z $address ]] || return 0
    if address=$("$here/$script" status 2>/dev/null); then
        address=${address#"$variable"=}
        return 0
    fi
    address=$("$here/$script" up) || rc=$?
    address=$(sed -n "s/^$variable=//p" <<<"$address")
    if ((rc == 0)); then
        started+=("$script")
        return 0
    fi
    address=""
    why="what it needs is not installed"
    ((rc == 3)) && return 0
    why="it did not come up, see above"
    if in_ci; then
        echo "$script: did not come up, and in CI that is a failure" >&2
        exit 1
    fi
}

provide kafka.sh KAFKA_BROKERS
broker=$address
no_broker=$why
provide postgres.sh DATABASE_URL
database=$address
no_database=$why
unset KAFKA_BROKERS DATABASE_URL
[[ -z $broker ]] || export KAFKA_BROKERS=$broker
[[ -z $database ]] || export DATABASE_URL=$database

mkdir -p target
export TEST_BROKER_REPORT=$root/target/test-brokers
: >"$TEST_BROKER_REPORT"
rm -f "$TEST_BROKER_REPORT.verdict"

rc=0
# The program with crash points and planted bugs, which the crash matrix starts.
cargo build --locked --features test-faults --bin paramedic-faulty || rc=$?
((rc != 0)) || cargo test --workspace --locked --no-fail-fast "$@" || rc=$?
# The planted bugs of the simulator are in a build of their own.
if ((rc == 0 && $# == 0)); then
    cargo test --locked -p paramedic-sim --features test-faults --test faults planted || rc=$?
fi

# verdict SERVER ADDRESS WHY USED UNUSED: also kept in a file, for who prints something after these lines (.ci/run).
verdict() {
    local server=$1 at=$2 reason=$3 used=$4 unused=$5 text
    if [[ -z $at ]]; then
        text="NOT run ($reason)"
    elif ! grep -qE " ($used|$unused)\$" "$TEST_BROKER_REPORT"; then
        text="was up, but no test in this run wanted it"
    elif in_ci && grep -q " $unused\$" "$TEST_BROKER_REPORT"; then
        # A test that fell back although a real server was offered proves nothing about it.
        ((rc != 0)) || rc=1
        text="offered, but the tests above marked $unused did not use it: in CI that is a failure"
    else
        text="ran"
    fi
    echo "real $server: $text" | tee -a "$TEST_BROKER_REPORT.verdict"
}

echo
sort -u "$TEST_BROKER_REPORT" | awk '{ printf "  %-11s %s\n", $2, $1 }'
verdict Kafka "$broker" "$no_broker; those tests ran on the embedded broker" real embedded
verdict PostgreSQL "$database" "$no_database; those tests did not run" postgres no-postgres
exit "$rc"
