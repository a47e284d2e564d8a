# Hostile input. Fuzzing with clang's libFuzzer, in a build of its own with both sanitizers; targets are tests/fuzz/NAME.c.
## make fuzz         run every fuzz target for FUZZ_TIME seconds (default 60)

FUZZ_TIME ?= 60
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/*.c)))
FUZZ_BUILD := $(BUILD)/fuzz-build

.PHONY: fuzz fuzz-build
fuzz: fuzz-build engine plugins
	@bash tests/fuzz/run.sh $(BUILD) $(FUZZ_TIME) $(FUZZ_TARGETS)

fuzz-build:
	+@$(MAKE) --no-print-directory CC=clang BUILD=$(FUZZ_BUILD) BUILTIN=all SAN=address,undefined,fuzzer-no-link OPT='-O1 -g' WARN= \
		$(FUZZ_TARGETS:%=$(FUZZ_BUILD)/fuzz/%)
	@mkdir -p $(BUILD)/fuzz; cp $(FUZZ_TARGETS:%=$(FUZZ_BUILD)/fuzz/%) $(BUILD)/fuzz/

$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h $(BUILD)/libcore.a $(BUILTIN_OBJS)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CORE_DEFS) -Icore $(CORE_INC) $(CFLAGS) -fsanitize=fuzzer -o $@ $< $(BUILTIN_OBJS) \
		-Wl,--whole-archive $(BUILD)/libcore.a -Wl,--no-whole-archive $(CORE_LIBS)

## make check-hostile   damage a real dump in HOSTILE ways (default 10000; HOSTILE_SEED), show and restore each
HOSTILE ?= 10000
HOSTILE_SEED ?= 1

.PHONY: check-hostile
check-hostile: engine plugins
	@bash tests/hostile/run.sh $(BUILD) $(HOSTILE) $(HOSTILE_SEED)
