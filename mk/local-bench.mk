# Measurements: tests/bench.
## make bench        what dump and restore cost, as a table (SCENARIOS='idle memory' to choose, ROUNDS=3)

ROUNDS ?= 3
SCENARIOS ?=

$(BUILD)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -o $@ $< -lpthread

.PHONY: bench
bench: all $(BUILD)/bench/load $(BUILD)/bench/copy
	@BUILD=$(BUILD) tests/bench/run -n $(ROUNDS) $(SCENARIOS)
