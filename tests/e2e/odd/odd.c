/* SPDX-License-Identifier: MIT */
/*
 * A plugin that does what --odd says, when it meets a file named odd-file: crash, call a service where it must not,
 * fail without a reason.  For tests/e2e/plugin_trouble.sh.  --odd-mark DIR: it keeps a state of every task, its pid,
 * and the restored task makes a directory DIR/PID of it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

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

/* ---- a state of each task ---- */

static const struct cr_img_type mark_image = { .size = sizeof(mark_image), .name = "x-odd-mark", .magic = 0x0dd0dd01 };
static const struct cr_img_type *const images[] = { &mark_image, NULL };

static int mark_check(struct cr_session *s, struct cr_task *t)
{
	return is(s, "refuse-task") ? s->core->refuse(s, "another --odd", "task %d is odd", s->core->task_vpid(t)) : 0;
}

static int mark_dump(struct cr_session *s, struct cr_task *t)
{
	pid_t pid = s->core->task_vpid(t);

	return s->core->option(s, "odd-mark") ? s->core->img_append(s, &mark_image, (uint64_t)pid, &pid, sizeof(pid)) : 0;
}

/* 1: there is a mark, and it is the task's; 0: none. */
static int read_mark(struct cr_session *s, struct cr_task *t)
{
	const struct cr_core *c = s->core;
	struct cr_reader *r;
	pid_t pid = c->task_vpid(t);
	const void *data;
	size_t len;
	int err = c->img_open(s, &mark_image, (uint64_t)pid, &r);

	if (err < 0)
		return err == -2 ? 0 : err;
	err = c->img_next(r, &data, &len);
	if (err == 1 && (len != sizeof(pid) || memcmp(data, &pid, len)))
		err = c->fail(s, 71, "the mark of task %d is another one's", pid);
	c->img_close(r);
	return err;
}

static int mark_load(struct cr_session *s, struct cr_task *t)
{
	int err = read_mark(s, t);

	return err < 0 ? err : 0;
}

static int mark_plan(struct cr_session *s, struct cr_task *t)
{
	const char *dir = s->core->option(s, "odd-mark");
	char path[4096];
	uint64_t at;
	int err = dir ? read_mark(s, t) : 0;

	if (err <= 0)
		return err;
	snprintf(path, sizeof(path), "%s/%d", dir, s->core->task_vpid(t));
	err = s->core->plan_data(s, t, path, strlen(path) + 1, &at);
	if (!err) {
		const struct cr_arg args[6] = { CR_IMM(at), CR_IMM(0755) };

		err = s->core->plan_syscall(s, t, CR_STAGE_LATE, SYS_mkdir, args, CR_WANT_ZERO);
	}
	return err;
}

static const struct cr_task_state mark = {
	.size = sizeof(mark), .name = "mark", .check = mark_check, .dump = mark_dump, .load = mark_load, .plan = mark_plan,
};
static const struct cr_task_state *const task_states[] = { &mark, NULL };

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
static const struct cr_option mark_option = {
	.size = sizeof(mark_option), .name = "odd-mark", .kind = CR_OPT_STRING, .arg = "DIR", .help = "Keep a mark of each task.",
};
static const struct cr_option *const options[] = { &odd_option, &mark_option, NULL };

static const struct cr_plugin odd = {
	.size = sizeof(odd),
	.abi = CR_ABI,
	.name = "odd",
	.version = "1",
	.summary = "does things wrong",
	.options = options,
	.images = images,
	.files = kinds,
	.task_states = task_states,
	.restored = odd_restored,
};
CR_PLUGIN_REGISTER(odd);
