# Compiler flags shared by everything but the blob.
## make              engine, plugins and test programs into build/
## make SAN=address,undefined   the same with sanitizers
## make DEBUG=1      the same with assertions: a hook or a service in the wrong phase aborts the engine

CC      ?= gcc
OPT     ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow=local -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
WARN    += -Wno-missing-field-initializers
ifeq ($(shell $(CC) --version 2>/dev/null | grep -c clang),0)
WARN    += -Wimplicit-fallthrough
else
WARN    := $(subst -Wshadow=local,-Wno-shadow,$(WARN)) -Wno-gnu-variable-sized-type-not-at-end
endif
ifeq ($(WERROR),1)
WARN    += -Werror
endif
CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Ilib
CFLAGS  += -std=gnu11 $(OPT) $(WARN) -fvisibility=hidden -fno-strict-aliasing -ffunction-sections -fdata-sections -MMD -MP
ifneq ($(SAN)$(DEBUG),)
CFLAGS  += -DSTASIS_DEBUG
endif
ifneq ($(SAN),)
CFLAGS  += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SAN)
endif
