/* SPDX-License-Identifier: MIT */
/* Unit tests of the parsers of core/proc: real text, awkward names, huge numbers, text that was cut off. */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char stat_text[] =
	"7273 (cat) R 7271 7270 3735 34816 -1 4194304 101 0 0 0 0 0 0 0 20 -3 2 0 172769 3133440 383 "
	"18446744073709551615 94827195559936 94827195579817 140724784239136 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 "
	"94827195595824 94827195597440 94827954565120 140724784241270 140724784241308 140724784241309 "
	"140724784242667 256\n";

static void test_stat(void **state)
{
	struct proc_stat st;

	assert_int_equal(proc_parse_stat(stat_text, &st), 0);
	assert_int_equal(st.pid, 7273);
	assert_string_equal(st.comm, "cat");
	assert_int_equal(st.state, 'R');
	assert_int_equal(st.ppid, 7271);
	assert_int_equal(st.pgrp, 7270);
	assert_int_equal(st.session, 3735);
	assert_int_equal(st.tty_nr, 34816);
	assert_int_equal(st.tpgid, -1);
	assert_int_equal(st.flags, 4194304);
	assert_int_equal(st.nice, -3);
	assert_int_equal(st.num_threads, 2);
	assert_int_equal(st.start_time, 172769);
	assert_int_equal(st.start_code, 94827195559936);
	assert_int_equal(st.end_code, 94827195579817);
	assert_int_equal(st.start_stack, 140724784239136);
	assert_int_equal(st.exit_signal, 17);
	assert_int_equal(st.processor, 1);
	assert_int_equal(st.start_data, 94827195595824);
	assert_int_equal(st.end_data, 94827195597440);
	assert_int_equal(st.start_brk, 94827954565120);
	assert_int_equal(st.arg_start, 140724784241270);
	assert_int_equal(st.arg_end, 140724784241308);
	assert_int_equal(st.env_start, 140724784241309);
	assert_int_equal(st.env_end, 140724784242667);
	assert_int_equal(st.exit_code, 256);
}

static void test_stat_names(void **state)
{
	static const struct {
		const char *in, *out;
	} names[] = {
		{ "a) R 1 (b", "a) R 1 (b" }, { ")", ")" },	       { "", "" },
		{ "x\\ny", "x\ny" },	      { "x\\012y", "x\ny" },   { "back\\\\slash", "back\\slash" },
		{ "\\", "\\" },		      { "a very long kworker name/u9:1", "a very long kwor" },
	};
	const char *rest = strchr(stat_text, ')') + 1;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *text = xasprintf("5 (%s)%s", names[i].in, rest);
		struct proc_stat st;

		assert_int_equal(proc_parse_stat(text, &st), 0);
		assert_string_equal(st.comm, names[i].out);
		assert_int_equal(st.ppid, 7271);
		free(text);
	}
}

static void test_stat_bad(void **state)
{
	static const char *const bad[] = {
		"", "x", "1", "1 ", "1 (a", "1 (a)", "1 (a) ", "1 (a) R", "1 (a) R 1", "-1 (a) R 1", "1 a R 1 2 3",
		"99999999999 (a) R 1",
	};
	struct proc_stat st;
	size_t last = sizeof(stat_text) - sizeof("256\n");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(proc_parse_stat(bad[i], &st), -EPROTO);
	for (size_t n = 0; n <= last; n++) {
		char *text = xasprintf("%.*s", (int)n, stat_text);

		assert_int_equal(proc_parse_stat(text, &st), -EPROTO);
		free(text);
	}
	char *huge = xasprintf("5 (a) R 99999999999999999999999%s", strchr(stat_text, ')') + 3);

	assert_int_equal(proc_parse_stat(huge, &st), -EPROTO);
	free(huge);
}

#define STATUS_TEXT(name, groups, nspid) \
	"Name:\t" name "\nUmask:\t0027\nState:\tS (sleeping)\nTgid:\t812\nNgid:\t0\nPid:\t812\nPPid:\t7\n" \
	"TracerPid:\t3\nUid:\t1000\t1001\t1002\t4294967294\nGid:\t5\t6\t7\t8\nFDSize:\t256\nGroups:\t" groups "\n" \
	"NStgid:\t812\t1\nNSpid:\t" nspid "\nNSpgid:\t812\t1\nNSsid:\t0\t0\nVmPeak:\t    3060 kB\nTHP_enabled:\t0\n" \
	"untag_mask:\t0xffffffffffffffff\nThreads:\t3\nSigQ:\t0/96365\nSigPnd:\t0000000000000001\n" \
	"ShdPnd:\t0000000000000002\nSigBlk:\t8000000000000003\nSigIgn:\t0000000000000004\nSigCgt:\t0000000000000005\n" \
	"CapInh:\t0000000000000006\nCapPrm:\t000001fffeffffff\nCapEff:\t0000000000000008\nCapBnd:\t0000000000000009\n" \
	"CapAmb:\t000000000000000a\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t4\n"

static void test_status(void **state)
{
	struct proc_status st;

	assert_int_equal(proc_parse_status(STATUS_TEXT("a\\nb\\\\ Uid:", "4 24 1000 ", "812\t1"), &st), 0);
	assert_string_equal(st.comm, "a\nb\\ Uid:");
	assert_int_equal(st.state, 'S');
	assert_true(st.has_umask);
	assert_int_equal(st.umask, 027);
	assert_int_equal(st.tgid, 812);
	assert_int_equal(st.ppid, 7);
	assert_int_equal(st.tracer, 3);
	assert_int_equal(st.uid[1], 1001);
	assert_int_equal(st.uid[3], 4294967294u);
	assert_int_equal(st.gid[3], 8);
	assert_int_equal(st.groups.n, 3);
	assert_int_equal(st.groups.v[2], 1000);
	assert_int_equal(st.nspid.n, 2);
	assert_int_equal(st.nspid.nr[1], 1);
	assert_int_equal(st.nssid.nr[0], 0);
	assert_int_equal(st.thp_enabled, 0);
	assert_int_equal(st.threads, 3);
	assert_true(st.sigblk == 0x8000000000000003ull);
	assert_int_equal(st.shdpnd, 2);
	assert_int_equal(st.sigcgt, 5);
	assert_int_equal(st.cap_prm, 0x1fffeffffff);
	assert_int_equal(st.cap_amb, 10);
	assert_int_equal(st.no_new_privs, 1);
	assert_int_equal(st.seccomp, 2);
	assert_int_equal(st.seccomp_filters, 4);
	proc_status_free(&st);
}

static void test_status_bad(void **state)
{
	static const char text[] = STATUS_TEXT("a", "", "812");
	size_t need = strstr(text, "Seccomp:") - text;
	struct proc_status st;
	struct buf b = { 0 };

	assert_int_equal(proc_parse_status(text, &st), 0);
	assert_int_equal(st.groups.n, 0);
	proc_status_free(&st);
	/* cut anywhere before the optional lines at the end */
	for (size_t n = 0; n + 3 < need; n++) {
		char *cut = xasprintf("%.*s", (int)n, text);

		assert_int_equal(proc_parse_status(cut, &st), -EPROTO);
		free(cut);
	}
	assert_int_equal(proc_parse_status(STATUS_TEXT("a", "4294967296", "1"), &st), -EPROTO);
	assert_int_equal(proc_parse_status(STATUS_TEXT("a", "1 x", "1"), &st), -EPROTO);
	assert_int_equal(proc_parse_status(STATUS_TEXT("a", "", ""), &st), -EPROTO);
	assert_int_equal(proc_parse_status(STATUS_TEXT("a", "", "99999999999"), &st), -EPROTO);
	for (int i = 0; i < 100; i++) /* too many levels */
		buf_printf(&b, "NSpid:\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1"
			       "\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\n");
	buf_printf(&b, "%s", text);
	assert_int_equal(proc_parse_status(b.p, &st), -EPROTO);
	buf_free(&b);
}

static int parse_maps(const char *text, vma_list *l)
{
	return proc_parse_maps(text, strlen(text), l);
}

static void test_maps(void **state)
{
	static const char text[] =
		"00400000-0041f000 r--p 00001000 fe:00 332383                     /usr/bin/a b (deleted)\n"
		"7f5800000000-7f5800021000 rw-s 00000000 00:01 1069                       /dev/zero (deleted)\n"
		"7f5900000000-7f5900021000 ---p 00000000 00:00 0 \n"
		"7fff00000000-7fff00001000 rw-p 00000000 08:101 18446744073709551615 /x\\012y\\134 \\01\n"
		"7ffd02eaf000000-7ffd02ed0000000 rw-p 00000000 00:00 0      [stack]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
	vma_list l = { 0 };

	assert_int_equal(parse_maps(text, &l), 0);
	assert_int_equal(l.n, 6);
	assert_int_equal(l.v[0].start, 0x400000);
	assert_int_equal(l.v[0].end, 0x41f000);
	assert_int_equal(l.v[0].pgoff, 4096);
	assert_int_equal(l.v[0].prot, PROT_READ);
	assert_int_equal(l.v[0].flags, MAP_PRIVATE);
	assert_int_equal(l.v[0].dev_major, 0xfe);
	assert_int_equal(l.v[0].ino, 332383);
	assert_string_equal(l.v[0].path, "/usr/bin/a b (deleted)");
	assert_int_equal(l.v[1].flags, MAP_SHARED);
	assert_int_equal(l.v[1].prot, PROT_READ | PROT_WRITE);
	assert_int_equal(l.v[2].prot, 0);
	assert_string_equal(l.v[2].path, "");
	assert_int_equal(l.v[3].dev_minor, 0x101);
	assert_true(l.v[3].ino == UINT64_MAX);
	assert_string_equal(l.v[3].path, "/x\ny\\134 \\01");
	assert_string_equal(l.v[4].path, "[stack]");
	assert_true(l.v[5].end == 0xffffffffff601000ull);
	assert_int_equal(l.v[5].prot, PROT_EXEC);
	proc_vmas_free(&l);
	assert_int_equal(parse_maps("", &l), 0);
	assert_int_equal(l.n, 0);
}

static void test_smaps(void **state)
{
	static const char text[] =
		"7ffd02eaf000-7ffd02ed0000 rw-p 00000000 00:00 0                          [stack]\n"
		"Size:                132 kB\nRss:                   8 kB\nAnonymous:             4 kB\n"
		"Swap:                 12 kB\nSwapPss:               0 kB\nTHPeligible:           0\n"
		"ProtectionKey:         3\n"
		"VmFlags: rd wr mr mw me gd lo nr zz dd ac \n"
		"7ffe00000000-7ffe00200000 rw-s 00000000 00:0f 77 /anon_hugepage (deleted)\n"
		"VmFlags: rd wr sh ht";
	char *whole = xasprintf("%s\n", text);
	vma_list l = { 0 };

	assert_int_equal(parse_maps(text, &l), -EPROTO);
	assert_int_equal(parse_maps(whole, &l), 0);
	assert_int_equal(l.n, 2);
	assert_int_equal(l.v[0].rss, 8192);
	assert_int_equal(l.v[0].anonymous, 4096);
	assert_int_equal(l.v[0].swap, 12288);
	assert_int_equal(l.v[0].pkey, 3);
	assert_int_equal(l.v[0].flags, MAP_PRIVATE | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE);
	assert_true(l.v[0].vmflags == (VMF(RD) | VMF(WR) | VMF(MR) | VMF(MW) | VMF(ME) | VMF(GD) | VMF(LO) | VMF(NR) |
				       VMF(DD) | VMF(AC)));
	assert_int_equal(l.v[1].flags, MAP_SHARED | MAP_HUGETLB);
	assert_true(l.v[1].vmflags == (VMF(RD) | VMF(WR) | VMF(SH) | VMF(HT)));
	proc_vmas_free(&l);
	free(whole);
}

static void test_maps_bad(void **state)
{
	static const char *const bad[] = {
		"x\n", "Rss: 4 kB\n", "1000\n", "1000-2000\n", "1000-2000 rwxp\n", "2000-1000 rwxp 0 0:0 0\n",
		"1000-1000 rwxp 0 0:0 0\n", "1000-2001 rwxp 0 0:0 0\n", "1000-2000 rwx- 0 0:0 0\n",
		"1000-2000 rwxp 1 0:0 0\n", "1000-2000 rwxp 0 0-0 0\n", "1000-2000 rwxp 0 0:0 x\n",
		"1000-2000 rwxp 0 0:0 12x\n", "10000000000000000-20000000000000000 rwxp 0 0:0 0\n",
		"1000-3000 rwxp 0 0:0 0\n2000-4000 rwxp 0 0:0 0\n", "3000-4000 rwxp 0 0:0 0\n1000-2000 rwxp 0 0:0 0\n",
		"1000-2000 rwxp 0 100000000:0 0\n", "1000-2000 rwxp 0 0:0 18446744073709551616\n", "\n",
		"1000-2000 rwxp 0 0:0 0\nRss: 99999999999999999999 kB\n", "1000-2000 rwxp 0 0:0 0\nSwap: x\n",
	};
	vma_list l;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_maps(bad[i], &l), -EPROTO);
}

static void test_maps_cut(void **state)
{
	static const char text[] = "00400000-0041f000 r--p 00001000 fe:00 332383     /usr/bin/a b\n"
				   "Rss:                   8 kB\nVmFlags: rd wr\n";
	vma_list l;

	for (size_t n = 1; n < sizeof(text) - 1; n++) {
		char *copy = xcalloc(1, n); /* exact size: the sanitizer sees reads past the end */
		bool at_line_end = text[n - 1] == '\n';

		memcpy(copy, text, n);
		assert_int_equal(proc_parse_maps(copy, n, &l), at_line_end ? 0 : -EPROTO);
		if (at_line_end)
			proc_vmas_free(&l);
		free(copy);
	}
}

static void test_fdinfo(void **state)
{
	struct proc_fdinfo fi;

	assert_int_equal(proc_parse_fdinfo("pos:\t12\nflags:\t02100002\nmnt_id:\t25\nino:\t332383\n"
					   "lock:\t1: FLOCK\npos:\t99\n", &fi), 0);
	assert_int_equal(fi.pos, 12);
	assert_int_equal(fi.flags, 02100002);
	assert_int_equal(fi.mnt_id, 25);
	assert_int_equal(fi.ino, 332383);
	assert_int_equal(proc_parse_fdinfo("pos:\t-1\nflags:\t00\n", &fi), 0);
	assert_int_equal(fi.pos, -1);
	assert_int_equal(fi.mnt_id, -1);
	assert_int_equal(proc_parse_fdinfo("", &fi), -EPROTO);
	assert_int_equal(proc_parse_fdinfo("pos:\t0\n", &fi), -EPROTO);
	assert_int_equal(proc_parse_fdinfo("pos:\t0\nflags:\t9\n", &fi), -EPROTO);
	assert_int_equal(proc_parse_fdinfo("pos:\t\nflags:\t2\n", &fi), -EPROTO);
	assert_int_equal(proc_parse_fdinfo("pos:\t9223372036854775808\nflags:\t2\n", &fi), -EPROTO);
}

static void test_limits(void **state)
{
	struct proc_limits lim;
	struct rlimit r;

	assert_int_equal(proc_read_limits(getpid(), &lim), 0);
	for (int i = 0; i < PROC_NLIMITS; i++) {
		assert_int_equal(getrlimit(i, &r), 0);
		assert_true(lim.cur[i] == r.rlim_cur && lim.max[i] == r.rlim_max);
	}
	assert_int_equal(proc_parse_limits("", &lim), -EPROTO);
	assert_int_equal(proc_parse_limits("Max cpu time   unlimited\n", &lim), -EPROTO);
	assert_int_equal(proc_parse_limits("Max cpu time   unlimited  12x \n", &lim), -EPROTO);
}

static void test_timers(void **state)
{
	static const char text[] = "ID: 0\nsignal: 60/00007ffd1f2a3b40\nnotify: signal/pid.2634\nClockID: 1\n"
				   "ID: 7\nsignal: 10/0000000000000007\nnotify: none/tid.12\nClockID: -6\n";
	timer_list l = { 0 };

	assert_int_equal(proc_parse_timers(text, &l), 0);
	assert_int_equal(l.n, 2);
	assert_int_equal(l.v[0].signo, 60);
	assert_int_equal(l.v[0].sival_ptr, 0x7ffd1f2a3b40);
	assert_int_equal(l.v[0].notify, SIGEV_SIGNAL);
	assert_int_equal(l.v[0].target, 2634);
	assert_int_equal(l.v[1].id, 7);
	assert_int_equal(l.v[1].notify, SIGEV_NONE | SIGEV_THREAD_ID);
	assert_int_equal(l.v[1].clockid, -6);
	vec_free(&l);
	for (size_t n = 1; n < sizeof(text) - 1; n++) {
		char *cut = xasprintf("%.*s", (int)n, text);
		int err = proc_parse_timers(cut, &l);

		if (!err)
			assert_int_equal(l.n, 1);
		else
			assert_int_equal(err, -EPROTO);
		assert_true(err || strstr(cut, "ClockID: 1\n"));
		if (!err)
			vec_free(&l);
		free(cut);
	}
}

/* Live text of this very kernel. */
static void test_live_self(void **state)
{
	static const char name[] = "a) (\n\\ b";
	struct proc_stat st;
	struct proc_status ss;
	vma_list l;
	u64_list auxv = { 0 };
	int_list n = { 0 };
	char old[17] = "";
	bool page_size = false;

	prctl(PR_GET_NAME, old);
	prctl(PR_SET_NAME, name);
	assert_int_equal(proc_read_stat(getpid(), 0, &st), 0);
	assert_string_equal(st.comm, name);
	assert_int_equal(proc_read_stat(getpid(), getpid(), &st), 0);
	assert_int_equal(st.ppid, getppid());
	assert_int_equal(proc_read_status(getpid(), 0, &ss), 0);
	assert_string_equal(ss.comm, name);
	assert_int_equal(ss.nspid.nr[ss.nspid.n - 1], getpid());
	proc_status_free(&ss);
	prctl(PR_SET_NAME, old);

	assert_int_equal(proc_read_auxv(getpid(), &auxv), 0);
	assert_int_equal(auxv.n % 2, 0);
	for (size_t i = 0; i < auxv.n; i += 2)
		page_size |= auxv.v[i] == 6 && auxv.v[i + 1] == PAGE_BYTES;
	assert_true(page_size);
	vec_free(&auxv);

	assert_int_equal(proc_list_threads(getpid(), &n), 0);
	assert_int_equal(n.v[0], getpid());
	vec_free(&n);
	assert_int_equal(proc_list_fds(getpid(), &n), 0);
	assert_true(n.n >= 3 && n.v[0] < n.v[1]);
	vec_free(&n);
	assert_int_equal(proc_read_smaps(getpid(), &l), 0);
	assert_true(l.n > 5);
	proc_vmas_free(&l);
	assert_int_equal(proc_read_stat(0x7ffffff0, 0, &st), -ENOENT);
	assert_int_equal(proc_read_smaps(0x7ffffff0, &l), -ENOENT);
}

static void test_live_smaps(void **state)
{
	char path[] = "/tmp/stasis-proc\n (deleted) XXXXXX";
	int fd = mkstemp(path);
	size_t many = 3000, found = 0;
	char *area;
	vma_list l;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGE_BYTES), 0);
	area = mmap(NULL, many * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(area != MAP_FAILED);
	/* many mappings: more than a megabyte of text */
	for (size_t i = 0; i < many; i += 2)
		assert_true(mmap(area + i * PAGE_BYTES, PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) !=
			    MAP_FAILED);
	assert_int_equal(proc_read_smaps(getpid(), &l), 0);
	for (size_t i = 0; i < l.n; i++)
		if (!strcmp(l.v[i].path, path) && l.v[i].flags == MAP_SHARED && l.v[i].vmflags & VMF(MW))
			found++;
	assert_int_equal(found, many / 2);
	proc_vmas_free(&l);
	munmap(area, many * PAGE_BYTES);
	unlink(path);
	close(fd);
}

static void test_live_children(void **state)
{
	pid_t a = fork(), b;
	int_list l = { 0 };

	if (!a)
		for (;;)
			pause();
	b = fork();
	if (!b)
		for (;;)
			pause();
	assert_int_equal(proc_list_children(getpid(), &l), 0);
	assert_int_equal(l.n, 2);
	assert_true(l.v[0] < l.v[1]);
	assert_true(l.v[0] == MIN_OF(a, b) && l.v[1] == MAX_OF(a, b));
	vec_free(&l);
	kill(a, SIGKILL);
	kill(b, SIGKILL);
	waitpid(a, NULL, 0);
	waitpid(b, NULL, 0);
}

static void test_live_timers(void **state)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_ptr = (void *)0x1234 };
	_cleanup_buf_ struct buf b = { 0 };
	timer_list l = { 0 };
	timer_t id;

	assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &id), 0);
	assert_int_equal(read_file(AT_FDCWD, "/proc/self/timers", &b), 0);
	assert_int_equal(proc_parse_timers(b.p, &l), 0);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.v[0].signo, SIGUSR1);
	assert_int_equal(l.v[0].sival_ptr, 0x1234);
	assert_int_equal(l.v[0].clockid, CLOCK_MONOTONIC);
	assert_int_equal(l.v[0].notify, SIGEV_SIGNAL);
	vec_free(&l);
	timer_delete(id);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stat),	     cmocka_unit_test(test_stat_names),
		cmocka_unit_test(test_stat_bad),     cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_bad),   cmocka_unit_test(test_maps),
		cmocka_unit_test(test_smaps),	     cmocka_unit_test(test_maps_bad),
		cmocka_unit_test(test_maps_cut),     cmocka_unit_test(test_fdinfo),
		cmocka_unit_test(test_limits),	     cmocka_unit_test(test_timers),
		cmocka_unit_test(test_live_self),    cmocka_unit_test(test_live_smaps),
		cmocka_unit_test(test_live_children), cmocka_unit_test(test_live_timers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
