/* SPDX-License-Identifier: MIT */
/*
 * maps.c: /proc/PID/maps and /proc/PID/smaps.
 *
 * A mapping is a header line "start-end perms offset major:minor inode   path";
 * smaps adds lines "Key: value" that belong to the header above them.  Newlines in
 * a path are written as \012 by the kernel.  The kernel lists mappings in
 * ascending order without overlaps, also while the task runs; text that does not
 * is refused, so that what follows may rely on it.
 */
#include "proc_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"

static const char vm_names[VMF_N][3] = {
	[VMF_RD] = "rd", [VMF_WR] = "wr", [VMF_EX] = "ex", [VMF_SH] = "sh", [VMF_MR] = "mr", [VMF_MW] = "mw",
	[VMF_ME] = "me", [VMF_MS] = "ms", [VMF_GD] = "gd", [VMF_PF] = "pf", [VMF_LO] = "lo", [VMF_IO] = "io",
	[VMF_SR] = "sr", [VMF_RR] = "rr", [VMF_DC] = "dc", [VMF_DE] = "de", [VMF_AC] = "ac", [VMF_NR] = "nr",
	[VMF_HT] = "ht", [VMF_SF] = "sf", [VMF_NL] = "nl", [VMF_AR] = "ar", [VMF_WF] = "wf", [VMF_DD] = "dd",
	[VMF_SD] = "sd", [VMF_MM] = "mm", [VMF_HG] = "hg", [VMF_NH] = "nh", [VMF_MG] = "mg", [VMF_UM] = "um",
	[VMF_UW] = "uw", [VMF_UI] = "ui", [VMF_SS] = "ss", [VMF_SL] = "sl", [VMF_LF] = "lf", [VMF_DP] = "dp",
};

void proc_vmflags_text(uint64_t vmflags, char *buf, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < VMF_N; i++)
		if (vmflags & 1ull << i && n + 5 <= size) {
			buf[n] = ' ';
			memcpy(buf + n + 1, vm_names[i], 2);
			n += 3;
		}
	buf[n] = ' ';
	buf[n + 1] = 0;
}

uint64_t proc_vmflags_parse(const char *text)
{
	uint64_t flags = 0;

	for (unsigned i = 0; i < VMF_N; i++)
		for (const char *p = text; (p = strstr(p, vm_names[i])); p += 2)
			if ((p == text || p[-1] == ' ') && (!p[2] || p[2] == ' '))
				flags |= 1ull << i;
	return flags;
}

/* One line, not NUL-terminated; p moves. */
struct line {
	const char *p, *end;
};

static bool take(struct line *l, char c)
{
	if (l->p == l->end || *l->p != c)
		return false;
	l->p++;
	return true;
}

static void take_blanks(struct line *l)
{
	while (l->p < l->end && (*l->p == ' ' || *l->p == '\t'))
		l->p++;
}

static bool take_number(struct line *l, unsigned base, uint64_t *ret)
{
	const char *from = l->p;
	uint64_t v = 0;

	for (; l->p < l->end; l->p++) {
		unsigned d;

		if (*l->p >= '0' && *l->p <= '9')
			d = *l->p - '0';
		else if (*l->p >= 'a' && *l->p <= 'f')
			d = *l->p - 'a' + 10;
		else
			break;
		if (d >= base)
			break;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, d, &v))
			return false;
	}
	*ret = v;
	return l->p > from;
}

/* "rwxp": letters or '-', then p or s. */
static bool take_perms(struct line *l, struct proc_vma *v)
{
	static const char letters[] = "rwx";
	static const uint32_t prot[] = { PROT_READ, PROT_WRITE, PROT_EXEC };

	for (int i = 0; i < 3; i++) {
		if (take(l, letters[i]))
			v->prot |= prot[i];
		else if (!take(l, '-'))
			return false;
	}
	if (take(l, 's'))
		v->flags = MAP_SHARED;
	else if (take(l, 'p'))
		v->flags = MAP_PRIVATE;
	return v->flags != 0;
}

static char *unescape_path(const char *p, size_t len)
{
	char *out = xcalloc(1, len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (len - i >= 4 && !memcmp(p + i, "\\012", 4)) {
			out[n++] = '\n';
			i += 3;
		} else {
			out[n++] = p[i];
		}
	}
	return out;
}

static int parse_header(struct line l, struct proc_vma *v)
{
	uint64_t major, minor;

	if (!take_number(&l, 16, &v->start) || !take(&l, '-') || !take_number(&l, 16, &v->end) || !take(&l, ' ') ||
	    !take_perms(&l, v) || !take(&l, ' ') || !take_number(&l, 16, &v->pgoff) || !take(&l, ' ') ||
	    !take_number(&l, 16, &major) || !take(&l, ':') || !take_number(&l, 16, &minor) || !take(&l, ' ') ||
	    !take_number(&l, 10, &v->ino))
		return -EPROTO;
	if (l.p < l.end && *l.p != ' ')
		return -EPROTO;
	if (v->start >= v->end || (v->start | v->end | v->pgoff) % PAGE_BYTES || major > UINT32_MAX ||
	    minor > UINT32_MAX)
		return -EPROTO;
	v->dev_major = major;
	v->dev_minor = minor;
	take_blanks(&l);
	v->path = unescape_path(l.p, l.end - l.p);
	return 0;
}

static void parse_vmflags(struct line l, struct proc_vma *v)
{
	for (take_blanks(&l); l.end - l.p >= 2; take_blanks(&l)) {
		const char *word = l.p;

		while (l.p < l.end && *l.p != ' ')
			l.p++;
		for (int i = 0; l.p - word == 2 && i < VMF_N; i++)
			if (!memcmp(vm_names[i], word, 2))
				v->vmflags |= 1ull << i;
	}
	v->flags |= v->vmflags & VMF(GD) ? MAP_GROWSDOWN : 0;
	v->flags |= v->vmflags & VMF(LO) ? MAP_LOCKED : 0;
	v->flags |= v->vmflags & VMF(NR) ? MAP_NORESERVE : 0;
	v->flags |= v->vmflags & VMF(HT) ? MAP_HUGETLB : 0;
}

static bool take_key(struct line *l, const char *key)
{
	size_t n = strlen(key);

	/* most lines have another one */
	if (l->p == l->end || *l->p != *key)
		return false;
	if ((size_t)(l->end - l->p) < n || memcmp(l->p, key, n))
		return false;
	l->p += n;
	take_blanks(l);
	return true;
}

static int take_kib(struct line *l, uint64_t *ret)
{
	uint64_t v;

	if (!take_number(l, 10, &v) || __builtin_mul_overflow(v, 1024, &v))
		return -EPROTO;
	*ret = v;
	return 0;
}

/* A line of smaps below a header; keys that are not used are skipped. */
static int parse_attribute(struct line l, struct proc_vma *v)
{
	uint64_t key;

	if (take_key(&l, "Rss:"))
		return take_kib(&l, &v->rss);
	if (take_key(&l, "Anonymous:"))
		return take_kib(&l, &v->anonymous);
	if (take_key(&l, "Swap:"))
		return take_kib(&l, &v->swap);
	if (take_key(&l, "KernelPageSize:"))
		return take_kib(&l, &v->page_bytes);
	if (take_key(&l, "ProtectionKey:")) {
		if (!take_number(&l, 10, &key) || key > UINT32_MAX)
			return -EPROTO;
		v->pkey = key;
	} else if (take_key(&l, "VmFlags:")) {
		parse_vmflags(l, v);
	}
	return 0;
}

static bool is_attribute(struct line l)
{
	return l.p < l.end && *l.p >= 'A' && *l.p <= 'Z' && memchr(l.p, ':', l.end - l.p);
}

static int parse_line(struct line l, vma_list *list)
{
	struct proc_vma v;
	int err;

	if (is_attribute(l))
		return list->n ? parse_attribute(l, &list->v[list->n - 1]) : -EPROTO;
	v = (struct proc_vma){ 0 };
	err = parse_header(l, &v);
	if (err)
		return err;
	if (list->n && v.start < list->v[list->n - 1].end) {
		free(v.path);
		return -EPROTO;
	}
	*vec_push(list) = v;
	return 0;
}

/* All whole lines; *ret_len: bytes of them. */
static int parse_lines(const char *text, size_t len, vma_list *list, size_t *ret_len)
{
	const char *p = text, *end = text + len, *nl;

	while (p < end && (nl = memchr(p, '\n', end - p))) {
		if (parse_line((struct line){ p, nl }, list))
			return -EPROTO;
		p = nl + 1;
	}
	*ret_len = p - text;
	return 0;
}

int proc_parse_maps(const char *text, size_t len, vma_list *ret)
{
	vma_list list = { 0 };
	size_t done = 0;

	/* The kernel ends every line: one without its end was cut off. */
	if (parse_lines(text, len, &list, &done) || done < len) {
		proc_vmas_free(&list);
		return -EPROTO;
	}
	*ret = list;
	return 0;
}

#define WINDOW_BYTES (64u << 10) /* more than a line can have */

/* The text of a large process has many megabytes: it is not kept. */
static int parse_file(int fd, vma_list *list)
{
	_cleanup_free_ char *window = xrealloc(NULL, WINDOW_BYTES);
	size_t len = 0, done;

	for (;;) {
		ssize_t n = read(fd, window + len, WINDOW_BYTES - len);
		int err;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return len ? -EPROTO : 0;
		len += n;
		err = parse_lines(window, len, list, &done);
		if (err || (!done && len == WINDOW_BYTES))
			return -EPROTO;
		len -= done;
		memmove(window, window + done, len);
	}
}

static int read_list(pid_t pid, const char *name, vma_list *ret)
{
	vma_list list = { 0 };
	_cleanup_fd_ int fd = -1;
	char path[48];
	int err;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	err = FAULT("reading %s", path);
	if (!err)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!err)
		err = fd < 0 ? -errno : parse_file(fd, &list);
	if (err) {
		proc_vmas_free(&list);
		return err;
	}
	*ret = list;
	return 0;
}

int proc_read_smaps(pid_t pid, vma_list *ret)
{
	return read_list(pid, "smaps", ret);
}

int proc_read_maps(pid_t pid, vma_list *ret)
{
	return read_list(pid, "maps", ret);
}

void proc_vmas_free(vma_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	vec_free(l);
}
