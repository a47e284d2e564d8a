/* SPDX-License-Identifier: MIT */
/* JSON strings for the commands that print JSON. */
#include "cmd.h"
#include "text.h"

void json_string(FILE *out, const char *text)
{
	_cleanup_buf_ struct buf b = { 0 };

	buf_add_json(&b, text);
	fputs(b.p, out);
}
