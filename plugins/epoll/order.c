/* SPDX-License-Identifier: MIT */
/*
 * order.c: targets of a long interest list without asking the kernel about each.
 *
 * KCMP_EPOLL_TFD walks the list from its beginning, so asking for every entry takes the square of its length.
 * But the kernel keeps the list sorted by the address of the file, and fdinfo shows it so.  All files that an entry may
 * mean are put into an epoll of our own, whose fdinfo then shows their order.  An entry whose number leads to
 * the one file that fits between its neighbours needs no question; all others are asked for.
 */
#include "epoll.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util.h"

/* A file that an entry may mean. */
struct candidate {
	struct cr_file *file;
	uint32_t rank; /* place in the kernel's order, from 1; 0: not known */
};
typedef VEC(struct candidate) candidates;

static int by_file(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return ((uintptr_t)x->file > (uintptr_t)y->file) - ((uintptr_t)x->file < (uintptr_t)y->file);
}

/* Everything that can be polled but sockets, which their inodes tell apart. */
static void list_candidates(struct cr_session *s, struct cr_file *self, int ep, candidates *all)
{
	for (struct cr_file *c = s->core->file_next(s, NULL); c; c = s->core->file_next(s, c)) {
		struct epoll_event ev = { .data.u64 = all->n };
		const struct cr_file_info *info = s->core->file_info(c);

		if (c == self || !info || S_ISSOCK(info->st.st_mode) || S_ISREG(info->st.st_mode) || S_ISDIR(info->st.st_mode))
			continue;
		if (s->core->file_fd(c) >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, s->core->file_fd(c), &ev) == 0)
			*vec_push(all) = (struct candidate){ .file = c };
	}
}

/* 0 or -errno: the order could not be found out. */
static int rank_candidates(struct cr_session *s, struct cr_file *self, candidates *all)
{
	_cleanup_fd_ int ep = epoll_create1(EPOLL_CLOEXEC);
	_cleanup_buf_ struct buf text = { 0 };
	unsigned long long data;
	uint32_t rank = 0;
	char path[48];
	int err;

	if (ep < 0)
		return -1;
	list_candidates(s, self, ep, all);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ep);
	err = read_file(AT_FDCWD, path, &text);
	for (const char *p = text.p; !err && (p = strstr(p, " data:")); p++)
		if (sscanf(p, " data: %llx", &data) == 1 && data < all->n)
			all->v[data].rank = ++rank;
	if (!err && all->n)
		qsort(all->v, all->n, sizeof(*all->v), by_file);
	return err;
}

static uint32_t rank_of(const candidates *all, struct cr_file *f)
{
	struct candidate key = { .file = f };
	const struct candidate *c = f && all->n ? bsearch(&key, all->v, all->n, sizeof(key), by_file) : NULL;

	return c ? c->rank : 0;
}

void epoll_guess_targets(struct cr_session *s, struct cr_file *f, struct epoll *ep)
{
	_cleanup_free_ uint32_t *ranks = xcalloc(ep->n + 2, sizeof(*ranks));
	_cleanup_free_ size_t *index = xcalloc(ep->n + 2, sizeof(*index));
	candidates all = { 0 };
	size_t n = 0;

	if (rank_candidates(s, f, &all) == 0)
		for (size_t i = 0; i < ep->n; i++) {
			struct cr_file *c = epoll_plain_target(s, f, ep->watches[i].tfd);

			if (c && S_ISSOCK(s->core->file_info(c)->st.st_mode))
				continue; /* it has no place in the order */
			ranks[++n] = rank_of(&all, c);
			index[n] = i;
		}
	ranks[n + 1] = (uint32_t)all.n + 1;
	/* the only one between its neighbours: none is left out on either side */
	for (size_t i = 1; i <= n; i++) {
		struct watch *w = &ep->watches[index[i]];

		if (ranks[i] && ranks[i] == ranks[i - 1] + 1 && ranks[i + 1] == ranks[i] + 1)
			w->target = epoll_plain_target(s, f, w->tfd);
	}
	vec_free(&all);
}
