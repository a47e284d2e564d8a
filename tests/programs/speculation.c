/* SPDX-License-Identifier: MIT */
/*
 * Control of speculation (PR_SET_SPECULATION_CTRL), thread by thread and in a child, of each kind
 * that this CPU lets a task choose: switched off, off for good, off until exec, and left alone.
 */
#include "prog.h"

#include <pthread.h>
#include <sys/prctl.h>

#define KINDS 3 /* store bypass, indirect branches, L1D flush */

static const struct {
	const char *name;
	unsigned long want;
} ways[] = {
	{ "left alone", 0 }, { "enabled", PR_SPEC_ENABLE }, { "disabled", PR_SPEC_DISABLE },
	{ "disabled for good", PR_SPEC_FORCE_DISABLE }, { "disabled until exec", 1ul << 4 /* PR_SPEC_DISABLE_NOEXEC */ },
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };
static const char *const kinds[KINDS] = { "store bypass", "indirect branches", "L1D flush" };
static int *up;
static int threads_up;

static int get(int kind)
{
	return prctl(PR_GET_SPECULATION_CTRL, kind, 0, 0, 0);
}

static int choice(int kind)
{
	return get(kind) > 0 && get(kind) & PR_SPEC_PRCTL;
}

static void look(int *ret)
{
	for (int i = 0; i < KINDS; i++)
		ret[i] = get(i);
}

/* L1D flush is switched on, the others off; what a kind has not is left as it is. */
static void choose(int way)
{
	for (int i = 0; i < KINDS; i++)
		if (ways[way].want && choice(i))
			prctl(PR_SET_SPECULATION_CTRL, i, ways[way].want, 0, 0);
}

static void compare(int way, const int *was)
{
	for (int i = 0; i < KINDS; i++)
		if (get(i) != was[i])
			prog_fail("%s, %s: %#x, was %#x", kinds[i], ways[way].name, get(i), was[i]);
}

static void *thread(void *arg)
{
	int way = (int)(long)arg, was[KINDS];

	choose(way);
	look(was);
	prog_count(&threads_up);
	prog_wait_go();
	compare(way, was);
	/* for good means that */
	for (int i = 0; i < KINDS; i++)
		if (was[i] == (PR_SPEC_PRCTL | PR_SPEC_FORCE_DISABLE))
			CHECK(prctl(PR_SET_SPECULATION_CTRL, i, PR_SPEC_ENABLE, 0, 0) < 0 && errno == EPERM);
	return NULL;
}

static void child(void *arg)
{
	int was[KINDS];

	choose(3);
	look(was);
	prog_count(up);
	prog_wait_go();
	compare(3, was);
}

int main(int argc, char **argv)
{
	int was[KINDS], any = 0;
	pthread_t t[WAYS];
	pid_t pid;

	prog_init(argc, argv);
	for (int i = 0; i < KINDS; i++)
		any |= choice(i);
	look(was);
	if (!any)
		prog_skip("this CPU and kernel let a task choose no kind of speculation (PR_GET_SPECULATION_CTRL: %#x %#x %#x)",
			  was[0], was[1], was[2]);
	up = prog_shared(4096);
	for (long i = 0; i < WAYS; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)i) == 0);
	pid = prog_child(child, NULL);
	prog_wait_count(&threads_up, WAYS);
	prog_wait_count(up, 1);
	prog_ready();
	compare(0, was);
	for (int i = 0; i < WAYS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	prog_reap(pid);
	prog_ok();
}
