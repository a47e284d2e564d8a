# Manual pages: docs/*.N.adoc and plugins/*/*.7.adoc (as stasis-NAME.7), made by asciidoctor.
## make docs         manual pages into build/man/ (nothing when asciidoctor is absent)

ASCIIDOCTOR ?= $(shell command -v asciidoctor 2>/dev/null)
MAN_PAGES := $(patsubst docs/%.adoc,$(BUILD)/man/%,$(wildcard docs/*.[1-8].adoc)) \
	$(patsubst %.adoc,$(BUILD)/man/stasis-%,$(notdir $(wildcard plugins/*/*.7.adoc)))

.PHONY: docs
ifeq ($(ASCIIDOCTOR),)
docs:
else
docs: $(MAN_PAGES)
endif

# the options part is printed by the engine itself, with all plugins; written only when it changes
.PHONY: man-options
man-options: engine plugins
	@$(BUILD)/stasis man-options --no-default-config > $(BUILD)/man-options.tmp
	@cmp -s $(BUILD)/man-options.tmp $(BUILD)/man-options.adoc || mv $(BUILD)/man-options.tmp $(BUILD)/man-options.adoc
	@rm -f $(BUILD)/man-options.tmp
$(BUILD)/man-options.adoc: man-options ;

# include:: is relative to the source, so the text goes beside the generated part
MANPAGE = sed 's|^include::man-options.adoc|include::$(abspath $(BUILD))/man-options.adoc|' $< | \
	$(ASCIIDOCTOR) -S unsafe --failure-level=WARN -b manpage -o $@ -

$(BUILD)/man/stasis.8: $(BUILD)/man-options.adoc
$(BUILD)/man/%: docs/%.adoc
	@mkdir -p $(@D)
	$(MANPAGE)

define plugin_page
$(BUILD)/man/stasis-$(notdir $(1:.adoc=)): $(1)
	@mkdir -p $$(@D)
	$$(MANPAGE)
endef
$(foreach p,$(wildcard plugins/*/*.7.adoc),$(eval $(call plugin_page,$(p))))
