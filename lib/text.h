/* SPDX-License-Identifier: MIT */
/*
 * text.h: text from programs, files and images, made fit to be shown.  Names may have any byte: none of them may steer a
 * terminal,
 * begin a line of its own in a log, or end a JSON string.
 */
#ifndef LIB_TEXT_H
#define LIB_TEXT_H

#include "util.h"

/*
 * Bytes of the well-formed UTF-8 character at p, of which len are there; 0 when there is none
 * (cut off, overlong, surrogate, past U+10FFFF).
 */
size_t utf8_char_bytes(const char *p, size_t len);
/* Appends text; bytes that are no UTF-8 and control characters as \xNN. */
void buf_add_visible(struct buf *b, const char *text);
/*
 * The same into out of size bytes, cut where it does not fit; returns the length without the NUL. size: not 0. Allocates
 * nothing.
 */
size_t text_visible(char *out, size_t size, const char *text);
/* Appends text as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. NULL: null. */
void buf_add_json(struct buf *b, const char *text);

#endif
