#!/usr/bin/env bash
# `make test`: all tests, on a real Kafka where java and mvn are there. The last lines say which broker they ran on.
#
# Arguments go to `cargo test` (e.g. `tests/real/test.sh --test live`). A broker that is up already (kafka.sh up, or
# KAFKA_BROKERS in the environment) is used and left up; else one is brought up here and taken down at the end.
# Tests that want a broker append a line "NAME real" or "NAME embedded" to $TEST_BROKER_REPORT.
# Where CI is set, a test that could have run on the real Kafka and did not is a failure.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

in_ci() { [[ ${CI:-false} != false && ${CI:-0} != 0 ]]; }

started_here=false
finish() {
    if $started_here; then "$here/kafka.sh" down || true; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

broker=""
why="java or mvn missing"
if [[ -n ${KAFKA_BROKERS:-} ]]; then
    broker=$KAFKA_BROKERS
elif broker=$("$here/kafka.sh" status 2>/dev/null); then
    broker=${broker#KAFKA_BROKERS=}
else
    rc=0
    started_here=true
    broker=$("$here/kafka.sh" up) || rc=$?
    broker=${broker#KAFKA_BROKERS=}
    if ((rc != 0)); then
        started_here=false
        broker=""
        if ((rc != 3)); then
            why="it did not come up, see above"
            if in_ci; then
                echo "real Kafka: did not come up, and in CI that is a failure" >&2
                exit 1
            fi
        fi
    fi
fi
unset KAFKA_BROKERS
[[ -z $broker ]] || export KAFKA_BROKERS=$broker

mkdir -p target
export TEST_BROKER_REPORT=$root/target/test-brokers
: >"$TEST_BROKER_REPORT"

rc=0
cargo test --workspace --locked "$@" || rc=$?

# Also kept in a file, for who prints something after these lines (.ci/run).
verdict() { echo "real Kafka: $1" | tee "$TEST_BROKER_REPORT.verdict"; }

echo
sort -u "$TEST_BROKER_REPORT" | awk '{ printf "  %-9s %s\n", $2, $1 }'
if [[ -z $broker ]]; then
    verdict "NOT run ($why): those tests ran on the embedded broker"
elif [[ ! -s $TEST_BROKER_REPORT ]]; then
    verdict "was up ($broker), but no test in this run wanted a broker"
elif in_ci && grep -q ' embedded$' "$TEST_BROKER_REPORT"; then
    # A test that fell back although a real broker was offered proves nothing about it.
    ((rc != 0)) || rc=1
    verdict "offered ($broker), but the tests above marked embedded did not use it: in CI that is a failure"
else
    verdict "ran ($broker)"
fi
exit "$rc"
