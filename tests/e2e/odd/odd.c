/* SPDX-License-Identifier: MIT */
/*
 * A plugin that does what --odd says, when it meets a file named odd-file: crash, call a service where it must not,
 * fail without a reason.  For tests/e2e/plugin_trouble.sh.
 */
#include <fcntl.h>
#include <string.h>

#include "cr-plugin.h"

#ifndef ODD_CONTEXT
#define ODD_CONTEXT CR_CTX_HOST
#endif

static int is(struct cr_session *s, const char *what)
{
	const char *odd = s->core->option(s, "odd");

	return odd && !strcmp(odd, what);
}

static void crash(void)
{
	*(volatile int *)(uintptr_t)8 = 0;
}

static int odd_match(const struct cr_file_info *info)
{
	const char *slash = info->link ? strrchr(info->link, '/') : NULL;

	return slash && !strcmp(slash, "/odd-file") ? CR_DEVICE : CR_NOT_MINE;
}

static int odd_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	if (is(s, "crash-check"))
		crash();
	return is(s, "silent") ? -5 : 0;
}

static int odd_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	if (is(s, "crash-dump"))
		crash();
	if (is(s, "misuse")) {
		int err = s->core->file_need(s, f, f);

		if (err)
			return err;
	}
	return s->core->file_message(s, f, "", 0);
}

static int odd_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	if (is(s, "crash-open"))
		crash();
	*ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? s->core->fail(s, 5, "/dev/null") : CR_OK;
}

static int odd_restored(struct cr_session *s)
{
	if (is(s, "crash-restored"))
		crash();
	return 0;
}

static const struct cr_file_kind odd_kind = {
	.size = sizeof(odd_kind),
	.name = "odd",
	.fd_type = 16,
	.field = 100777,
	.match = odd_match,
	.check = odd_check,
	.dump = odd_dump,
	.open = odd_open,
	.context = ODD_CONTEXT,
};
static const struct cr_file_kind *const kinds[] = { &odd_kind, NULL };

static const struct cr_option odd_option = {
	.size = sizeof(odd_option), .name = "odd", .kind = CR_OPT_STRING, .arg = "WHAT", .help = "What to do wrong.",
};
static const struct cr_option *const options[] = { &odd_option, NULL };

static const struct cr_plugin odd = {
	.size = sizeof(odd),
	.abi = CR_ABI,
	.name = "odd",
	.version = "1",
	.summary = "does things wrong",
	.options = options,
	.files = kinds,
	.restored = odd_restored,
};
CR_PLUGIN_REGISTER(odd);
