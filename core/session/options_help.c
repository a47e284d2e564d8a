/* SPDX-License-Identifier: MIT */
/*
 * What people read about options: --help and the options part of the man page,
 * both made from the declarations alone.
 */
#include "options_impl.h"

#include <string.h>

#define HELP_COLUMN 26
#define HELP_WIDTH 80

static bool applies(const struct cr_option *def, uint32_t mode)
{
	return !def->modes || (mode && (def->modes & (1u << mode)));
}

/* "=SIZE", " DIR", "[=NUM]" or nothing. */
static void add_arg(struct buf *b, const struct cr_option *def)
{
	const char *arg = def->arg ? def->arg : "VALUE";

	if (!option_takes_value(def))
		return;
	if (option_value_optional(def))
		buf_printf(b, "[=%.*s]", (int)strcspn(arg + 1, "]"), arg + 1);
	else
		buf_printf(b, " %s", arg);
}

/* Breaks text into lines of HELP_WIDTH, the first one starting at column at. */
static void print_wrapped(FILE *out, const char *text, int at)
{
	while (*text) {
		int room = HELP_WIDTH - HELP_COLUMN, n = strlen(text);

		if (n > room)
			for (n = room; n > 0 && text[n] != ' '; n--)
				;
		if (n <= 0)
			n = strcspn(text, " ");
		fprintf(out, "%*s%.*s\n", HELP_COLUMN - at, "", n, text);
		at = 0;
		text += n;
		text += strspn(text, " ");
	}
}

static void print_option(FILE *out, const struct cr_option *def)
{
	_cleanup_buf_ struct buf head = { 0 }, text = { 0 };
	char letter = option_letter(def->name);

	if (letter)
		buf_printf(&head, "  -%c, --%s", letter, def->name);
	else
		buf_printf(&head, "      --%s", def->name);
	add_arg(&head, def);
	buf_printf(&text, "%s", def->help ? def->help : "");
	if (def->fallback)
		buf_printf(&text, " (%s)", def->fallback);
	fputs(head.p, out);
	if (head.len + 2 > HELP_COLUMN) {
		fputc('\n', out);
		head.len = 0;
	}
	print_wrapped(out, text.p, head.len);
}

/* Options of one owner are together because each registers all of its own at once. */
void options_help(const struct options *o, FILE *out, uint32_t mode)
{
	const char *owner = NULL;

	for (size_t i = 0; i < o->all.n; i++) {
		const struct option_entry *e = &o->all.v[i];

		if (!applies(e->def, mode))
			continue;
		if (!owner || strcmp(owner, e->owner))
			fprintf(out, "\n%s%s:\n", strcmp(e->owner, "core") ? "Options of plugin " : "Options",
				strcmp(e->owner, "core") ? e->owner : "");
		owner = e->owner;
		print_option(out, e->def);
	}
}

/* ---- man page ---- */

/* Text that asciidoctor must not take for markup. */
static void man_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '^' || *text == '~')
			fprintf(out, "{%s}", *text == '^' ? "caret" : "tilde");
		else
			fputc(*text, out);
	}
}

static void man_option(FILE *out, const struct cr_option *def)
{
	_cleanup_buf_ struct buf arg = { 0 };
	char letter = option_letter(def->name);

	if (letter)
		fprintf(out, "*-%c*, ", letter);
	buf_add(&arg, "", 0);
	add_arg(&arg, def);
	fprintf(out, "*--%s*", def->name);
	if (arg.len)
		fprintf(out, "+++%s+++", arg.p);
	fprintf(out, "::\n");
	man_text(out, def->help ? def->help : "");
	if (def->modes) {
		static const char *const names[] = { NULL, "dump", "restore", "check" };
		const char *sep = "\nCommands: ";

		for (uint32_t m = CR_MODE_DUMP; m <= CR_MODE_CHECK; m++) {
			if (def->modes & (1u << m)) {
				fprintf(out, "%s*%s*", sep, names[m]);
				sep = ", ";
			}
		}
		fputc('.', out);
	}
	if (def->fallback) {
		fprintf(out, "\nDefault: ");
		man_text(out, def->fallback);
		fputs(strcmp(def->fallback, ".") ? "." : " (the current directory).", out);
	}
	fprintf(out, "\n\n");
}

void options_man(const struct options *o, FILE *out)
{
	const char *owner = NULL;

	for (size_t i = 0; i < o->all.n; i++) {
		const struct option_entry *e = &o->all.v[i];

		if (!owner || strcmp(owner, e->owner)) {
			if (strcmp(e->owner, "core"))
				fprintf(out, "=== Options of plugin %s\n\n", e->owner);
			else
				fprintf(out, "=== Options of the engine\n\n");
		}
		owner = e->owner;
		man_option(out, e->def);
	}
}
