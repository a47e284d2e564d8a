/* SPDX-License-Identifier: MIT */
/*
 * fill.c: pages that E writes into tasks.
 *
 * A task that reads its pages itself has a page fault for each; virtual machines without nested page tables pay many
 * microseconds for one.  E writes through /proc/PID/mem from a buffer that stays in the cache, by several threads, and
 * the kernel makes the pages of the task without its taking part.  Protections do not matter: what is read-only
 * in the end is mapped so from the beginning.
 *
 * The task asks when its mappings are there (BLOB_ASK), and waits.  Where that is not allowed or does not work (a
 * ptrace_scope that wants E to be an ancestor, proc_mem.force_override), the answer is that the task must do it: its
 * plan has the operations.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"
#include "signals.h"

#define BUFFER_BYTES (256ul << 10) /* fits into a cache of the second level */
#define BATCH_RUNS 64
#define THREAD_LEAST (8ul << 20) /* bytes for which a further thread is worth while */
#define THREADS_MOST 16
#define ANSWER_SLOT (BLOB_SLOTS - 1)

/* What one task asks for. */
struct fill {
	uint32_t *word; /* in the arena: state, pid */
	stored_list runs;
	bool done;
};

struct fills {
	VEC(struct fill) all;
	size_t left;
};

/* One fill being done. */
struct writer {
	const stored_list *runs;
	int mem;
	pthread_mutex_t lock; /* of what follows */
	size_t i;	      /* run to be taken, */
	uint64_t done;	      /* from this byte on */
	int err;
};

/* Parts of runs that lie back to back in one file. */
struct batch {
	int fd;
	uint64_t off;
	size_t n, bytes;
	struct span part[BATCH_RUNS];
};

void fills_free(struct fills *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->all.n; i++)
		vec_free(&f->all.v[i].runs);
	vec_free(&f->all);
	free(f);
}

/* ---- in the plan ---- */

struct fill_ask fill_ask(struct session *s, struct plan *p, stored_list *fill)
{
	struct fills **f = mem_fills(s);
	uint64_t *word = plan_mem(p, sizeof(*word), sizeof(*word));
	struct fill_ask ask;

	if (!*f)
		*f = xcalloc(1, sizeof(**f));
	*vec_push(&(*f)->all) = (struct fill){ .word = (uint32_t *)word };
	for (size_t i = 0; i < fill->n; i++)
		*vec_push(&(*f)->all.v[(*f)->all.n - 1].runs) = fill->v[i];
	(*f)->left++;
	plan_origin(p->set, "memory: pages written by the engine");
	plan_op(p, BLOB_ASK, (uintptr_t)word, 0, 0)->slot = ANSWER_SLOT;
	ask.jump = p->ops.n;
	plan_op(p, BLOB_JMP, ANSWER_SLOT, 0, BLOB_DONE);
	return ask;
}

void fill_asked(struct plan *p, struct fill_ask ask)
{
	p->ops.v[ask.jump].a[3] = p->ops.n - ask.jump;
}

/* ---- writing ---- */

static bool take_batch(struct writer *w, struct batch *b)
{
	const stored_list *l = w->runs;

	b->n = b->bytes = 0;
	pthread_mutex_lock(&w->lock);
	while (!w->err && w->i < l->n && b->n < BATCH_RUNS && b->bytes < BUFFER_BYTES) {
		const struct stored_run *r = &l->v[w->i];
		uint64_t len = MIN_OF(r->end - r->start - w->done, BUFFER_BYTES - b->bytes);

		if (!b->n) {
			b->fd = r->fd;
			b->off = r->off + w->done;
		} else if (r->fd != b->fd || r->off + w->done != b->off + b->bytes) {
			break;
		}
		b->part[b->n++] = (struct span){ r->start + w->done, r->start + w->done + len };
		b->bytes += len;
		w->done += len;
		if (r->start + w->done == r->end) {
			w->i++;
			w->done = 0;
		}
	}
	pthread_mutex_unlock(&w->lock);
	return b->n > 0;
}

/* Short: the next attempt tells why. */
static int write_mem(int mem, const char *data, struct span to)
{
	while (to.start < to.end) {
		ssize_t n = FAULTS("write of memory") ? -1 : pwrite(mem, data, to.end - to.start, to.start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		to.start += n;
	}
	return 0;
}

static int do_batch(struct writer *w, const struct batch *b, char *buf)
{
	int err = pread_full(b->fd, buf, b->bytes, b->off);

	for (size_t i = 0; i < b->n && !err; i++) {
		struct span to = b->part[i];

		while (i + 1 < b->n && b->part[i + 1].start == to.end)
			to.end = b->part[++i].end;
		err = write_mem(w->mem, buf, to);
		buf += to.end - to.start;
	}
	return err ? err : signals_caught() ? -ECANCELED : 0;
}

static void *work(void *arg)
{
	struct writer *w = arg;
	_cleanup_free_ char *buf = xrealloc(NULL, BUFFER_BYTES);
	struct batch b;

	while (take_batch(w, &b)) {
		int err = do_batch(w, &b, buf);

		if (!err)
			continue;
		pthread_mutex_lock(&w->lock);
		w->err = err;
		pthread_mutex_unlock(&w->lock);
	}
	return NULL;
}

/* Signals go to the main thread. A thread that cannot be started is done without. */
static int write_all(struct writer *w)
{
	pthread_t thread[THREADS_MOST];
	uint64_t bytes = 0;
	sigset_t all, old;
	size_t n = 0, most;

	for (size_t i = 0; i < w->runs->n; i++)
		bytes += w->runs->v[i].end - w->runs->v[i].start;
	most = MIN_OF(mem_threads(bytes / THREAD_LEAST), (size_t)THREADS_MOST);
	pthread_mutex_init(&w->lock, NULL);
	if (most > 1) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		while (n + 1 < most && pthread_create(&thread[n], NULL, work, w) == 0)
			n++;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	work(w);
	while (n)
		pthread_join(thread[--n], NULL);
	pthread_mutex_destroy(&w->lock);
	return w->err;
}

static void do_fill(struct fill *f)
{
	struct writer w = { .runs = &f->runs };
	char path[48];
	int err;

	snprintf(path, sizeof(path), "/proc/%u/mem", f->word[1]);
	w.mem = FAULTS("opening %s", path) ? -1 : open(path, O_WRONLY | O_CLOEXEC);
	err = w.mem < 0 ? -errno : write_all(&w);
	cleanup_fd(&w.mem);
	if (err)
		log_debug("pid %u reads its pages itself: %s: %s", f->word[1], path, strerror(-err));
	f->done = true;
	__atomic_store_n(f->word, err ? BLOB_DO_IT : BLOB_DONE, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, f->word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void mem_fill_asked(struct session *s)
{
	struct fills *f = *mem_fills(s);

	for (size_t i = 0; f && f->left && i < f->all.n; i++) {
		struct fill *one = &f->all.v[i];

		if (one->done || __atomic_load_n(one->word, __ATOMIC_SEQ_CST) != BLOB_ASKED)
			continue;
		do_fill(one);
		f->left--;
	}
}
