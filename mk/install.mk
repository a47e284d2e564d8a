## make install [DESTDIR=] [PREFIX=/usr/local]   engine, plugins, header, stasis.pc, manual pages

MANDIR ?= $(PREFIX)/share/man

# manual pages belong to a section each; without asciidoctor there are none
man_section = $(patsubst .%,%,$(suffix $(1)))

.PHONY: install
install: all docs
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PLUGINDIR) $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(BUILD)/stasis $(DESTDIR)$(PREFIX)/sbin/stasis
	ln -sf stasis $(DESTDIR)$(PREFIX)/sbin/criu
	install -m 644 include/cr-plugin.h $(DESTDIR)$(PREFIX)/include/cr-plugin.h
	$(if $(PLUGINS),$(if $(filter all,$(BUILTIN)),,install -m 644 $(PLUGINS:%=$(BUILD)/plugins/%.so) $(DESTDIR)$(PLUGINDIR)/))
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@PLUGINDIR@|$(PLUGINDIR)|' -e 's|@VERSION@|$(VERSION)|' mk/stasis.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/stasis.pc
	$(if $(ASCIIDOCTOR),$(foreach p,$(MAN_PAGES),install -D -m 644 $(p) $(DESTDIR)$(MANDIR)/man$(call man_section,$(p))/$(notdir $(p)) &&) \
		ln -sf stasis.8 $(DESTDIR)$(MANDIR)/man8/criu.8)
