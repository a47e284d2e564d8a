# The engine is killed at its system calls, or its steps are made to fail, one after the other (tests/kill).
## make check-kill   kill the engine at a sample of its system calls and look at what is left (KILL="-t 60 -k 'tree redis'"; KILL= for all)
## make check-warden kill the warden at its system calls, then at random times (WARDEN as KILL)
## make check-faults let one step of the engine fail after the other and look at what is left (FAULTS as KILL; default: all points)
## make check-trouble dumps and restores on a full disk, with low limits, under signals, of targets that never stand still

KILL ?= -t 90
FAULTS ?=
WARDEN ?= -t 60
KILL_SRCS := watch.c watch.h kill.h
KILL_BINS := $(BUILD)/kill/sweep $(BUILD)/kill/faults $(BUILD)/kill/warden $(BUILD)/kill/trouble $(BUILD)/kill/target

$(BUILD)/kill/target: tests/kill/target.c tests/kill/target_more.c tests/kill/target.h tests/kill/kill.h
	@mkdir -p $(@D)
	$(CC) $(PROG_CFLAGS) -o $@ $(filter %.c,$^) -lpthread

$(BUILD)/kill/%: tests/kill/%.c $(KILL_SRCS:%=tests/kill/%)
	@mkdir -p $(@D)
	$(CC) $(PROG_CFLAGS) -o $@ $(filter %.c,$^)

.PHONY: check-kill check-warden check-faults check-trouble
check-kill: engine plugins $(KILL_BINS)
	@BUILD=$(BUILD) tests/kill/run.sh sweep $(KILL)

check-warden: engine plugins $(KILL_BINS)
	@BUILD=$(BUILD) tests/kill/run.sh warden $(WARDEN)
	@BUILD=$(BUILD) tests/kill/run.sh warden -r $(WARDEN)

check-faults: engine plugins $(KILL_BINS)
	@BUILD=$(BUILD) tests/kill/run.sh faults $(FAULTS)

check-trouble: engine plugins $(KILL_BINS)
	@BUILD=$(BUILD) tests/kill/run.sh trouble

# tests/e2e/kill.sh, faults.sh, trouble.sh
test: $(KILL_BINS)
