# The engine: everything below core/ and lib/ but the blob and the unit tests.

CORE_SRCS := $(filter-out %_test.c core/blob/blob.c core/main.c,$(wildcard core/*.c core/*/*.c core/arch/x86_64/*.c lib/*.c)) \
	$(wildcard core/arch/x86_64/*.S)
CORE_OBJS := $(patsubst %,$(BUILD)/%.o,$(basename $(CORE_SRCS))) $(PROTO_CORE:.c=.o)
CORE_INC  := -Icore $(patsubst %/,-I%,$(sort $(dir $(wildcard core/*/*.h)))) -I$(BUILD)/proto
CORE_DEFS := -DSTASIS_VERSION='"$(VERSION)"' -DPLUGIN_DIR='"$(PLUGINDIR)"' -DBLOB_BIN='"$(BUILD)/blob/blob.bin"'
CORE_LIBS += -lprotobuf-c -lsodium -lcap -lelf -ldl -lpthread

$(BUILD)/core/%.o: core/%.c | $(PROTO_CORE)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CORE_DEFS) $(CORE_INC) $(CFLAGS) -c $< -o $@

$(BUILD)/core/%.o: core/%.S
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CORE_DEFS) -c $< -o $@

$(BUILD)/lib/%.o: lib/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -c $< -o $@

# the file that embeds the blob with .incbin
$(BUILD)/core/blob/image.o: $(BUILD)/blob/blob.bin

$(BUILD)/libcore.a: $(CORE_OBJS)
	@rm -f $@
	ar rcs $@ $^

# -z now: what the dynamic linker does at a first call it would do again in the warden, on pages that are shared until then
$(BUILD)/stasis: $(BUILD)/core/main.o $(BUILD)/libcore.a $(BUILTIN_OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,-z,now -o $@ $(BUILD)/core/main.o $(BUILTIN_OBJS) -Wl,--whole-archive $(BUILD)/libcore.a -Wl,--no-whole-archive $(CORE_LIBS)

$(BUILD)/criu: $(BUILD)/stasis
	ln -sf stasis $@
