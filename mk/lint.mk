# Static checks.
## make lint         form of the sources, clang-tidy and cppcheck; a tool that is not installed is left out
## make check-headers   every header compiles alone, the public one in each C and C++ standard

LINT_SRCS := $(filter-out core/blob/blob.c,$(CORE_SRCS)) core/main.c $(foreach p,$(PLUGINS) common,$(wildcard plugins/$(p)/*.c))
LINT_SRCS := $(filter %.c,$(LINT_SRCS))
LINT_TEXT := $(wildcard include/*.h lib/*.[ch] core/*.[ch] core/*/*.[chS] core/*/*/*.[chS] plugins/*/*.[ch] plugins/*/test/*.[ch] \
	tests/programs/*.c tests/include/*.h examples/*/*.c)
LINT_HEADERS := $(wildcard include/*.h lib/*.h core/*.h core/*/*.h core/*/*/*.h plugins/*/*.h)
LINT_FLAGS := $(CPPFLAGS) $(CORE_DEFS) $(CORE_INC) -Iplugins/common -I$(BUILD)/plugins/common
LINT_PROTOS := $(PROTO_CORE) $(foreach p,$(PLUGINS) common,$(call plugin_protos,$(p)))
CLANG_TIDY ?= $(shell command -v clang-tidy 2>/dev/null)
CPPCHECK   ?= $(shell command -v cppcheck 2>/dev/null)
HEADER_CC  := -Wall -Wextra -Wpedantic -Werror -Wno-missing-field-initializers -fsyntax-only

.PHONY: lint lint-text lint-tidy lint-cppcheck check-headers
lint: lint-text lint-cppcheck lint-tidy

lint-text:
	@tools/lint-text.sh $(LINT_TEXT)

# one stamp a file: only what has changed is looked at again
LINT_STAMPS := $(LINT_SRCS:%=$(BUILD)/lint/%.tidy)
ifeq ($(CLANG_TIDY),)
lint-tidy:
	@echo "clang-tidy is not installed: left out"
else
lint-tidy: $(LINT_STAMPS)
endif
# what the file includes is in the list of its object
$(BUILD)/lint/%.tidy: % .clang-tidy $(LINT_HEADERS) | $(LINT_PROTOS)
	@mkdir -p $(@D)
	@echo "tidy $<"
	@$(CLANG_TIDY) --quiet $< -- -std=gnu11 $(LINT_FLAGS) -I$(BUILD)/$(dir $<) 2>/dev/null
	@touch $@

ifeq ($(CPPCHECK),)
lint-cppcheck:
	@echo "cppcheck is not installed: left out"
else
lint-cppcheck:
	@mkdir -p $(BUILD)/lint/cppcheck
	$(CPPCHECK) --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
		--cppcheck-build-dir=$(BUILD)/lint/cppcheck --suppressions-list=mk/cppcheck.txt \
		-Iinclude -Ilib $(CORE_INC) -Iplugins/common -D__x86_64__ -D_GNU_SOURCE -DPROTOBUF_C_VERSION_NUMBER=9999999 $(CORE_DEFS) $(LINT_SRCS) core/blob/blob.c
endif

check-headers: | $(LINT_PROTOS)
	@set -e; for h in $(LINT_HEADERS); do \
		$(CC) -std=gnu11 $(WARN) $(LINT_FLAGS) -I$(BUILD)/$$(dirname $$h) -I$$(dirname $$h) -x c -fsyntax-only -Wno-unused -include $$h /dev/null || { echo "$$h does not compile alone"; exit 1; }; done
	@set -e; for std in c99 c11 c17; do $(CC) -std=$$std $(HEADER_CC) -x c -include include/cr-plugin.h /dev/null; done
	@set -e; for std in c++11 c++17 c++20; do $(CXX) -std=$$std $(HEADER_CC) -x c++ -include include/cr-plugin.h /dev/null; done
	@echo "$(words $(LINT_HEADERS)) headers compile alone"
