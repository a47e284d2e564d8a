# SPDX-License-Identifier: MIT
# Stasis: plain GNU make, non-recursive.  `make help` lists the targets.
#
#   make [CC=clang] [SAN=address,undefined] [BUILTIN=all] [WERROR=1] [BUILD=build]

# no built-in rules: they would compile generated code with the wrong flags when its own rule is tried later
MAKEFLAGS += -r
.DELETE_ON_ERROR:

BUILD   ?= build
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
PLUGINDIR ?= $(LIBDIR)/stasis
VERSION := $(shell cat VERSION)

all: engine plugins programs

include mk/flags.mk
include mk/proto.mk
include mk/blob.mk
include mk/plugins.mk
include mk/core.mk
-include $(wildcard mk/local-*.mk)
include mk/tests.mk
include mk/apps.mk
include mk/fuzz.mk
include mk/lint.mk
include mk/install.mk
include mk/deps.mk

.PHONY: all engine plugins programs clean help
engine: $(BUILD)/stasis $(BUILD)/criu

clean:
	rm -rf $(BUILD)

help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## //'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
