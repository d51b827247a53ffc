# Paramedic's everyday commands. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo build test chaos lint bench fuzz clean-data

CARGO ?= cargo
BENCHES := pipeline dispatch stateful startup recovery nodes storm rules

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole loop on embedded parts, in a minute (ARGS="--serve", ARGS="--break playbook|evidence|kafka")
	$(CARGO) build --locked
	@$(CARGO) run --quiet --locked -- demo $(ARGS)

build: ## the release binary: target/release/paramedic (some minutes from clean)
	$(CARGO) build --release --locked

test: ## all tests, on a real Kafka if java and mvn are there (ARGS="--test NAME")
	@tests/real/test.sh $(ARGS)

chaos: ## the long ones: every crash point x 3 x both stores, outages, 20,000 seeds (CHAOS_SEEDS=n); a line of JSON each
	@tests/real/test.sh --test chaos -- --ignored --nocapture --test-threads 1 $(ARGS)

lint: ## formatting and lints, as CI asks for them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

bench: ## measure: one line of JSON each (BENCHES="pipeline"); pipeline and dispatch want a real Kafka
	@for bench in $(BENCHES); do $(CARGO) bench --quiet --locked --bench $$bench || exit 1; done

fuzz: ## hostile input against what reads it, a minute a target (ARGS="condition --seconds 600")
	@fuzz/run.sh $(ARGS)

clean-data: ## drop what runs have written: ./paramedic-data, the test Kafka and its data (not its jars)
	rm -rf paramedic-data
	@tests/real/kafka.sh down
