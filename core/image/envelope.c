/* SPDX-License-Identifier: MIT */
/*
 * envelope.c: file_entry, the envelope of files.img: {type = 1, id = 2, message =
 * N}, where N and the message belong to a plugin.  It is put together and taken
 * apart by hand in the protobuf wire format, so that the core needs no
 * description of any kind and fields that it doesn't know pass through.
 *
 * Wire format: every field is a varint key (number << 3 | wire type), then a
 * varint (0), 8 bytes (1), a varint length with that many bytes (2), or 4 bytes (5).
 */
#include <errno.h>
#include <string.h>

#include "image.h"
#include "text.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { FIELD_TYPE = 1, FIELD_ID = 2, FIELD_MAX = (1 << 29) - 1 };

static void add_varint(struct buf *b, uint64_t v)
{
	unsigned char bytes[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = v | 0x80;
	bytes[n++] = v;
	buf_add(b, bytes, n);
}

int img_append_file(struct session *s, uint32_t type, uint32_t id, uint32_t field, const void *msg, size_t len)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (field > FIELD_MAX || field == FIELD_TYPE || field == FIELD_ID || (!field && len))
		return fail(s, EINVAL, "file %u of type %u: a message cannot have field number %u", id, type, field);
	add_varint(&b, FIELD_TYPE << 3 | WIRE_VARINT);
	add_varint(&b, type);
	add_varint(&b, FIELD_ID << 3 | WIRE_VARINT);
	add_varint(&b, id);
	if (field) {
		add_varint(&b, (uint64_t)field << 3 | WIRE_BYTES);
		add_varint(&b, len);
		buf_add(&b, msg, len);
	}
	return img_append(s, &img_files, CR_IMG_NO_ID, b.p, b.len);
}

struct cursor {
	const unsigned char *p, *end;
};

static bool take_varint(struct cursor *c, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64 && c->p < c->end; shift += 7) {
		unsigned char byte = *c->p++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct cursor *c, uint64_t len, const unsigned char **ret)
{
	if (len > (uint64_t)(c->end - c->p))
		return false;
	*ret = c->p;
	c->p += len;
	return true;
}

/* One field; *ret_num is the value or the length of *ret_bytes (wire type 2). */
static bool take_field(struct cursor *c, uint32_t *ret_field, uint32_t *ret_wire, uint64_t *ret_num,
		       const unsigned char **ret_bytes)
{
	uint64_t key;

	if (!take_varint(c, &key) || key >> 3 == 0 || key >> 3 > FIELD_MAX)
		return false;
	*ret_field = key >> 3;
	*ret_wire = key & 7;
	switch (*ret_wire) {
	case WIRE_VARINT:
		return take_varint(c, ret_num);
	case WIRE_BYTES:
		return take_varint(c, ret_num) && take_bytes(c, *ret_num, ret_bytes);
	case WIRE_64:
		return take_bytes(c, 8, ret_bytes);
	case WIRE_32:
		return take_bytes(c, 4, ret_bytes);
	default:
		return false; /* groups were never used */
	}
}

int img_split_file(const void *data, size_t len, uint32_t *ret_type, uint32_t *ret_id,
		   uint32_t *ret_field, const void **ret_msg, size_t *ret_len)
{
	struct cursor c = { data, (const unsigned char *)data + len };
	uint64_t num = 0, head[3] = { 0 };
	const unsigned char *bytes = NULL, *msg = NULL;
	uint32_t field, wire, msg_field = 0;
	bool seen[3] = { false };
	size_t msg_len = 0;

	while (c.p < c.end) {
		if (!take_field(&c, &field, &wire, &num, &bytes))
			return -EPROTO;
		if (field == FIELD_TYPE || field == FIELD_ID) {
			if (wire != WIRE_VARINT || num > UINT32_MAX)
				return -EPROTO;
			head[field] = num;
			seen[field] = true;
		} else if (wire == WIRE_BYTES && !msg_field) {
			msg_field = field;
			msg = bytes;
			msg_len = num;
		} else if (wire == WIRE_BYTES && field == msg_field) {
			return -EPROTO; /* would have to be merged */
		}
	}
	if (!seen[FIELD_TYPE] || !seen[FIELD_ID])
		return -EPROTO;
	*ret_type = head[FIELD_TYPE];
	*ret_id = head[FIELD_ID];
	*ret_field = msg_field;
	*ret_msg = msg;
	*ret_len = msg_len;
	return 0;
}

static bool is_text(const unsigned char *p, uint64_t len)
{
	if (!len)
		return false;
	while (len) {
		size_t n = utf8_char_bytes((const char *)p, len);

		if (!n || p[0] < 0x20 || p[0] == 0x7f)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

bool img_first_text(const void *msg, size_t len, const char **ret_text, size_t *ret_len)
{
	struct cursor c = { msg, (const unsigned char *)msg + len };
	const unsigned char *bytes = NULL;
	uint32_t field, wire;
	uint64_t num = 0;

	while (c.p < c.end && take_field(&c, &field, &wire, &num, &bytes)) {
		if (wire != WIRE_BYTES || !is_text(bytes, num))
			continue;
		*ret_text = (const char *)bytes;
		*ret_len = num;
		return true;
	}
	return false;
}
