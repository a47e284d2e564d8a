# Messages: proto/*.proto (core) and plugins/*/*.proto, generated into build/.

PROTO_CORE := $(patsubst proto/%.proto,$(BUILD)/proto/%.pb-c.c,$(wildcard proto/*.proto))

$(BUILD)/proto/%.pb-c.c $(BUILD)/proto/%.pb-c.h &: proto/%.proto
	@mkdir -p $(@D)
	protoc-c -Iproto --c_out=$(BUILD)/proto $<

# a plugin's messages may import those of plugins/common
$(BUILD)/plugins/%.pb-c.c $(BUILD)/plugins/%.pb-c.h &: plugins/%.proto
	@mkdir -p $(@D)
	protoc-c -I$(dir $<) -Iplugins/common --c_out=$(@D) $<

PROTO_COMMON := $(patsubst plugins/%.proto,$(BUILD)/plugins/%.pb-c.c,$(wildcard plugins/common/*.proto))
.SECONDARY:

# generated code is not ours to polish
$(BUILD)/%.pb-c.o: $(BUILD)/%.pb-c.c | $(PROTO_CORE) $(PROTO_COMMON)
	$(CC) $(CPPFLAGS) -I$(BUILD)/proto -I$(BUILD)/plugins/common -I$(@D) $(CFLAGS) -w -fPIC -c $< -o $@
