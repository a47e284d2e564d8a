# Every folder plugins/NAME with a NAME.c is a plugin: build/plugins/NAME.so.
# plugins/NAME/plugin.mk is optional: NAME_LIBS, NAME_CFLAGS.  plugins/common is linked into each.
## make BUILTIN=all  link all plugins into the engine

PLUGINS := $(foreach d,$(wildcard plugins/*/),$(if $(wildcard $(d)$(notdir $(d:%/=%)).c),$(notdir $(d:%/=%))))
-include $(wildcard plugins/*/plugin.mk)

PLUGIN_CFLAGS := $(CFLAGS) -fPIC
ifeq ($(BUILTIN),all)
PLUGIN_CFLAGS += -DCR_BUILTIN
endif

# $(call plugin_objs,NAME)
plugin_objs = $(patsubst plugins/%.c,$(BUILD)/plugins/%.o,$(wildcard plugins/$(1)/*.c)) \
	$(patsubst plugins/%.proto,$(BUILD)/plugins/%.pb-c.o,$(wildcard plugins/$(1)/*.proto))
plugin_protos = $(patsubst plugins/%.proto,$(BUILD)/plugins/%.pb-c.c,$(wildcard plugins/$(1)/*.proto))

# Every run loads all plugins, and what that costs is page faults: so no unused part of plugins/common, and fewer
# segments.  What is read-only after relocation stays so.
ifeq ($(SAN),)
PLUGIN_LDFLAGS := -Wl,-z,defs -Wl,--gc-sections -Wl,-z,noseparate-code
endif

COMMON_OBJS := $(call plugin_objs,common) $(BUILD)/lib/util.o

define plugin_rules
$(BUILD)/plugins/$(1)/%.o: plugins/$(1)/%.c | $(call plugin_protos,$(1)) $(call plugin_protos,common)
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS) -Iplugins/common -I$(BUILD)/plugins/common -I$(BUILD)/plugins/$(1) $$(PLUGIN_CFLAGS) $($(1)_CFLAGS) -c $$< -o $$@
endef
$(foreach p,$(PLUGINS) common,$(eval $(call plugin_rules,$(p))))

define plugin_link
$(BUILD)/plugins/$(1).so: $(call plugin_objs,$(1)) $(COMMON_OBJS)
	$$(CC) $$(PLUGIN_CFLAGS) $$(LDFLAGS) -shared $$(PLUGIN_LDFLAGS) -Wl,--exclude-libs,ALL -o $$@ $$^ $($(1)_LIBS) -lprotobuf-c
endef
$(foreach p,$(PLUGINS),$(eval $(call plugin_link,$(p))))

ifeq ($(BUILTIN),all)
BUILTIN_OBJS := $(foreach p,$(PLUGINS),$(call plugin_objs,$(p))) $(call plugin_objs,common)
CORE_LIBS += $(foreach p,$(PLUGINS),$($(p)_LIBS))
plugins:
else
plugins: $(PLUGINS:%=$(BUILD)/plugins/%.so)
endif
