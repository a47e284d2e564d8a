/* SPDX-License-Identifier: MIT */
/*
 * bpfmap.c: BPF maps that user space fills: arrays and hashes.
 *
 * bpf(2) tells what a map is and gives its elements one after the other.  A map may have several
 * descriptions; the first one brings the contents, and makes it, the others are opened by its id.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpfmap-data.pb-c.h"
#include "bpfmap-file.pb-c.h"
#include "common.h"
#include "util.h"

#define KIND "bpfmap"
#define SIZE_MAX_KEY (1u << 16)
#define SIZE_MAX_VALUE (16u << 20)

struct map {
	BpfmapFileEntry *msg;
};

static const struct cr_img_type data_image = {
	.size = sizeof(struct cr_img_type), .name = "bpfmap-data", .magic = 0x64324033,
};
static const struct cr_img_type *const images[] = { &data_image, NULL };

/* Types whose elements bpf(2) reads and writes. */
static const struct {
	uint32_t type, per_cpu, is_array;
} types[] = {
	{ BPF_MAP_TYPE_HASH, 0, 0 },	    { BPF_MAP_TYPE_ARRAY, 0, 1 },	 { BPF_MAP_TYPE_LRU_HASH, 0, 0 },
	{ BPF_MAP_TYPE_LPM_TRIE, 0, 0 },    { BPF_MAP_TYPE_PERCPU_HASH, 1, 0 },	 { BPF_MAP_TYPE_PERCPU_ARRAY, 1, 1 },
	{ BPF_MAP_TYPE_LRU_PERCPU_HASH, 1, 0 },
};

static int bpf(int cmd, union bpf_attr *attr)
{
	int r = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

static int type_index(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == type)
			return (int)i;
	return -1;
}

/* Bytes of one element's value, as bpf(2) passes it. */
static size_t value_bytes(uint32_t type, uint32_t value_size)
{
	int i = type_index(type);
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	if (i < 0 || !types[i].per_cpu)
		return value_size;
	return (size_t)(cpus > 0 ? cpus : 1) * ((value_size + 7u) & ~7u);
}

static int map_match(const struct cr_file_info *info)
{
	return info->anon && !strcmp(info->anon, "bpf-map") && !(info->flags & O_PATH) ? CR_SPECIFIC : CR_NOT_MINE;
}

static int map_info(int fd, struct bpf_map_info *ret)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	memset(ret, 0, sizeof(*ret));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(*ret);
	attr.info.info = (uintptr_t)ret;
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

static int map_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct bpf_map_info i;
	int err;

	if (lfd < 0)
		return 0;
	err = map_info(lfd, &i);
	if (err < 0)
		return cr_refuse(s, "run stasis with CAP_BPF and CAP_SYS_ADMIN", "the BPF map cannot be examined: %s",
				 strerror(-err));
	if (type_index(i.type) < 0)
		return cr_refuse(s, "let the program close the map, and load it again after the restore",
				 "a BPF map of type %u: only arrays and hashes can be read from outside", i.type);
	if (i.map_flags & (BPF_F_RDONLY | BPF_F_WRONLY))
		return cr_refuse(s, NULL, "a BPF map that can only be %s", i.map_flags & BPF_F_RDONLY ? "read" : "written");
	return 0;
}

/* ---- dump ---- */

/* Next key after key (NULL: the first) into next; 0, or -ENOENT at the end, -errno. */
static int next_key(int fd, const void *key, void *next)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uintptr_t)key;
	attr.next_key = (uintptr_t)next;
	return bpf(BPF_MAP_GET_NEXT_KEY, &attr);
}

static int element(int cmd, int fd, const void *key, void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	return bpf(cmd, &attr);
}

/* All elements, appended to keys and values. */
static int read_elements(int fd, const struct bpf_map_info *i, struct buf *keys, struct buf *values, uint32_t *ret_n)
{
	size_t vbytes = value_bytes(i->type, i->value_size);
	_cleanup_free_ char *key = xcalloc(1, i->key_size), *value = xcalloc(1, vbytes);
	uint32_t n = 0;
	int err = next_key(fd, NULL, key);

	for (; !err && n < i->max_entries; n++) {
		err = element(BPF_MAP_LOOKUP_ELEM, fd, key, value);
		if (err)
			break;
		buf_add(keys, key, i->key_size);
		buf_add(values, value, vbytes);
		err = next_key(fd, keys->p + (size_t)n * i->key_size, key);
	}
	*ret_n = n;
	return err == -ENOENT ? 0 : err;
}

static int dump_contents(struct cr_session *s, int fd, const struct bpf_map_info *i)
{
	BpfmapDataEntry e = BPFMAP_DATA_ENTRY__INIT;
	_cleanup_buf_ struct buf keys = { 0 }, values = { 0 };
	int fresh, err = 0;

	s->core->id(s, KIND, &i->id, sizeof(i->id), &fresh);
	if (!fresh)
		return 0;
	err = read_elements(fd, i, &keys, &values, &e.count);
	if (err)
		return cr_fail(s, -err, "reading BPF map %u: %s", i->id, strerror(-err));
	e.map_id = i->id;
	e.keys_bytes = (uint32_t)keys.len;
	e.values_bytes = (uint32_t)values.len;
	if (values.len > UINT32_MAX)
		return cr_fail(s, EFBIG, "BPF map %u has more than 4 GiB", i->id);
	err = common_append(s, &data_image, CR_IMG_NO_ID, &e.base);
	if (!err && keys.len)
		err = s->core->img_raw(s, &data_image, CR_IMG_NO_ID, keys.p, keys.len);
	if (!err && values.len)
		err = s->core->img_raw(s, &data_image, CR_IMG_NO_ID, values.p, values.len);
	return err;
}

static uint64_t fdinfo_number(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	return p ? strtoull(p + strlen(key), NULL, 0) : 0;
}

static int map_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	BpfmapFileEntry e = BPFMAP_FILE_ENTRY__INIT;
	struct bpf_map_info i;
	FownEntry fown;
	int err = map_info(lfd, &i);

	if (err < 0)
		return cr_fail(s, -err, "examining a BPF map: %s", strerror(-err));
	err = dump_contents(s, lfd, &i);
	if (err)
		return err;
	common_fown_dump(s, f, &fown);
	i.name[sizeof(i.name) - 1] = 0;
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	e.map_type = i.type;
	e.key_size = i.key_size;
	e.value_size = i.value_size;
	e.map_id = i.id;
	e.max_entries = i.max_entries;
	e.map_flags = i.map_flags;
	e.memlock = fdinfo_number(info->fdinfo, "\nmemlock:");
	e.frozen = fdinfo_number(info->fdinfo, "\nfrozen:") != 0;
	e.map_name = i.name;
	e.ifindex = i.ifindex;
	e.map_extra = fdinfo_number(info->fdinfo, "\nmap_extra:");
	e.has_map_extra = e.map_extra != 0;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int map_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct map *m = s->core->file_priv(f);

	m->msg = common_load(s, &bpfmap_file_entry__descriptor, data, len);
	if (!m->msg)
		return -EPROTO;
	if (type_index(m->msg->map_type) < 0)
		return cr_fail(s, EOPNOTSUPP, "the image has a BPF map of type %u, which is not supported", m->msg->map_type);
	if (!m->msg->key_size || m->msg->key_size > SIZE_MAX_KEY || !m->msg->value_size || m->msg->value_size > SIZE_MAX_VALUE)
		return cr_fail(s, EPROTO, "the image has a BPF map with keys of %u, values of %u bytes", m->msg->key_size,
			       m->msg->value_size);
	if (m->msg->ifindex)
		return cr_fail(s, EOPNOTSUPP, "the image has a BPF map that a network device keeps");
	return 0;
}

/* Another description of the same map that is open. */
static struct cr_file *twin_of(struct cr_session *s, struct cr_file *f, uint32_t id)
{
	for (struct cr_file *o = s->core->file_next(s, NULL); o; o = s->core->file_next(s, o))
		if (o != f && !strcmp(s->core->file_kind(o), KIND) && s->core->file_fd(o) >= 0 &&
		    ((struct map *)s->core->file_priv(o))->msg->map_id == id)
			return o;
	return NULL;
}

static int open_twin(struct cr_session *s, struct cr_file *twin)
{
	struct bpf_map_info i;
	union bpf_attr attr;
	int err = map_info(s->core->file_fd(twin), &i);

	memset(&attr, 0, sizeof(attr));
	attr.map_id = i.id;
	return err < 0 ? err : bpf(BPF_MAP_GET_FD_BY_ID, &attr);
}

static int create(const BpfmapFileEntry *e)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = e->map_type;
	attr.key_size = e->key_size;
	attr.value_size = e->value_size;
	attr.max_entries = e->max_entries;
	attr.map_flags = e->map_flags;
	strncpy(attr.map_name, e->map_name, sizeof(attr.map_name) - 1);
	return bpf(BPF_MAP_CREATE, &attr);
}

/* The elements of one entry, the reader stands behind it. fd -1: not wanted. */
static int take_elements(struct cr_session *s, struct cr_reader *r, const BpfmapDataEntry *d, const BpfmapFileEntry *e, int fd)
{
	uint64_t bytes = (uint64_t)d->keys_bytes + d->values_bytes;
	_cleanup_free_ char *all = NULL;
	size_t vbytes = value_bytes(e->map_type, e->value_size);
	int err;

	if (bytes > s->core->img_left(r))
		return cr_fail(s, EPROTO, "bpfmap-data.img is cut off");
	all = xcalloc(1, bytes + 1);
	err = s->core->img_extra(r, all, bytes);
	if (err || fd < 0)
		return err;
	if (d->keys_bytes != (uint64_t)d->count * e->key_size)
		return cr_fail(s, EPROTO, "bpfmap-data.img: %u keys of map %u have %u bytes", d->count, d->map_id, d->keys_bytes);
	if (d->values_bytes != (uint64_t)d->count * vbytes)
		return cr_fail(s, EOPNOTSUPP, "bpfmap-data.img: %u values of map %u, %u bytes: made with another number of CPUs",
			       d->count, d->map_id, d->values_bytes);
	for (uint32_t i = 0; i < d->count && !err; i++)
		err = element(BPF_MAP_UPDATE_ELEM, fd, all + (size_t)i * e->key_size, all + d->keys_bytes + i * vbytes);
	return err ? cr_fail(s, -err, "filling BPF map %u: %s", d->map_id, strerror(-err)) : 0;
}

static int fill(struct cr_session *s, const BpfmapFileEntry *e, int fd)
{
	struct cr_reader *r;
	void *msg;
	int n = s->core->img_open(s, &data_image, CR_IMG_NO_ID, &r);

	if (n)
		return n == -ENOENT ? 0 : n;
	while ((n = common_next(s, r, &bpfmap_data_entry__descriptor, &msg)) == 1) {
		BpfmapDataEntry *d = msg;

		n = take_elements(s, r, d, e, d->map_id == e->map_id ? fd : -1);
		common_free_msg(msg);
		if (n < 0)
			break;
	}
	s->core->img_close(r);
	return n;
}

static int make(struct cr_session *s, const BpfmapFileEntry *e)
{
	union bpf_attr attr;
	int fd = create(e), err;

	if (fd < 0)
		return cr_fail(s, -fd, "making a BPF map: %s", strerror(-fd));
	err = fill(s, e, fd);
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	if (!err && e->frozen) {
		err = bpf(BPF_MAP_FREEZE, &attr);
		if (err)
			err = cr_fail(s, -err, "freezing a BPF map: %s", strerror(-err));
	}
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int map_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const BpfmapFileEntry *e = ((struct map *)s->core->file_priv(f))->msg;
	struct cr_file *twin = twin_of(s, f, e->map_id);
	int fd = twin ? open_twin(s, twin) : make(s, e);

	if (fd < 0)
		return twin ? cr_fail(s, -fd, "opening a BPF map again: %s", strerror(-fd)) : fd;
	*ret_fd = fd;
	return CR_OK;
}

static int map_wire(struct cr_session *s, struct cr_file *f)
{
	return common_fown_restore(s, f, ((struct map *)s->core->file_priv(f))->msg->fown);
}

static const struct cr_file_kind map_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = KIND,
	.fd_type = 19,
	.field = 21,
	.priv_size = sizeof(struct map),
	.match = map_match,
	.check = map_check,
	.dump = map_dump,
	.load = map_load,
	.open = map_open,
	.wire = map_wire,
};
static const struct cr_file_kind *const map_kinds[] = { &map_kind, NULL };

static const struct cr_plugin bpfmap_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "bpfmap",
	.version = "0.1",
	.summary = "Keeps BPF maps: arrays and hashes.",
	.images = images,
	.files = map_kinds,
	.caps = (const char *const[]){ "CAP_BPF: BPF maps",
				      "CAP_SYS_ADMIN: a BPF map with several descriptions", NULL },
};
CR_PLUGIN_REGISTER(bpfmap_plugin);
