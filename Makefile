# Paramedic's everyday commands. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo build test lint bench clean-data

CARGO ?= cargo
BENCHES := pipeline dispatch stateful startup

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole loop on embedded parts, in a minute (ARGS="--serve", ARGS="--break playbook|evidence|kafka")
	$(CARGO) build --locked
	@$(CARGO) run --quiet --locked -- demo $(ARGS)

build: ## the release binary: target/release/paramedic (some minutes from clean)
	$(CARGO) build --release --locked

test: ## all tests, on a real Kafka if java and mvn are there (ARGS="--test NAME")
	@tests/real/test.sh $(ARGS)

lint: ## formatting and lints, as CI asks for them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

bench: ## measure: one line of JSON each (BENCHES="pipeline"); pipeline and dispatch want a real Kafka
	@for bench in $(BENCHES); do $(CARGO) bench --quiet --locked --bench $$bench || exit 1; done

clean-data: ## drop what runs have written: ./paramedic-data, the test Kafka and its data (not its jars)
	rm -rf paramedic-data
	@tests/real/kafka.sh down
