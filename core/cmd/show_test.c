/* SPDX-License-Identifier: MIT */
/* stasis show: what is printed for small sets of images, good and hostile ones. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "core.pb-c.h"
#include "fdinfo.pb-c.h"
#include "image.h"
#include "inventory.pb-c.h"
#include "options.h"
#include "pstree.pb-c.h"
#include "show.h"

/* last: it has a macro fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NO_ID CR_IMG_NO_ID

struct fixture {
	struct session *s;
	struct options *o;
	char *dir;
	struct buf out; /* what cmd_show() printed */
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = xstrdup("/tmp/show-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->o = options_new();
	log_set_level(0);
	assert_int_equal(options_set(f->o, "images-dir", f->dir), 0);
	f->s = session_new(CR_MODE_DUMP, f->o);
	assert_int_equal(images_open(f->s), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	images_discard(f->s);
	session_free(f->s);
	options_free(f->o);
	rmdir(f->dir);
	free(f->dir);
	buf_free(&f->out);
	free(f);
	return 0;
}

static void put_task(struct fixture *f, uint32_t pid, uint32_t ppid, uint32_t state, char *comm)
{
	PstreeEntry e = PSTREE_ENTRY__INIT;
	CoreEntry core = CORE_ENTRY__INIT;
	TaskCoreEntry tc = TASK_CORE_ENTRY__INIT;
	TaskKobjIdsEntry ids = TASK_KOBJ_IDS_ENTRY__INIT;
	uint32_t threads[] = { pid, pid + 1000 };

	e.pid = e.pgid = e.sid = pid;
	e.ppid = ppid;
	e.threads = threads;
	e.n_threads = 2;
	assert_int_equal(img_append_msg(f->s, &img_pstree, NO_ID, &e.base), 0);
	core.mtype = CORE_ENTRY__MARCH__X86_64;
	tc.task_state = state;
	tc.exit_code = 7 << 8;
	tc.comm = comm;
	core.tc = &tc;
	ids.files_id = 5;
	core.ids = &ids;
	assert_int_equal(img_append_msg(f->s, &img_core, pid, &core.base), 0);
}

static void put_fd(struct fixture *f, uint32_t fd, uint32_t type, uint32_t id)
{
	FdinfoEntry e = FDINFO_ENTRY__INIT;

	e.fd = fd;
	e.type = (FdTypes)type;
	e.id = id;
	e.flags = 1;
	assert_int_equal(img_append_msg(f->s, &img_fdinfo, 5, &e.base), 0);
}

static void put_inventory(struct fixture *f)
{
	InventoryEntry inv = INVENTORY_ENTRY__INIT;

	inv.img_version = 2;
	inv.has_fdinfo_per_id = inv.fdinfo_per_id = 1;
	assert_int_equal(img_append_msg(f->s, &img_inventory, NO_ID, &inv.base), 0);
}

/* Runs the command on what was written; returns its result. */
static int show(struct fixture *f)
{
	int saved = dup(STDOUT_FILENO), r;
	FILE *tmp = tmpfile();
	char chunk[4096];
	size_t n;

	assert_int_equal(images_finish(f->s), 0);
	fflush(stdout);
	dup2(fileno(tmp), STDOUT_FILENO);
	/* in a session of its own, which does not know what this one has created */
	struct session *s = session_new(CR_MODE_RESTORE, f->o);
	char *argv[] = { f->dir, NULL };

	r = cmd_show(s, 1, argv);
	session_free(s);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(tmp);
	buf_free(&f->out);
	while ((n = fread(chunk, 1, sizeof(chunk), tmp)) > 0)
		buf_add(&f->out, chunk, n);
	buf_add(&f->out, "", 0);
	fclose(tmp);
	return r;
}

#define assert_has(f, str) assert_non_null(strstr((f)->out.p, (str)))

static void text(void **state)
{
	struct fixture *f = *state;

	put_inventory(f);
	put_task(f, 10, 0, 1, "init");
	put_task(f, 12, 10, 2, "gone");
	put_task(f, 11, 10, 3, "\033[31mred\xff");
	put_fd(f, 3, FD_TYPES__REG, 1);
	put_fd(f, 4, 4711, 2);
	assert_int_equal(img_append_file(f->s, 1, 1, 3, "\x08\1\x32\6/tmp/x", 10), 0);
	assert_int_equal(show(f), 0);
	assert_has(f, "version 2, 3 tasks");
	assert_has(f, "     10       0      10      10 alive    init [threads 10 1010]\n");
	assert_has(f, "     12      10      12      12 zombie     gone (exit status 7)\n");
	assert_has(f, "stopped    \\x1b[31mred\\xff [");
	assert_has(f, "  fd 3     REG        file 1      cloexec /tmp/x\n");
	assert_has(f, "  fd 4     type 4711  file 2      cloexec\n");
	assert_has(f, "  descriptors shared with task 10\n");
}

static void json(void **state)
{
	struct fixture *f = *state;

	put_inventory(f);
	put_task(f, 10, 0, 1, "a\"b\\c\n\xff\xc3\xa4");
	put_fd(f, 3, FD_TYPES__EVENTFD, 1);
	assert_int_equal(options_set(f->o, "json", NULL), 0);
	assert_int_equal(show(f), 0);
	assert_has(f, "{\"pid\":10,\"ppid\":0,\"pgid\":10,\"sid\":10,\"state\":\"alive\"");
	assert_has(f, "\"comm\":\"a\\\"b\\\\c\\u000a\\ufffd\xc3\xa4\",\"threads\":[10,1010]");
	assert_has(f, "\"descriptors\":[{\"fd\":3,\"type\":\"EVENTFD\",\"file\":1,\"flags\":1,\"cloexec\":true}]}");
}

/* Parents that are missing, later, or the task itself: all are shown, none twice. */
static void odd_parents(void **state)
{
	struct fixture *f = *state;

	put_inventory(f);
	put_task(f, 10, 11, 1, "a");
	put_task(f, 11, 10, 1, "b");
	put_task(f, 12, 12, 1, "c");
	put_task(f, 13, 999, 1, "d");
	assert_int_equal(show(f), 0);
	assert_has(f, "     11      10      11      11 alive      b");
	assert_has(f, "     12      12      12      12 alive    c");
	assert_has(f, "     13     999      13      13 alive    d");
}

/* A chain so long that recursion would overflow the stack. */
static void deep_tree(void **state)
{
	enum { TASKS = 100000 };
	struct fixture *f = *state;
	PstreeEntry e = PSTREE_ENTRY__INIT;

	put_inventory(f);
	for (e.pid = 1; e.pid <= TASKS; e.pid++) {
		e.ppid = e.pid - 1;
		assert_int_equal(img_append_msg(f->s, &img_pstree, NO_ID, &e.base), 0);
	}
	assert_int_equal(show(f), 0);
	assert_has(f, "100000 tasks");
}

static void no_images(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(show(f), -ENOENT);
	assert_int_equal(f->out.len, 0);
}

static void pid_twice(void **state)
{
	struct fixture *f = *state;

	put_inventory(f);
	put_task(f, 10, 0, 1, "a");
	put_task(f, 10, 0, 1, "a");
	assert_int_equal(show(f), -EPROTO);
	assert_int_equal(f->out.len, 0);
}

static void damaged(void **state)
{
	struct fixture *f = *state;

	put_inventory(f);
	put_task(f, 10, 0, 1, "a");
	assert_int_equal(img_append(f->s, &img_files, NO_ID, "\x08", 1), 0);
	assert_int_equal(show(f), -EPROTO);
	assert_int_equal(f->out.len, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(text), T(json), T(odd_parents), T(deep_tree), T(no_images), T(pid_twice), T(damaged),
	};

	log_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
