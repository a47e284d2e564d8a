/* SPDX-License-Identifier: MIT */
/*
 * pages.c: writing a pagemap image and its pages file.
 *
 * A pagemap names runs of pages; their bytes stand back to back, in the same order,
 * in the pages file.  Runs that touch become one entry.
 *
 * The work is cut into batches of a megabyte, in order, and shared by as many threads
 * as there are CPUs.  Each takes a batch, reads it and finds the pages of zeros; then
 * it waits for its turn, which is when all batches before have got their places in
 * the file, adds its entries, and writes while the next one has its turn.  So the
 * images are the same however many threads there are.  Only who has the turn, or the
 * lock, touches the session.
 */
#include "mem_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "image.h"
#include "options.h"
#include "pagemap.pb-c.h"
#include "progress.h"
#include "warden.h"

#define BATCH_BYTES (1ul << 20)
#define BATCH_PAGES (BATCH_BYTES / PAGE_BYTES)
#define THREAD_LEAST (8ul << 20) /* bytes for which a further thread is worth while */

/* What is being written: one pagemap and its pages file. */
struct job {
	struct session *s;
	const struct cr_img_type *type;
	uint64_t id;
	bool compat; /* entries also for readers that know 32-bit counts only */
	const struct page_source *src;
	int fd; /* pages file */

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t moved; /* turn has changed */
	const run_list *runs;
	size_t run;	      /* next one to be taken, */
	uint64_t done;	      /* from this byte on */
	uint64_t ticket;      /* of the next batch to be taken */
	uint64_t turn;	      /* of the batch whose place in the file is next */
	uint64_t off;	      /* that place */
	uint64_t start, bytes; /* entry not yet written: pages merged so far */
	int err;
};

/* Runs, or parts of runs, that fill the buffer back to back. */
struct batch {
	struct job *j;
	pthread_t thread;
	bool started;
	char *buf;
	uint64_t ticket, write_us;
	size_t n, bytes;
	struct part {
		uint64_t addr, bytes;
		bool skip_zero;
	} part[BATCH_PAGES];
	/* what is left of them without pages of zeros */
	size_t npieces, kept;
	struct iovec piece[BATCH_PAGES];
	uint64_t piece_addr[BATCH_PAGES];
};

bool page_is_zero(const void *page)
{
	static const char zero[PAGE_BYTES];

	return memcmp(page, zero, PAGE_BYTES) == 0;
}

/* ---- entries; with the turn or the lock ---- */

static int write_entry(struct job *j)
{
	PagemapEntry e = PAGEMAP_ENTRY__INIT;
	int err = 0;

	e.has_flags = 1;
	e.flags = PE_PRESENT;
	e.has_nr_pages = 1;
	while (j->bytes && err == 0) {
		uint64_t n = MIN_OF(j->bytes / PAGE_BYTES, j->compat ? UINT32_MAX : UINT64_MAX);

		e.vaddr = j->start;
		e.compat_nr_pages = j->compat ? n : 0; /* who knows nr_pages, the 64-bit field, looks there */
		e.nr_pages = n;
		j->start += n * PAGE_BYTES;
		j->bytes -= n * PAGE_BYTES;
		err = img_append_msg(j->s, j->type, j->id, &e.base);
	}
	return err;
}

static int add_entry(struct job *j, uint64_t addr, uint64_t bytes)
{
	int err = 0;

	if (j->start + j->bytes != addr)
		err = write_entry(j);
	if (!j->bytes)
		j->start = addr;
	j->bytes += bytes;
	return err;
}

/* ---- batches ---- */

/* With the lock. False when there is no more. */
static bool take_batch(struct batch *b)
{
	struct job *j = b->j;

	b->n = b->bytes = 0;
	while (j->run < j->runs->n && b->n < BATCH_PAGES && b->bytes < BATCH_BYTES) {
		const struct page_run *r = &j->runs->v[j->run];
		size_t len = MIN_OF(r->bytes - j->done, BATCH_BYTES - b->bytes);

		b->part[b->n++] = (struct part){ r->start + j->done, len, r->skip_zero };
		b->bytes += len;
		j->done += len;
		if (j->done == r->bytes) {
			j->run++;
			j->done = 0;
		}
	}
	if (b->n)
		b->ticket = j->ticket++;
	return b->n > 0;
}

/* What lies behind the end of an object is zero. */
static int read_part(const struct page_source *src, char *buf, uint64_t bytes, uint64_t off)
{
	for (uint64_t done = 0; done < bytes;) {
		ssize_t n = pread(src->fd, buf + done, bytes - done, off + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0 && src->pid)
			return -ENODATA;
		if (n == 0) {
			memset(buf + done, 0, bytes - done);
			break;
		}
		done += n;
	}
	return 0;
}

/* Memory without access can be left to the tracer (the kernel's proc_mem.force_override). */
static int read_by_warden(struct job *j, char *buf, const struct part *p)
{
	int err;

	pthread_mutex_lock(&j->lock);
	err = warden_read(j->s, j->src->pid, p->addr, buf, p->bytes);
	pthread_mutex_unlock(&j->lock);
	return err;
}

static int read_failed(struct job *j, const struct part *p, int err)
{
	if (j->src->pid)
		return fail(j->s, -err, "cannot read memory of pid %d in 0x%" PRIx64 "-0x%" PRIx64 ": %s", j->src->pid,
			    p->addr, p->addr + p->bytes, strerror(-err));
	return fail(j->s, -err, "cannot read shared memory at offset %" PRIu64 ": %s", p->addr, strerror(-err));
}

static void keep_piece(struct batch *b, uint64_t addr, char *data, uint64_t bytes)
{
	b->piece[b->npieces] = (struct iovec){ data, bytes };
	b->piece_addr[b->npieces++] = addr;
	b->kept += bytes;
}

static void keep_part(struct batch *b, const struct part *p, char *data)
{
	uint64_t from = 0;

	for (uint64_t at = 0; p->skip_zero && at < p->bytes; at += PAGE_BYTES) {
		if (!page_is_zero(data + at))
			continue;
		if (at > from)
			keep_piece(b, p->addr + from, data + from, at - from);
		from = at + PAGE_BYTES;
	}
	if (p->bytes > from)
		keep_piece(b, p->addr + from, data + from, p->bytes - from);
}

/* *ret_part: the part that could not be read. */
static int read_batch(struct batch *b, const struct part **ret_part)
{
	char *data = b->buf;

	b->npieces = b->kept = 0;
	for (size_t i = 0; i < b->n; data += b->part[i++].bytes) {
		int err = read_part(b->j->src, data, b->part[i].bytes, b->part[i].addr);

		if (err == -EIO && b->j->src->pid && b->j->s->warden)
			err = read_by_warden(b->j, data, &b->part[i]);
		*ret_part = &b->part[i];
		if (err)
			return err;
		keep_part(b, &b->part[i], data);
	}
	return 0;
}

static int write_pieces(struct batch *b, uint64_t off)
{
	uint64_t begin = now_us();
	struct iovec *v = b->piece;
	size_t n = b->npieces;

	while (n) {
		ssize_t done = pwritev(b->j->fd, v, MIN_OF(n, IOV_MAX), off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		off += done;
		for (; n && (size_t)done >= v->iov_len; v++, n--)
			done -= v->iov_len;
		if (n) {
			v->iov_base = (char *)v->iov_base + done;
			v->iov_len -= done;
		}
	}
	b->write_us += now_us() - begin;
	return 0;
}

/* Gives the batch its place. With the lock. */
static int place_batch(struct batch *b, uint64_t *ret_off)
{
	struct job *j = b->j;
	int err = 0;

	for (size_t i = 0; i < b->npieces && !err; i++)
		err = add_entry(j, b->piece_addr[i], b->piece[i].iov_len);
	*ret_off = j->off;
	j->off += b->kept;
	return err;
}

/* One batch from reading to writing; it has been taken. With the lock, which is released in between. */
static void do_batch(struct batch *b)
{
	const struct part *bad = NULL;
	struct job *j = b->j;
	uint64_t off = 0;
	int err;

	pthread_mutex_unlock(&j->lock);
	err = read_batch(b, &bad);
	pthread_mutex_lock(&j->lock);
	while (j->turn != b->ticket)
		pthread_cond_wait(&j->moved, &j->lock);
	if (err && !j->err)
		j->err = read_failed(j, bad, err);
	if (!j->err)
		j->err = place_batch(b, &off);
	j->turn++;
	pthread_cond_broadcast(&j->moved);
	if (j->err)
		return;
	pthread_mutex_unlock(&j->lock);
	err = write_pieces(b, off);
	pthread_mutex_lock(&j->lock);
	if (err && !j->err)
		j->err = fail(j->s, -err, "cannot write pages of memory: %s", strerror(-err));
	if (j->s->progress)
		progress_add(j->s->progress, b->bytes / PAGE_BYTES);
}

static void *work(void *arg)
{
	struct batch *b = arg;
	struct job *j = b->j;

	pthread_mutex_lock(&j->lock);
	while (!j->err && take_batch(b))
		do_batch(b);
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

/* ---- all of it ---- */

/* Signals go to the main thread. One that cannot be started is done without. */
static void start_thread(struct batch *b)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	b->started = pthread_create(&b->thread, NULL, work, b) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void run_job(struct job *j, size_t nthreads)
{
	struct batch *b = xcalloc(nthreads, sizeof(*b));

	for (size_t i = 0; i < nthreads; i++) {
		b[i].j = j;
		b[i].buf = xrealloc(NULL, BATCH_BYTES);
		if (i)
			start_thread(&b[i]);
	}
	work(&b[0]);
	for (size_t i = 0; i < nthreads; i++) {
		if (b[i].started)
			pthread_join(b[i].thread, NULL);
		free(b[i].buf);
	}
	j->s->stats.memwrite_time += b[0].write_us;
	free(b);
}

static int create_images(struct job *j)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	int err;

	head.pages_id = mem_pages_id(j->s);
	err = img_append_msg(j->s, j->type, j->id, &head.base);
	return err ? err : img_create_fd(j->s, &img_pages, head.pages_id, &j->fd);
}

int pages_dump(struct session *s, const struct cr_img_type *type, uint64_t id, const struct page_source *src,
	       const run_list *runs, uint64_t *ret_pages)
{
	struct job j = { .s = s, .type = type, .id = id, .src = src, .runs = runs, .fd = -1,
			 .compat = opt_flag(s->opts, "compat-images") };
	uint64_t bytes = 0;
	int err = create_images(&j);

	if (err)
		return err;
	for (size_t i = 0; i < runs->n; i++)
		bytes += runs->v[i].bytes;
	pthread_mutex_init(&j.lock, NULL);
	pthread_cond_init(&j.moved, NULL);
	run_job(&j, mem_threads(bytes / THREAD_LEAST));
	pthread_cond_destroy(&j.moved);
	pthread_mutex_destroy(&j.lock);
	if (!j.err)
		j.err = write_entry(&j);
	close(j.fd);
	*ret_pages = j.off / PAGE_BYTES;
	return j.err;
}
