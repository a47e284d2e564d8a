/* SPDX-License-Identifier: MIT */
/*
 * pages.c: writing a pagemap image and its pages file.
 *
 * A pagemap names runs of pages; their bytes stand back to back, in the same order,
 * in the pages file.  Runs that touch become one entry.  Much private memory is put into one
 * pages file a thread: those besides the first are not named by the pagemap's head, and their pages
 * are ELSEWHERE (same.c) for it, as are those that another task has brought.
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

#include "fault.h"
#include "image.h"
#include "options.h"
#include "pagemap.pb-c.h"
#include "progress.h"
#include "signals.h"
#include "warden.h"

#define BATCH_BYTES (1ul << 20)
#define BATCH_PAGES (BATCH_BYTES / PAGE_BYTES)
#define THREAD_LEAST (8ul << 20) /* bytes for which a further thread is worth while */
#define FILE_LEAST (32ul << 20)	 /* and a further file: writes to one file wait for each other */
#define THREADS_MOST 16
#define DIRECT_LEAST (64ul << 10) /* bytes from which looking whether that may be is worth while */

/* One of the pages files that a pagemap leads to. */
struct pages_out {
	uint32_t id;
	int fd;
	struct image *img;
	uint64_t bytes; /* handed out */
};

/* What is being written: one pagemap and its pages files. */
struct job {
	struct session *s;
	const struct cr_img_type *type;
	uint64_t id;
	bool compat; /* entries also for readers that know 32-bit counts only */
	const struct page_source *src;
	struct pages_out file[THREADS_MOST]; /* the first is the one that the pagemap names */
	size_t nfiles;
	stored_list *where; /* for the caller, or NULL */
	uint64_t total;	    /* bytes to be read */

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t moved; /* turn has changed */
	const run_list *runs;
	size_t run;	      /* next one to be taken, */
	uint64_t done;	      /* from this byte on */
	uint64_t ticket;      /* of the next batch to be taken */
	uint64_t turn;	      /* of the batch whose place in the files is next */
	struct page_run last; /* entry not yet written: pages merged so far, with their place */
	bool last_stored;     /* they are stored by us */
	uint64_t bytes;	      /* stored */
	int err;
};

/* Runs, or parts of runs, that fill the buffer back to back; those with a file take no room. */
struct batch {
	struct job *j;
	pthread_t thread;
	bool started;
	struct pages_out *file; /* that it writes to */
	char *buf;
	size_t touched; /* bytes of it that are there */
	uint64_t ticket, write_us;
	size_t n, bytes;
	struct page_run part[BATCH_PAGES];
	/* what is left of them without pages of zeros */
	size_t npieces, kept;
	struct iovec piece[BATCH_PAGES];
	/* all of it in the order of addresses */
	size_t nplaced;
	struct page_run placed[2 * BATCH_PAGES];
};

struct batches {
	struct batch *of[THREADS_MOST];
};

bool page_is_zero(const void *page)
{
	static const char zero[PAGE_BYTES];

	return memcmp(page, zero, PAGE_BYTES) == 0;
}

/* ---- entries; with the turn or the lock ---- */

static int write_entry(struct job *j)
{
	bool own = j->last.file == j->file[0].id;
	PagemapEntry e = PAGEMAP_ENTRY__INIT;
	uint64_t left = j->last.bytes / PAGE_BYTES;
	int err = 0;

	if (left && j->last_stored && j->where)
		*vec_push(j->where) = (struct stored_run){ j->last.start, j->last.start + j->last.bytes, j->last.off,
							   j->last.file, -1 };
	if (left && !own)
		err = pages_elsewhere(j->s, j->id, &j->last);
	e.has_flags = 1;
	e.flags = own ? PE_PRESENT : PE_PARENT | PE_ELSEWHERE;
	e.has_nr_pages = 1;
	for (e.vaddr = j->last.start; left && err == 0; e.vaddr += e.nr_pages * PAGE_BYTES) {
		e.nr_pages = MIN_OF(left, j->compat ? UINT32_MAX : UINT64_MAX);
		e.compat_nr_pages = j->compat ? e.nr_pages : 0; /* who knows nr_pages, the 64-bit field, looks there */
		left -= e.nr_pages;
		err = img_append_msg(j->s, j->type, j->id, &e.base);
	}
	j->last.bytes = 0;
	return err;
}

/* r: has its place. stored: it is ours. */
static int add_entry(struct job *j, const struct page_run *r, bool stored)
{
	struct page_run *last = &j->last;
	int err;

	if (last->bytes && last->start + last->bytes == r->start && last->file == r->file &&
	    last->off + last->bytes == r->off && j->last_stored == stored) {
		last->bytes += r->bytes;
		return 0;
	}
	err = write_entry(j);
	*last = *r;
	j->last_stored = stored;
	return err;
}

/* ---- batches ---- */

/* With the lock. False when there is no more. */
static bool take_batch(struct batch *b)
{
	struct job *j = b->j;

	b->n = b->bytes = 0;
	while (j->run < j->runs->n && b->n < BATCH_PAGES && b->bytes < BATCH_BYTES) {
		struct page_run part = j->runs->v[j->run];

		if (!part.file) {
			part.start += j->done;
			part.bytes = MIN_OF(part.bytes - j->done, BATCH_BYTES - b->bytes);
			b->bytes += part.bytes;
			j->done += part.bytes;
		}
		b->part[b->n++] = part;
		if (part.file || j->done == j->runs->v[j->run].bytes) {
			j->run++;
			j->done = 0;
		}
	}
	if (b->n)
		b->ticket = j->ticket++;
	return b->n > 0;
}

#define WORD_PRESENT (1ull << 63)
#define WORD_EXCLUSIVE (1ull << 56)

/* Nobody but this process has these pages mapped. */
static bool is_exclusive(const struct page_source *src, uint64_t bytes, uint64_t addr)
{
	uint64_t word[BATCH_PAGES], n = bytes / PAGE_BYTES;

	if (src->pagemap < 0 || n > BATCH_PAGES ||
	    pread_full(src->pagemap, word, n * sizeof(*word), addr / PAGE_BYTES * sizeof(*word)))
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (!(word[i] & WORD_PRESENT) || !(word[i] & WORD_EXCLUSIVE))
			return false;
	return true;
}

/* Faster than through /proc/PID/mem, which copies twice; but it would unshare what is shared copy on write. */
static bool read_directly(const struct page_source *src, char *buf, uint64_t bytes, uint64_t addr)
{
	struct iovec here = { buf, bytes }, there = { (void *)(uintptr_t)addr, bytes };

	return bytes >= DIRECT_LEAST && src->pid && !src->snapshot && is_exclusive(src, bytes, addr) &&
	       process_vm_readv(src->pid, &here, 1, &there, 1, 0) == (ssize_t)bytes;
}

/* What lies behind the end of an object is zero. */
static int read_part(const struct page_source *src, char *buf, uint64_t bytes, uint64_t off)
{
	if (snapshot_read(src->snapshot, off, buf, bytes) || read_directly(src, buf, bytes, off))
		return 0;
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
static int read_by_warden(struct job *j, char *buf, const struct page_run *p)
{
	int err;

	pthread_mutex_lock(&j->lock);
	err = warden_read(j->s, j->src->pid, p->start, buf, p->bytes);
	pthread_mutex_unlock(&j->lock);
	return err;
}

static int read_failed(struct job *j, const struct page_run *p, int err)
{
	if (j->src->snapshot)
		return fail(j->s, -err, "the copy (pid %d) of its memory has ended, or cannot be read in 0x%" PRIx64 "-0x%" PRIx64
			    ": %s; --snapshot off makes none", j->src->pid, p->start, p->start + p->bytes, strerror(-err));
	if (j->src->pid)
		return fail(j->s, -err, "cannot read memory of pid %d in 0x%" PRIx64 "-0x%" PRIx64 ": %s", j->src->pid,
			    p->start, p->start + p->bytes, strerror(-err));
	return fail(j->s, -err, "cannot read shared memory at offset %" PRIu64 ": %s", p->start, strerror(-err));
}

/* The place is given later. */
static void keep_piece(struct batch *b, uint64_t addr, char *data, uint64_t bytes)
{
	b->piece[b->npieces++] = (struct iovec){ data, bytes };
	b->placed[b->nplaced++] = (struct page_run){ .start = addr, .bytes = bytes };
	b->kept += bytes;
}

static void keep_part(struct batch *b, const struct page_run *p, char *data)
{
	uint64_t from = 0;

	for (uint64_t at = 0; p->skip_zero && at < p->bytes; at += PAGE_BYTES) {
		if (!page_is_zero(data + at))
			continue;
		if (at > from)
			keep_piece(b, p->start + from, data + from, at - from);
		from = at + PAGE_BYTES;
	}
	if (p->bytes > from)
		keep_piece(b, p->start + from, data + from, p->bytes - from);
}

/* *ret_part: the part that could not be read. */
static int read_batch(struct batch *b, const struct page_run **ret_part)
{
	char *data = b->buf;

	b->npieces = b->nplaced = b->kept = 0;
	for (size_t i = 0; i < b->n; i++) {
		const struct page_run *p = &b->part[i];
		int err;

		if (p->file) {
			b->placed[b->nplaced++] = *p;
			continue;
		}
		err = read_part(b->j->src, data, p->bytes, p->start);
		if (err == -EIO && b->j->src->pid && b->j->s->warden)
			err = read_by_warden(b->j, data, p);
		*ret_part = p;
		if (err)
			return err;
		keep_part(b, p, data);
		data += p->bytes;
	}
	return 0;
}

static int write_pieces(struct batch *b, uint64_t off)
{
	uint64_t begin = now_us();
	_cleanup_buf_ struct buf sealed = { 0 };
	struct iovec *v = b->piece, all;
	size_t n = b->npieces;
	int err = img_piece(b->file->img, v, n, &off, &sealed);

	if (err)
		return err;
	if (sealed.len) {
		all = (struct iovec){ sealed.p, sealed.len };
		v = &all;
		n = 1;
	}
	while (n) {
		bool stop = fault_errno(signals_caught() ? -ECANCELED : 0) || FAULTS("write of pages");
		ssize_t done = stop ? -1 : pwritev(b->file->fd, v, MIN_OF(n, IOV_MAX), off);

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
	uint64_t off = b->file->bytes;
	struct job *j = b->j;
	int err = 0;

	*ret_off = off;
	for (size_t i = 0; i < b->nplaced && !err; i++) {
		struct page_run *r = &b->placed[i];
		bool stored = !r->file;

		if (stored) {
			r->file = b->file->id;
			r->off = off;
			off += r->bytes;
		}
		err = add_entry(j, r, stored);
	}
	b->file->bytes += b->kept;
	j->bytes += b->kept;
	return err;
}

/* One batch from reading to writing; it has been taken. With the lock, which is released in between. */
static void do_batch(struct batch *b)
{
	const struct page_run *bad = NULL;
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

/* All pages that will be used in one step, which is cheaper than a fault for each. */
static void touch_buffer(struct batch *b, uint64_t bytes)
{
	size_t want = MIN_OF(bytes, BATCH_BYTES);

	if (want > b->touched)
		prefault(b->buf + b->touched, want - b->touched);
	b->touched = MAX_OF(b->touched, want);
}

static void *work(void *arg)
{
	struct batch *b = arg;
	struct job *j = b->j;

	touch_buffer(b, j->total);
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

void batches_free(struct batches *bs)
{
	if (!bs)
		return;
	for (size_t i = 0; i < THREADS_MOST; i++) {
		if (bs->of[i])
			free(bs->of[i]->buf);
		free(bs->of[i]);
	}
	free(bs);
}

/*
 * They are kept for the next task: new memory costs more than what is read into it.  They are not zeroed, so that only
 * what is used of them is touched.
 */
static struct batch *get_batch(struct session *s, size_t i)
{
	struct batches **bs = mem_batches(s);
	struct batch *b;

	if (!*bs)
		*bs = xcalloc(1, sizeof(**bs));
	b = (*bs)->of[i];
	if (!b) {
		b = (*bs)->of[i] = xrealloc(NULL, sizeof(*b));
		b->buf = xrealloc(NULL, BATCH_BYTES);
		b->touched = 0;
	}
	return b;
}

static void run_job(struct job *j, size_t nthreads)
{
	struct batch *b[THREADS_MOST] = { 0 };

	for (size_t i = 0; i < nthreads; i++) {
		b[i] = get_batch(j->s, i);
		b[i]->j = j;
		b[i]->file = &j->file[i % j->nfiles];
		b[i]->write_us = 0;
		b[i]->started = false;
		if (i)
			start_thread(b[i]);
	}
	work(b[0]);
	for (size_t i = 0; i < nthreads; i++) {
		if (b[i]->started)
			pthread_join(b[i]->thread, NULL);
	}
	j->s->stats.memwrite_time += b[0]->write_us;
}

static int create_file(struct job *j)
{
	struct pages_out *f = &j->file[j->nfiles++];

	*f = (struct pages_out){ .id = mem_pages_id(j->s), .fd = -1 };
	return img_create_direct(j->s, &img_pages, f->id, &f->fd, &f->img);
}

/* nfiles: wanted */
static int create_images(struct job *j, size_t nfiles)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	int err = create_file(j);

	head.pages_id = j->file[0].id;
	if (!err)
		err = img_append_msg(j->s, j->type, j->id, &head.base);
	while (!err && j->nfiles < nfiles)
		err = create_file(j);
	return err;
}

static void close_files(struct job *j)
{
	for (size_t i = 0; i < j->nfiles; i++)
		cleanup_fd(&j->file[i].fd);
}

int pages_dump(struct session *s, const struct cr_img_type *type, uint64_t id, const struct page_source *src,
	       const run_list *runs, uint64_t *ret_pages, stored_list *where)
{
	struct job j = { .s = s, .type = type, .id = id, .src = src, .runs = runs, .where = where,
			 .compat = opt_flag(s->opts, "compat-images") };
	size_t nthreads, nfiles = 1;
	int err;

	for (size_t i = 0; i < runs->n; i++)
		j.total += runs->v[i].file ? 0 : runs->v[i].bytes;
	nthreads = MIN_OF(mem_threads(j.total / THREAD_LEAST), (size_t)THREADS_MOST);
	if (src->pid && !j.compat)
		nfiles = MAX_OF(MIN_OF(nthreads, j.total / FILE_LEAST), 1u);
	err = create_images(&j, nfiles);
	if (err) {
		close_files(&j);
		return err;
	}
	pthread_mutex_init(&j.lock, NULL);
	pthread_cond_init(&j.moved, NULL);
	run_job(&j, nthreads);
	pthread_cond_destroy(&j.moved);
	pthread_mutex_destroy(&j.lock);
	if (!j.err)
		j.err = write_entry(&j);
	close_files(&j);
	*ret_pages = j.bytes / PAGE_BYTES;
	return j.err;
}
