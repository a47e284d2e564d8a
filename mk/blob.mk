# The restorer blob: freestanding, position independent, one flat image with its entry at offset 0.

BLOB_CFLAGS := -std=gnu11 -O2 -Wall -Wextra -ffreestanding -fPIE -mgeneral-regs-only -mno-red-zone \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-builtin -fno-jump-tables \
	-fvisibility=hidden -MMD -MP
ifneq ($(shell $(CC) --version 2>/dev/null | grep -c clang),0)
BLOB_CFLAGS += -Wno-unused-command-line-argument
else
BLOB_CFLAGS += -fno-tree-loop-distribute-patterns
endif
ifeq ($(WERROR),1)
BLOB_CFLAGS += -Werror
endif

$(BUILD)/blob/blob.o: core/blob/blob.c
	@mkdir -p $(@D)
	$(CC) -Icore/blob $(BLOB_CFLAGS) -c $< -o $@

$(BUILD)/blob/clone3.o: core/arch/x86_64/clone3.S
	@mkdir -p $(@D)
	$(CC) -c $< -o $@

# -pie: whatever needs an address fixed up at load time shows as a dynamic relocation, and is refused
$(BUILD)/blob/blob.elf: $(BUILD)/blob/blob.o $(BUILD)/blob/clone3.o core/blob/blob.lds
	ld -nostdlib -static --no-dynamic-linker -pie -z noexecstack -T core/blob/blob.lds -o $@ $(filter %.o,$^)
	@! readelf -rW $@ | grep -q R_X86_64 || { echo "blob: relocations left"; rm -f $@; exit 1; }

$(BUILD)/blob/blob.bin: $(BUILD)/blob/blob.elf
	objcopy -O binary -j .text $< $@
