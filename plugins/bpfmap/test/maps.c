/* SPDX-License-Identifier: MIT */
/* BPF maps: contents of arrays, hashes, tries, per-CPU ones; frozen; two descriptions of one map. */
#include <linux/bpf.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "prog.h"

static int bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static int make(int type, int key, int value, int max, int flags)
{
	union bpf_attr a = { .map_type = type, .key_size = key, .value_size = value, .max_entries = max, .map_flags = flags };
	int fd;

	strcpy(a.map_name, "stasis_test");
	fd = bpf(BPF_MAP_CREATE, &a);
	if (fd < 0 && (errno == EPERM || errno == ENOSYS))
		prog_skip("no BPF maps to be had: %s", strerror(errno));
	CHECK(fd >= 0);
	return fd;
}

static int elem(int cmd, int fd, const void *key, void *value)
{
	union bpf_attr a = { .map_fd = fd, .key = (uintptr_t)key, .value = (uintptr_t)value };

	return bpf(cmd, &a);
}

static void info(int fd, struct bpf_map_info *ret)
{
	union bpf_attr a = { .info = { .bpf_fd = fd, .info_len = sizeof(*ret), .info = (uintptr_t)ret } };

	memset(ret, 0, sizeof(*ret));
	CHECK(bpf(BPF_OBJ_GET_INFO_BY_FD, &a) == 0);
}

int main(int argc, char **argv)
{
	int hash, array, trie, percpu, frozen, twin;
	union bpf_attr a = { 0 };
	struct bpf_map_info i;
	struct { uint32_t len; uint8_t ip[4]; } prefix = { 16, { 10, 1 } };
	static uint64_t per[1024];
	uint64_t v;

	prog_init(argc, argv);
	hash = make(BPF_MAP_TYPE_HASH, 4, 8, 100, 0);
	array = make(BPF_MAP_TYPE_ARRAY, 4, 8, 10, 0);
	trie = make(BPF_MAP_TYPE_LPM_TRIE, 8, 8, 10, BPF_F_NO_PREALLOC);
	percpu = make(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 3, 0);
	frozen = make(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	for (uint32_t k = 0; k < 50; k++) {
		v = k * 3;
		CHECK(elem(BPF_MAP_UPDATE_ELEM, hash, &k, &v) == 0);
		v = k + 7;
		CHECK(k >= 10 || elem(BPF_MAP_UPDATE_ELEM, array, &k, &v) == 0);
	}
	v = 77;
	CHECK(elem(BPF_MAP_UPDATE_ELEM, trie, &prefix, &v) == 0);
	for (uint32_t c = 0; c < 1024; c++)
		per[c] = c + 1;
	CHECK(elem(BPF_MAP_UPDATE_ELEM, percpu, &(uint32_t){ 1 }, per) == 0);
	CHECK(elem(BPF_MAP_UPDATE_ELEM, frozen, &(uint32_t){ 0 }, &v) == 0);
	a.map_fd = frozen;
	CHECK(bpf(BPF_MAP_FREEZE, &a) == 0);
	info(hash, &i);
	memset(&a, 0, sizeof(a));
	a.map_id = i.id;
	twin = bpf(BPF_MAP_GET_FD_BY_ID, &a);
	prog_ready();

	for (uint32_t k = 0; k < 60; k++) {
		CHECK((elem(BPF_MAP_LOOKUP_ELEM, hash, &k, &v) == 0) == (k < 50) && (k >= 50 || v == k * 3));
		CHECK(k >= 10 || (elem(BPF_MAP_LOOKUP_ELEM, array, &k, &v) == 0 && v == k + 7));
	}
	prefix.len = 32;
	prefix.ip[3] = 9;
	CHECK(elem(BPF_MAP_LOOKUP_ELEM, trie, &prefix, &v) == 0 && v == 77);
	memset(per, 0, sizeof(per));
	CHECK(elem(BPF_MAP_LOOKUP_ELEM, percpu, &(uint32_t){ 1 }, per) == 0 && per[0] == 1);
	CHECK(elem(BPF_MAP_LOOKUP_ELEM, frozen, &(uint32_t){ 0 }, &v) == 0 && v == 77);
	CHECK(elem(BPF_MAP_UPDATE_ELEM, frozen, &(uint32_t){ 0 }, &v) < 0 && errno == EPERM);
	info(hash, &i);
	CHECK(!strcmp(i.name, "stasis_test") && i.max_entries == 100 && i.type == BPF_MAP_TYPE_HASH);
	if (twin >= 0) {
		v = 4711;
		CHECK(elem(BPF_MAP_UPDATE_ELEM, twin, &(uint32_t){ 3 }, &v) == 0);
		CHECK(elem(BPF_MAP_LOOKUP_ELEM, hash, &(uint32_t){ 3 }, &v) == 0 && v == 4711);
	}
	prog_ok();
}
