# The engine is killed at its system calls, one after the other (tests/kill).
## make check-kill   kill the engine at a sample of its system calls and look at what is left (KILL='-t 25'; KILL= for all)

KILL ?= -t 25

$(BUILD)/kill/%: tests/kill/%.c tests/kill/kill.h
	@mkdir -p $(@D)
	$(CC) $(PROG_CFLAGS) -o $@ $< -lpthread

.PHONY: check-kill
check-kill: engine plugins $(BUILD)/kill/sweep $(BUILD)/kill/target
	@BUILD=$(BUILD) tests/kill/run.sh $(KILL)

# tests/e2e/kill.sh
test: $(BUILD)/kill/sweep $(BUILD)/kill/target
