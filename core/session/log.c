/* SPDX-License-Identifier: MIT */
/*
 * The log: a ring of slots in shared memory, then a file.
 *
 * Until log_open() every message becomes a slot of the ring.  The ring is mapped
 * shared, so a process that was forked before log_open() keeps writing to it, and
 * the engine moves its lines into the file with the next message of its own.  A
 * process that was forked later has the file itself; it is opened for appending
 * and a line is one write, so lines of several processes do not mix.
 *
 * A slot is claimed by its state word, without a lock that a killed process could
 * keep: FREE -> WRITING -> READY -> FREE.  When the ring is full the message is
 * counted as lost, because the first messages tell more than the last.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text.h"

#define SLOT_BYTES 1024
#define SLOTS 128
#define LINE_BYTES 8192 /* longest line written directly */

enum slot_state { SLOT_FREE = 0, SLOT_WRITING, SLOT_READY };

struct slot {
	_Atomic uint32_t state;
	uint16_t level;
	uint16_t len;
	char text[SLOT_BYTES - 8];
};

struct ring {
	_Atomic uint32_t head; /* next slot to claim */
	_Atomic uint32_t lost;
	uint32_t tail; /* engine only: next slot to read */
	uint32_t pad;
	struct slot slots[SLOTS];
};

static struct {
	struct ring *ring;
	pid_t owner; /* the process that flushes */
	int fd;	     /* -1: not open yet */
	int level;
	bool show_pid, on_stderr;
	uint64_t start_us;
} state = { .fd = -1, .level = CR_LOG_WARN };

void log_init(void)
{
	void *p;

	state.start_us = now_us();
	state.owner = getpid();
	if (state.ring)
		return;
	p = mmap(NULL, sizeof(struct ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED)
		state.ring = p;
}

void log_set_level(int level)
{
	state.level = level < 0 ? 0 : MIN_OF(level, CR_LOG_DEBUG);
}

int log_level(void)
{
	return state.level;
}

void log_show_pid(bool on)
{
	state.show_pid = on;
}

int log_fd(void)
{
	return state.fd;
}

bool log_in_file(void)
{
	return state.fd >= 0 && !state.on_stderr;
}

/* A person who reads stderr has no use for the time, unless more than warnings are asked for. */
static bool want_stamp(void)
{
	return !state.on_stderr || state.level >= CR_LOG_INFO;
}

/* One line with its newline, cut to size; what is in it cannot make a second one, nor steer a terminal.  Returns its length. */
static size_t format_line(char *line, size_t size, bool stamp, int level, const char *tag,
			  const char *fmt, va_list ap)
{
	uint64_t us = now_us() - state.start_us;
	char text[LINE_BYTES];
	size_t n = 0, len;

	if (stamp)
		n = snprintf(line, size, "(%02u.%06u) ", (unsigned)(us / 1000000), (unsigned)(us % 1000000));
	if (stamp && state.show_pid)
		n += snprintf(line + n, size - n, "%d ", (int)getpid());
	n += snprintf(line + n, size - n, level == CR_LOG_ERROR ? "Error (%.64s): " :
		      level == CR_LOG_WARN ? "Warn  (%.64s): " : "%.64s: ", tag ? tag : "core");
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = 0;
	for (len = strlen(text); len && text[len - 1] == '\n'; len--)
		text[len - 1] = 0;
	n += text_visible(line + n, size - n - 1, text);
	line[n++] = '\n';
	return n;
}

static struct slot *claim_slot(struct ring *r)
{
	for (int tries = 0; tries < 1000; tries++) {
		uint32_t head = atomic_load(&r->head), free_state = SLOT_FREE;
		struct slot *s = &r->slots[head % SLOTS];

		if (atomic_compare_exchange_strong(&s->state, &free_state, SLOT_WRITING)) {
			atomic_store(&r->head, head + 1);
			return s;
		}
		if (atomic_load(&r->head) == head && free_state == SLOT_READY)
			break; /* full */
	}
	atomic_fetch_add(&r->lost, 1);
	return NULL;
}

static void write_slot(int fd, bool stamp, const struct slot *s)
{
	size_t len = MIN_OF(s->len, sizeof(s->text)), skip = 0;
	const char *end = memchr(s->text, ')', len);

	if (!stamp && s->text[0] == '(' && end && (size_t)(end - s->text) + 2 < len)
		skip = end - s->text + 2;
	write_full(fd, s->text + skip, len - skip);
}

/* Writes out what the ring holds; in the engine only. force: skip slots that their writer never finished. */
static void flush_ring(int fd, bool stamp, int max_level, bool force)
{
	struct ring *r = state.ring;

	if (!r || getpid() != state.owner)
		return;
	while (r->tail != atomic_load(&r->head)) {
		struct slot *s = &r->slots[r->tail % SLOTS];
		uint32_t st = atomic_load(&s->state);

		if (st != SLOT_READY && !force)
			break;
		if (st == SLOT_READY && s->level <= max_level)
			write_slot(fd, stamp, s);
		atomic_store(&s->state, SLOT_FREE);
		r->tail++;
	}
	if (atomic_load(&r->lost)) {
		char line[80];
		int n = snprintf(line, sizeof(line), "Warn  (core): %u messages were lost\n",
				 atomic_exchange(&r->lost, 0));

		if (max_level >= CR_LOG_WARN)
			write_full(fd, line, n);
	}
}

int log_open(int dirfd, const char *path)
{
	int fd = STDERR_FILENO;

	if (path) {
		fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
		if (fd < 0)
			return -errno;
	}
	if (state.fd > STDERR_FILENO)
		close(state.fd);
	state.fd = fd;
	state.on_stderr = !path;
	flush_ring(fd, want_stamp(), state.level, false);
	return 0;
}

void log_close(void)
{
	if (state.fd >= 0)
		flush_ring(state.fd, want_stamp(), state.level, true);
	else
		flush_ring(STDERR_FILENO, false, MIN_OF(state.level, CR_LOG_WARN), true);
	if (state.fd > STDERR_FILENO)
		close(state.fd);
	state.fd = -1;
	state.on_stderr = false;
}

static void to_fd(int fd, bool stamp, int level, const char *tag, const char *fmt, va_list ap)
{
	char line[LINE_BYTES];
	size_t n;

	if (level > state.level)
		return;
	n = format_line(line, sizeof(line), stamp, level, tag, fmt, ap);
	write_full(fd, line, n);
}

void log_vmsg(int level, const char *tag, const char *fmt, va_list ap)
{
	int saved = errno;
	struct slot *s;

	if (state.fd >= 0) {
		flush_ring(state.fd, want_stamp(), state.level, false);
		to_fd(state.fd, want_stamp(), level, tag, fmt, ap);
	} else if (!state.ring) {
		if (level <= CR_LOG_WARN)
			to_fd(STDERR_FILENO, false, level, tag, fmt, ap);
	} else {
		s = claim_slot(state.ring);
		if (s) {
			s->level = level;
			s->len = format_line(s->text, sizeof(s->text), true, level, tag, fmt, ap);
			atomic_store(&s->state, SLOT_READY);
		}
	}
	errno = saved;
}

void log_msg(int level, const char *tag, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vmsg(level, tag, fmt, ap);
	va_end(ap);
}
