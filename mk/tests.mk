# Tests.  Unit tests: every *_test.c beside the code is one cmocka program.  Programs: every tests/programs/*.c and
# plugins/*/test/*.c is a self-checking program for tests/prog.sh.
## make test         build everything and run all tests (TESTS='prog/*' to choose, JOBS=4)
## make unit         build and run the unit tests only

UNIT_SRCS := $(wildcard lib/*_test.c core/*/*_test.c)
UNIT_BINS := $(patsubst %.c,$(BUILD)/unit/%,$(UNIT_SRCS))
JOBS ?= 4
TESTS ?=

$(BUILD)/unit/%: %.c $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CORE_DEFS) $(CORE_INC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/libcore.a $(CORE_LIBS) -lcmocka

# Programs are built plainly: they are what is dumped, not what is tested for memory errors.
PROG_BINS := $(patsubst tests/programs/%.c,$(BUILD)/programs/core/%,$(wildcard tests/programs/*.c)) \
	$(foreach s,$(wildcard plugins/*/test/*.c),$(BUILD)/programs/$(word 2,$(subst /, ,$(s)))/$(basename $(notdir $(s))))
PROG_CFLAGS := -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Wno-unused-parameter -Itests/include

$(BUILD)/programs/core/%: tests/programs/%.c $(wildcard tests/include/*.h)
	@mkdir -p $(@D)
	$(CC) $(PROG_CFLAGS) -o $@ $< -lpthread -lrt

define prog_rule
$(BUILD)/programs/$(1)/%: plugins/$(1)/test/%.c $(wildcard tests/include/*.h)
	@mkdir -p $$(@D)
	$$(CC) $$(PROG_CFLAGS) -o $$@ $$< -lpthread -lrt -lutil
endef
$(foreach p,$(PLUGINS),$(eval $(call prog_rule,$(p))))

programs: $(PROG_BINS)

.PHONY: unit test
unit: $(UNIT_BINS)
	@set -e; for t in $^; do echo "# $$t"; $$t; done

# fuzz targets need clang, and are pointless inside another sanitizer build; asked when their turn comes: `make deps all test` may
# have installed it by then
.PHONY: fuzz-maybe
fuzz-maybe: all
	+@[ -n "$(SAN)" ] || ! command -v clang >/dev/null || $(MAKE) --no-print-directory fuzz-build

test: all $(UNIT_BINS) fuzz-maybe
	@BUILD=$(BUILD) tests/run -j $(JOBS) $(TESTS)
