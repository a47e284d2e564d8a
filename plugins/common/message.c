/* SPDX-License-Identifier: MIT */
/* message.c: messages to and from bytes, owners of descriptions. See common.h. */
#include "common.h"

#include <errno.h>
#include <string.h>

#include "util.h"

void *common_pack(const ProtobufCMessage *m, size_t *ret_len)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *p = xcalloc(1, len + 1);

	*ret_len = protobuf_c_message_pack(m, p);
	return p;
}

int common_emit(struct cr_session *s, struct cr_file *f, const ProtobufCMessage *m)
{
	_cleanup_free_ void *data = NULL;
	size_t len;

	data = common_pack(m, &len);
	return s->core->file_message(s, f, data, len);
}

int common_append(struct cr_session *s, const struct cr_img_type *type, uint64_t id,
		  const ProtobufCMessage *m)
{
	_cleanup_free_ void *data = NULL;
	size_t len;

	data = common_pack(m, &len);
	return s->core->img_append(s, type, id, data, len);
}

static void *session_bytes(void *s, size_t bytes)
{
	return ((struct cr_session *)s)->core->alloc(s, bytes);
}

static void session_keeps(void *s, void *p)
{
}

static void *unpack(struct cr_session *s, const ProtobufCMessageDescriptor *desc,
		    ProtobufCAllocator *memory, const void *data, size_t len)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(desc, memory, len, data);

	if (!m)
		cr_fail(s, EPROTO, "broken %s of %zu bytes: the image is damaged or from another version",
			desc->name, len);
	return m;
}

void *common_unpack(struct cr_session *s, const ProtobufCMessageDescriptor *desc, const void *data,
		    size_t len)
{
	return unpack(s, desc, NULL, data, len);
}

void *common_load(struct cr_session *s, const ProtobufCMessageDescriptor *desc, const void *data,
		  size_t len)
{
	ProtobufCAllocator memory = { session_bytes, session_keeps, s };

	return unpack(s, desc, &memory, data, len);
}

void common_free_msg(void *msg)
{
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

void common_cleanup_msg(void *pp)
{
	common_free_msg(*(void **)pp);
}

int common_next(struct cr_session *s, struct cr_reader *r, const ProtobufCMessageDescriptor *desc,
		void **ret_msg)
{
	const void *data;
	size_t len;
	void *m;
	int ret;

	ret = s->core->img_next(r, &data, &len);
	if (ret <= 0)
		return ret;
	m = common_unpack(s, desc, data, len);
	if (!m)
		return -EPROTO;
	*ret_msg = m;
	return 1;
}

int common_read_list(struct cr_session *s, const struct cr_img_type *img, const ProtobufCMessageDescriptor *desc, void **ret_v,
		     size_t *ret_n)
{
	_cleanup_buf_ struct buf list = { 0 };
	struct cr_reader *r;
	void *msg;
	int ret = s->core->img_open(s, img, CR_IMG_NO_ID, &r);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, desc, &msg)) > 0) {
		buf_add(&list, msg, desc->sizeof_message);
		common_free_msg(msg);
	}
	s->core->img_close(r);
	if (ret < 0 || !list.len)
		return ret;
	*ret_v = s->core->alloc(s, list.len);
	memcpy(*ret_v, list.p, list.len);
	*ret_n = list.len / desc->sizeof_message;
	return 0;
}

void common_fown_dump(struct cr_session *s, struct cr_file *f, FownEntry *ret)
{
	struct cr_fown fown = { .size = sizeof(fown) };

	fown_entry__init(ret);
	s->core->file_fown(s, f, &fown);
	ret->uid = fown.uid;
	ret->euid = fown.euid;
	ret->signum = fown.signum;
	ret->pid_type = fown.pid_type;
	ret->pid = fown.pid;
}

int common_fown_restore(struct cr_session *s, struct cr_file *f, const FownEntry *e)
{
	struct cr_fown fown = { .size = sizeof(fown) };

	if (!e || (!e->pid && !e->signum))
		return 0;
	fown.uid = e->uid;
	fown.euid = e->euid;
	fown.signum = e->signum;
	fown.pid_type = e->pid_type;
	fown.pid = e->pid;
	return s->core->file_set_fown(s, f, &fown);
}
