/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdbool.h>
#include <string.h>

size_t utf8_char_bytes(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t c, least;
	size_t n;

	if (!len)
		return 0;
	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n > len)
		return 0;
	c = p[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	least = n == 4 ? 0x10000 : n == 3 ? 0x800 : 0x80;
	return c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

/* U+0080 to U+009F are control characters, too. */
static bool is_control(const char *p)
{
	unsigned char c = *p;

	return c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)p[1] < 0xa0);
}

/* What is shown for the character at *text, up to 4 bytes, into out; moves *text behind it. */
static size_t next_visible(const char **text, size_t len, char out[8])
{
	size_t n = utf8_char_bytes(*text, len);

	if (n && !is_control(*text)) {
		memcpy(out, *text, n);
		*text += n;
		return n;
	}
	snprintf(out, 8, "\\x%02x", (unsigned char)*(*text)++);
	return 4;
}

void buf_add_visible(struct buf *b, const char *text)
{
	const char *end = text + strlen(text);
	char out[8];

	while (text < end)
		buf_add(b, out, next_visible(&text, end - text, out));
}

size_t text_visible(char *out, size_t size, const char *text)
{
	const char *end = text + strlen(text);
	size_t at = 0;

	while (text < end) {
		char one[8];
		size_t n = next_visible(&text, end - text, one);

		if (at + n >= size)
			break;
		memcpy(out + at, one, n);
		at += n;
	}
	out[at] = 0;
	return at;
}

void buf_add_json(struct buf *b, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	buf_printf(b, text ? "\"" : "null");
	for (size_t n; len; text += n, len -= n) {
		unsigned char c = *text;

		n = utf8_char_bytes(text, len);
		if (!n) {
			n = 1;
			buf_printf(b, "\\ufffd");
		} else if (c == '"' || c == '\\') {
			buf_printf(b, "\\%c", c);
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(b, "\\u%04x", c);
		} else {
			buf_add(b, text, n);
		}
	}
	if (text)
		buf_add(b, "\"", 1);
}
