/* SPDX-License-Identifier: MIT */
/*
 * sysvsem.c: what the kernel takes back when a process ends: adjustments of System V semaphores (SEM_UNDO).
 *
 * Sets of semaphores belong to the IPC namespace and outlive the tree.  But when the tree is killed, the kernel gives
 * back what its processes had taken with SEM_UNDO, and a restored process has to take it again.  The kernel tells nobody what
 * a process has to give back, only whether there is a list (kcmp), which threads made by pthread_create(3) share even when it
 * is empty.  So the values before the dump are kept: at restore, a semaphore that was changed last by the end of that
 * process has been given back the difference, and the process takes it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "util.h"
#include "x-sysvsem.pb-c.h"

#define SETS_MAX 32768
#define VALUES_MAX 65536u
#define CLOCK_DOUBT 60 /* seconds that the clock may have been set since */

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
	struct seminfo *info;
};

static const struct cr_img_type img_undo = { sizeof(img_undo), "x-sysvsem", 0x58565345, 0 };

/* ---- dump ---- */

static int same_list(pid_t a, pid_t b)
{
	return syscall(SYS_kcmp, a, b, KCMP_SYSVSEM, 0, 0) == 0;
}

/* The engine itself has none: who is not like it has a list. */
static int has_list(pid_t pid)
{
	return syscall(SYS_kcmp, pid, getpid(), KCMP_SYSVSEM, 0, 0) > 0;
}

static int read_set(struct cr_session *s, int index, SysvsemSet *ret)
{
	struct semid_ds ds = { 0 };
	_cleanup_free_ unsigned short *values = NULL;
	int id = semctl(index, 0, SEM_STAT, (union semun){ .buf = &ds });

	if (id < 0 || !ds.sem_nsems)
		return -1;
	values = xcalloc(ds.sem_nsems, sizeof(*values));
	if (semctl(id, 0, GETALL, (union semun){ .array = values }))
		return -1;
	sysvsem_set__init(ret);
	ret->id = (uint32_t)id;
	ret->key = (uint32_t)ds.sem_perm.__key;
	ret->n_values = ds.sem_nsems;
	ret->values = s->core->alloc(s, ds.sem_nsems * sizeof(*ret->values));
	for (size_t i = 0; i < ds.sem_nsems; i++)
		ret->values[i] = values[i];
	return 0;
}

static int dump_values(struct cr_session *s, struct cr_task *owner)
{
	struct seminfo info;
	int last = semctl(0, 0, SEM_INFO, (union semun){ .info = &info });
	SysvsemUndo u;

	sysvsem_undo__init(&u);
	u.pid = (uint32_t)s->core->task_vpid(owner);
	last = MIN_OF(last, SETS_MAX);
	u.sets = s->core->alloc(s, ((size_t)MAX_OF(last, 0) + 1) * sizeof(*u.sets));
	for (int i = 0; i <= last; i++) {
		SysvsemSet *set = s->core->alloc(s, sizeof(*set));

		if (read_set(s, i, set) == 0)
			u.sets[u.n_sets++] = set;
	}
	return common_append(s, &img_undo, CR_IMG_NO_ID, &u.base);
}

/* When somebody has last changed a semaphore, in seconds since 1970; 0: never. */
static time_t last_change(void)
{
	struct seminfo info = { 0 };
	int last = semctl(0, 0, SEM_INFO, (union semun){ .info = &info });
	time_t ret = 0;

	for (int i = 0; i <= last && i <= SETS_MAX; i++) {
		struct semid_ds ds = { 0 };

		if (semctl(i, 0, SEM_STAT_ANY, (union semun){ .buf = &ds }) >= 0)
			ret = MAX_OF(ret, ds.sem_otime);
	}
	return ret;
}

/* Since 1970, as the clock goes now. 0: not known. */
static time_t start_of(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", pid);
	_cleanup_buf_ struct buf b = { 0 };
	unsigned long long ticks;
	struct timespec up, now;
	const char *p;

	if (read_file(AT_FDCWD, path, &b) || !b.len || !(p = strrchr(b.p, ')')))
		return 0;
	/* field 22, proc_pid_stat(5); the third one follows the name */
	if (sscanf(p + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &ticks) != 1)
		return 0;
	clock_gettime(CLOCK_BOOTTIME, &up);
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec - (up.tv_sec - (time_t)(ticks / (unsigned long)sysconf(_SC_CLK_TCK)));
}

/* Who may have something to give back: zombies have done so, and who began later than the last change never took anything. */
static struct cr_task *next_owner(struct cr_session *s, struct cr_task *t, time_t change)
{
	while ((t = s->core->task_next(s, t))) {
		pid_t pid = s->core->task_pid(t);

		if (change && has_list(pid) && change + CLOCK_DOUBT >= start_of(pid))
			return t;
	}
	return NULL;
}

static void tell(struct cr_session *s, struct cr_task *t, const char *why)
{
	cr_lost(s, NULL, "pid %d: what it has to give back of System V semaphores (SEM_UNDO) %s; restored, it has nothing to "
		"give back", s->core->task_pid(t), why);
}

static int sysvsem_dump_late(struct cr_session *s)
{
	time_t change = last_change();
	struct cr_task *owner = next_owner(s, NULL, change);
	int stays = s->core->option_flag(s, "leave-running") || s->core->option_flag(s, "leave-stopped");

	if (!owner)
		return 0;
	for (struct cr_task *t = owner; (t = next_owner(s, t, change));)
		if (!same_list(s->core->task_pid(owner), s->core->task_pid(t))) {
			for (t = owner; t; t = next_owner(s, t, change))
				tell(s, t, "is not kept, for several processes have something");
			return 0;
		}
	if (!stays)
		return dump_values(s, owner);
	tell(s, owner, "stays with the tree that goes on");
	return 0;
}

/* ---- restore ---- */

static int take_again(struct cr_session *s, struct cr_task *t, const SysvsemSet *set, const struct sembuf *ops, size_t n)
{
	struct cr_arg args[6] = { CR_IMM(set->id), CR_IMM(0), CR_IMM(n) };
	int err = n ? s->core->plan_data(s, t, ops, n * sizeof(*ops), &args[1].val) : 0;

	return err || !n ? err : s->core->plan_syscall(s, t, CR_STAGE_OWN, SYS_semop, args, CR_WANT_ZERO);
}

static int restore_set(struct cr_session *s, struct cr_task *t, const SysvsemUndo *u, const SysvsemSet *set)
{
	_cleanup_free_ unsigned short *now = xcalloc(set->n_values + 1, sizeof(*now));
	_cleanup_free_ struct sembuf *ops = xcalloc(set->n_values + 1, sizeof(*ops));
	struct semid_ds ds;
	size_t n = 0;

	if (semctl((int)set->id, 0, IPC_STAT, (union semun){ .buf = &ds }) || ds.sem_nsems != set->n_values ||
	    (uint32_t)ds.sem_perm.__key != set->key || semctl((int)set->id, 0, GETALL, (union semun){ .array = now })) {
		cr_lost(s, NULL, "the set of semaphores with id %u, which is not there any more", set->id);
		return 0;
	}
	for (size_t i = 0; i < set->n_values; i++) {
		if (now[i] == set->values[i] || semctl((int)set->id, (int)i, GETPID) != (int)u->pid)
			continue; /* whatever it is now, the end of that process has not made it so */
		ops[n++] = (struct sembuf){ (unsigned short)i, (short)((int)set->values[i] - now[i]), SEM_UNDO | IPC_NOWAIT };
	}
	return take_again(s, t, set, ops, n);
}

static int check_undo(struct cr_session *s, const SysvsemUndo *u)
{
	int bad = !s->core->task_by_vpid(s, (pid_t)u->pid);

	for (size_t i = 0; i < u->n_sets; i++) {
		bad |= u->sets[i]->n_values > VALUES_MAX || u->sets[i]->id > INT32_MAX;
		for (size_t k = 0; k < u->sets[i]->n_values; k++)
			bad |= u->sets[i]->values[k] > 32767;
	}
	return bad ? cr_fail(s, EPROTO, "x-sysvsem.img makes no sense") : 0;
}

static int sysvsem_opened(struct cr_session *s)
{
	SysvsemUndo *u = NULL;
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err = s->core->img_open(s, &img_undo, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	err = s->core->img_next(r, &data, &len);
	if (err == 1) {
		u = common_load(s, &sysvsem_undo__descriptor, data, len);
		err = u ? check_undo(s, u) : -EPROTO;
	}
	s->core->img_close(r);
	for (size_t i = 0; u && i < u->n_sets && !err; i++)
		err = restore_set(s, s->core->task_by_vpid(s, (pid_t)u->pid), u, u->sets[i]);
	return err;
}

static const struct cr_img_type *const images[] = { &img_undo, NULL };

static const struct cr_plugin plugin = {
	.size = sizeof(plugin),
	.abi = CR_ABI,
	.name = "sysvsem",
	.version = "0.1",
	.summary = "Keeps what processes have to give back of System V semaphores (SEM_UNDO).",
	.images = images,
	.dump_late = sysvsem_dump_late,
	.opened = sysvsem_opened,
};
CR_PLUGIN_REGISTER(plugin);
