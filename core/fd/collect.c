/* SPDX-License-Identifier: MIT */
/*
 * collect.c: finds every open file description of the tree, once.
 *
 * Identity is kcmp(2)'s: descriptions are kept in buckets by device and inode, and
 * inside a bucket in kcmp's order, so that thousands of descriptions of the one
 * anonymous inode cost a binary search each.  Files behind mappings, executables,
 * working and root directories have no description that could be compared: they
 * are one object for each inode, name and access.
 */
#include "files_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17 /* linux/fcntl.h, which clashes with fcntl.h */
#endif

struct bucket {
	dev_t dev;
	ino_t ino;
	VEC(struct file *) ordered; /* by kcmp */
	VEC(struct file *) inodes;  /* mappings and the like */
};

struct files *files_get(struct session *s)
{
	if (!s->files)
		s->files = xcalloc(1, sizeof(*s->files));
	return s->files;
}

struct file *file_new(struct session *s)
{
	struct file *f = xcalloc(1, sizeof(*f));

	f->fd = -1;
	f->session = s;
	*vec_push(&files_get(s)->all) = f;
	return f;
}

void file_at(struct session *s, const struct file *f)
{
	if (s->mode == CR_MODE_RESTORE) {
		if (f->slots.n)
			at_object(s, "file %u (%s), pid %d fd %d", f->id, f->kind ? f->kind->name : "?",
				  task_vpid(f->slots.v[0].table->owner), f->slots.v[0].fd);
		else
			at_object(s, "file %u (%s)", f->id, f->kind ? f->kind->name : "?");
		return;
	}
	if (f->info.fd >= 0)
		at_object(s, "pid %d fd %d %s", f->info.task ? task_pid(task_of(f->info.task)) : 0, f->info.fd,
			  f->link);
	else if (f->info.task)
		at_object(s, "pid %d %s", task_pid(task_of(f->info.task)), f->link);
	else
		at_object(s, "%s", f->link);
}

static struct bucket *bucket_of(struct files *fs, dev_t dev, ino_t ino)
{
	size_t h, i;

	if (!fs->bucket_mask || fs->buckets.n * 2 > fs->bucket_mask) {
		/* grow: open addressing over a power of two */
		size_t old = fs->buckets.cap, mask = fs->bucket_mask ? fs->bucket_mask * 2 + 1 : 255;
		struct bucket **v = xcalloc(mask + 1, sizeof(*v));

		for (i = 0; i < old; i++) {
			struct bucket *b = fs->buckets.v ? fs->buckets.v[i] : NULL;

			if (!b)
				continue;
			for (h = (b->dev * 31 + b->ino) & mask; v[h]; h = (h + 1) & mask)
				;
			v[h] = b;
		}
		free(fs->buckets.v);
		fs->buckets.v = v;
		fs->buckets.cap = mask + 1;
		fs->bucket_mask = mask;
	}
	for (h = (dev * 31 + ino) & fs->bucket_mask; fs->buckets.v[h]; h = (h + 1) & fs->bucket_mask)
		if (fs->buckets.v[h]->dev == dev && fs->buckets.v[h]->ino == ino)
			return fs->buckets.v[h];
	fs->buckets.v[h] = xcalloc(1, sizeof(struct bucket));
	fs->buckets.v[h]->dev = dev;
	fs->buckets.v[h]->ino = ino;
	fs->buckets.n++;
	return fs->buckets.v[h];
}

static int kcmp_file(pid_t p1, int fd1, pid_t p2, int fd2)
{
	return syscall(SYS_kcmp, p1, p2, KCMP_FILE, fd1, fd2);
}

/* The object that (pid, fd) is a descriptor of; NULL with *ret_pos where a new one belongs. */
static struct file *bucket_search(struct bucket *b, pid_t pid, int fd, size_t *ret_pos)
{
	size_t lo = 0, hi = b->ordered.n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		struct file *f = b->ordered.v[mid];
		int c = kcmp_file(pid, fd, f->ident_pid, f->ident_fd);

		if (c == 0)
			return f;
		if (c == 1)
			hi = mid;
		else
			lo = mid + 1;
	}
	*ret_pos = lo;
	return NULL;
}

static char *anon_name(const char *link)
{
	const char *p = link;
	char *name;

	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): readlink_alloc() sets it when it returns 0 */
	if (strncmp(p, "anon_inode:", 11))
		return NULL;
	p += 11;
	name = xstrdup(*p == '[' ? p + 1 : p);
	if (*p == '[' && *name && name[strlen(name) - 1] == ']')
		name[strlen(name) - 1] = 0;
	return name;
}

static void fill_socket(struct cr_file_info *i, int fd)
{
	socklen_t len = sizeof(int);

	i->sock_domain = i->sock_type = i->sock_protocol = -1;
	if (!S_ISSOCK(i->st.st_mode) || fd < 0)
		return;
	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &i->sock_domain, &len);
	len = sizeof(int);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &i->sock_type, &len);
	len = sizeof(int);
	getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &i->sock_protocol, &len);
}

/* A name that does not lead to the file any more: unlinked, or now another file's. */
static bool name_gone(const char *link, const struct stat *st)
{
	static const char suffix[] = " (deleted)";
	size_t n = strlen(link);

	if (link[0] != '/' || n < sizeof(suffix) || strcmp(link + n - sizeof(suffix) + 1, suffix))
		return false;
	if (st->st_nlink) {
		struct stat now;

		/* a file that is really called "x (deleted)" */
		if (lstat(link, &now) == 0 && now.st_dev == st->st_dev && now.st_ino == st->st_ino)
			return false;
	}
	return true;
}

/* Of the file system that fd's file is on, asked once. 0: not known. */
static uint64_t fs_magic(struct files *fs, int fd, uint64_t dev)
{
	struct statfs sfs;

	for (size_t i = 0; i < fs->types.n; i++)
		if (fs->types.v[i].dev == dev)
			return fs->types.v[i].magic;
	if (fd < 0 || fstatfs(fd, &sfs) < 0)
		return 0;
	*vec_push(&fs->types) = (struct fs_type){ dev, (uint64_t)(unsigned long)sfs.f_type };
	return fs->types.v[fs->types.n - 1].magic;
}

/* Facts of f, from E's descriptor fd (may be -1) and the texts given; takes both strings. */
static void fill_info(struct session *s, struct file *f, int fd, const struct stat *st, char *link, char *fdinfo)
{
	struct proc_fdinfo pi;
	struct cr_file_info *i = &f->info;

	f->link = link;
	f->fdinfo = fdinfo;
	f->anon = anon_name(link);
	i->size = sizeof(*i);
	i->st = *st;
	i->link = link;
	i->fdinfo = fdinfo;
	i->anon = f->anon;
	i->mnt_id = -1;
	if (fd >= 0)
		i->fs_magic = fs_magic(files_get(s), fd, st->st_dev);
	if (*fdinfo && proc_parse_fdinfo(fdinfo, &pi) == 0) {
		i->pos = pi.pos;
		i->flags = pi.flags & ~O_CLOEXEC;
		i->mnt_id = pi.mnt_id;
	}
	i->nlink_gone = name_gone(link, st);
	fill_socket(i, fd);
}

/* F_GETOWN answers in E's pid namespace, as E sees the tree. */
static void fill_fown(struct file *f)
{
	struct f_owner_ex ex;
	uint32_t uids[2];
	int sig;

	f->fown.size = sizeof(f->fown);
	if (f->fd < 0 || (f->info.flags & O_PATH))
		return;
	sig = fcntl(f->fd, F_GETSIG);
	if (sig > 0)
		f->fown.signum = sig;
	if (fcntl(f->fd, F_GETOWN_EX, &ex) < 0 || ex.pid == 0)
		return;
	f->fown.pid = ex.pid;
	f->fown.pid_type = ex.type; /* F_OWNER_TID, PID, PGRP as the kernel numbers them */
	if (fcntl(f->fd, F_GETOWNER_UIDS, uids) == 0) {
		f->fown.uid = uids[0];
		f->fown.euid = uids[1];
	}
}

static struct file *new_object(struct session *s, struct task *t, uint32_t source, int fdnum)
{
	struct file *f = file_new(s);

	f->id = session_id(s, "file", &s->files->all.n, sizeof(s->files->all.n), NULL);
	f->info.mode = s->mode;
	f->info.source = source;
	f->info.fd = fdnum;
	f->info.task = cr_task_of(t);
	return f;
}

static char *fd_text(int procfd, const char *dir, int fd)
{
	char path[64];
	struct buf b = { 0 };

	snprintf(path, sizeof(path), "%s/%d", dir, fd);
	if (read_piece(procfd, path, &b) < 0) {
		buf_free(&b);
		return xstrdup("");
	}
	return b.p;
}

/* One slot of a task. pidfd may be -1: then nothing is duplicated. Vanished (check): *ret NULL. */
static int collect_slot(struct session *s, struct task *t, int procfd, int pidfd, int fd, struct file **ret,
			uint32_t *ret_cloexec)
{
	struct files *fs = files_get(s);
	_cleanup_free_ char *link = NULL;
	_cleanup_free_ char *fdinfo = NULL;
	_cleanup_fd_ int lfd = -1;
	struct proc_fdinfo pi;
	char path[32];
	struct stat st;
	struct bucket *b;
	struct file *f;
	size_t pos;
	int err;

	*ret = NULL;
	snprintf(path, sizeof(path), "fd/%d", fd);
	at_object(s, "pid %d fd %d", task_pid(t), fd);
	err = readlink_alloc(procfd, path, &link);
	/* a file that is open is quicker to look at than one by its name in /proc */
	if (err >= 0 && pidfd >= 0)
		lfd = FAULTS("duplicate of pid %d fd %d", task_pid(t), fd) ? -1 : syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (err >= 0 && lfd < 0 && s->mode != CR_MODE_CHECK)
		return fail(s, errno, "cannot duplicate %s: %s", link, strerror(errno));
	if (err >= 0 && (lfd >= 0 ? fstat(lfd, &st) : fstatat(procfd, path, &st, 0)) < 0)
		err = -errno;
	if (err < 0) {
		if (s->mode == CR_MODE_CHECK)
			return 0;
		return fail(s, -err, "cannot look at the descriptor: %s", strerror(-err));
	}
	fdinfo = fd_text(procfd, "fdinfo", fd);
	*ret_cloexec = proc_parse_fdinfo(fdinfo, &pi) == 0 && (pi.flags & O_CLOEXEC);
	b = bucket_of(fs, st.st_dev, st.st_ino);
	f = bucket_search(b, task_pid(t), fd, &pos);
	if (f) {
		*ret = f;
		return 0;
	}
	f = new_object(s, t, CR_SRC_FD, fd);
	f->ident_pid = task_pid(t);
	f->ident_fd = fd;
	fill_info(s, f, lfd, &st, link, fdinfo);
	link = fdinfo = NULL;
	f->fd = lfd;
	lfd = -1;
	fill_fown(f);
	(void)vec_push(&b->ordered);
	memmove(&b->ordered.v[pos + 1], &b->ordered.v[pos], (b->ordered.n - 1 - pos) * sizeof(*b->ordered.v));
	b->ordered.v[pos] = f;
	*ret = f;
	return 0;
}

/* An object known by inode, name and access only. fd: E's descriptor, taken over or closed. */
static int collect_inode(struct session *s, struct task *t, int fd, uint32_t source, uint32_t flags, char *link,
			 const struct proc_vma *v, struct file **ret)
{
	char path[64];
	struct bucket *b;
	struct stat st;
	struct file *f;

	if (fstat(fd, &st) < 0) {
		int err = errno;

		free(link);
		close(fd);
		return fail(s, err, "fstat: %s", strerror(err));
	}
	b = bucket_of(files_get(s), st.st_dev, st.st_ino);
	for (size_t i = 0; i < b->inodes.n; i++) {
		f = b->inodes.v[i];
		/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): readlink_alloc() sets it when it returns 0 */
		if (f->info.flags == flags && !strcmp(f->link, link) && (f->info.source == CR_SRC_MAPPING) == (v != NULL)) {
			free(link);
			close(fd);
			*ret = f;
			return 0;
		}
	}
	f = new_object(s, t, source, -1);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	fill_info(s, f, fd, &st, link, fd_text(AT_FDCWD, "/proc/self/fdinfo", fd));
	f->info.flags = flags;
	f->info.pos = 0;
	if (v) {
		f->info.map_start = v->start;
		f->info.map_end = v->end;
		f->info.map_prot = v->prot;
		f->info.map_flags = v->flags;
	}
	f->ident_pid = getpid();
	f->ident_fd = fd;
	f->fd = fd;
	f->fown.size = sizeof(f->fown);
	*vec_push(&b->inodes) = f;
	*ret = f;
	return 0;
}

int files_collect_mapping(struct session *s, struct task *t, const struct proc_vma *v, int fd, uint32_t *ret_id)
{
	bool rw = (v->flags & MAP_SHARED) && ((v->prot & PROT_WRITE) || (v->vmflags & VMF(MW)));
	char path[96], *link;
	struct file *f;
	int err, dup;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", task_pid(t), (long)v->start, (long)v->end);
	at_object(s, "pid %d mapping %lx-%lx %s", task_pid(t), (long)v->start, (long)v->end, v->path);
	if (readlink_alloc(AT_FDCWD, path, &link) < 0)
		link = xstrdup(v->path);
	dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (dup < 0) {
		free(link);
		return fail(s, errno, "out of descriptors: raise the limit of open files (ulimit -n)");
	}
	err = collect_inode(s, t, dup, CR_SRC_MAPPING, rw ? O_RDWR : O_RDONLY, link, v, &f);
	if (err < 0)
		return err;
	*ret_id = f->id;
	return 0;
}

bool files_leased(struct session *s, dev_t dev, ino_t ino)
{
	struct bucket *b = bucket_of(files_get(s), dev, ino);

	for (size_t i = 0; i < b->ordered.n; i++)
		if (strstr(b->ordered.v[i]->fdinfo, ": LEASE ") &&
		    !strstr(b->ordered.v[i]->fdinfo, ": LEASE  ACTIVE    READ "))
			return true;
	return false;
}

int files_open_inode(struct session *s, struct task *t, dev_t dev, ino_t ino, int flags)
{
	struct bucket *b = bucket_of(files_get(s), dev, ino);
	char path[64];
	struct stat st;
	int fd = -1;

	for (size_t i = 0; i < b->ordered.n && fd < 0; i++) {
		if (b->ordered.v[i]->fd < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", b->ordered.v[i]->fd);
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", task_pid(t));
	if (fd < 0 && stat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -EPERM : fd;
}

int files_collect_fd(struct session *s, struct task *t, int fd, uint32_t source, struct file **ret)
{
	char path[64], *link = NULL;
	struct bucket *b;
	struct stat st;
	struct file *f;
	size_t pos;
	int dup;

	if (fstat(fd, &st) < 0)
		return fail(s, errno, "fstat: %s", strerror(errno));
	b = bucket_of(files_get(s), st.st_dev, st.st_ino);
	f = bucket_search(b, getpid(), fd, &pos);
	if (f) {
		*ret = f;
		return 0;
	}
	dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (dup < 0)
		return fail(s, errno, "out of descriptors: raise the limit of open files (ulimit -n)");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dup);
	if (readlink_alloc(AT_FDCWD, path, &link) < 0)
		link = xstrdup("");
	f = new_object(s, t, source, -1);
	f->ident_pid = getpid();
	f->ident_fd = dup;
	f->fd = dup;
	fill_info(s, f, dup, &st, link, fd_text(AT_FDCWD, "/proc/self/fdinfo", dup));
	fill_fown(f);
	(void)vec_push(&b->ordered);
	memmove(&b->ordered.v[pos + 1], &b->ordered.v[pos], (b->ordered.n - 1 - pos) * sizeof(*b->ordered.v));
	b->ordered.v[pos] = f;
	*ret = f;
	return 0;
}

/* cwd, root or exe of t through the link of that name in /proc. */
static int collect_link(struct session *s, struct task *t, int procfd, const char *name, uint32_t source, int oflags,
			uint32_t *ret_id)
{
	char *link = NULL;
	struct file *f;
	int fd, err;

	at_object(s, "pid %d %s", task_pid(t), name);
	fd = openat(procfd, name, oflags | O_CLOEXEC);
	err = fd < 0 ? -errno : readlink_alloc(procfd, name, &link);
	if (err < 0) {
		if (fd >= 0)
			close(fd);
		if (s->mode == CR_MODE_CHECK && (err == -ENOENT || err == -ESRCH || err == -EACCES))
			return 0;
		return fail(s, -err, "cannot open it: %s%s", strerror(-err),
			    err == -EACCES ? " (needs CAP_DAC_OVERRIDE)" : "");
	}
	err = collect_inode(s, t, fd, source, O_RDONLY, link, NULL, &f);
	if (err < 0)
		return err;
	*ret_id = f->id;
	return 0;
}

/* The table of an earlier task that t shares (CLONE_FILES), or a new one. */
static struct fdtable *table_of(struct session *s, struct task *t, bool *ret_new)
{
	struct files *fs = files_get(s);
	struct fdtable *tab, *other;

	tab = xcalloc(1, sizeof(*tab));
	other = kcmp_find_or_add(&fs->by_table, task_pid(t), KCMP_FILES, tab);
	*ret_new = !other;
	if (other) {
		free(tab);
		return other;
	}
	tab->owner = t;
	*vec_push(&fs->tables) = tab;
	tab->id = fs->tables.n + 1; /* 1 is the engine's own */
	return tab;
}

static int collect_slots(struct session *s, struct task *t, int procfd)
{
	_cleanup_fd_ int pidfd = syscall(SYS_pidfd_open, task_pid(t), 0);
	struct fdtable *tab = t->fds;
	int_list fds = { 0 };
	int err = proc_list_fds(task_pid(t), &fds);

	if (err < 0) {
		vec_free(&fds);
		if (s->mode == CR_MODE_CHECK && (err == -ENOENT || err == -ESRCH))
			return 0;
		return fail(s, -err, "cannot list the descriptors of pid %d: %s", task_pid(t), strerror(-err));
	}
	for (size_t i = 0; i < fds.n && err == 0; i++) {
		struct slot sl = { .fd = fds.v[i] };

		err = collect_slot(s, t, procfd, pidfd, sl.fd, &sl.file, &sl.cloexec);
		if (err < 0 || !sl.file)
			continue;
		*vec_push(&tab->slots) = sl;
		*vec_push(&sl.file->slots) = (struct slot_ref){ tab, sl.fd };
	}
	vec_free(&fds);
	return err;
}

static int open_proc(struct session *s, const struct task *t)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", task_pid(t));
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? fail(s, errno, "%s: %s", path, strerror(errno)) : fd;
}

int files_collect_slots(struct session *s, struct task *t)
{
	_cleanup_fd_ int procfd = open_proc(s, t);
	bool fresh;
	int err = 0;

	if (procfd < 0)
		return procfd;
	t->fds = table_of(s, t, &fresh);
	if (fresh)
		err = collect_slots(s, t, procfd);
	at_object(s, NULL);
	return err;
}

int files_collect_links(struct session *s, struct task *t)
{
	_cleanup_fd_ int procfd = open_proc(s, t);
	int err = procfd < 0 ? procfd : 0;

	if (err == 0)
		err = collect_link(s, t, procfd, "cwd", CR_SRC_CWD, O_PATH | O_DIRECTORY, &t->cwd_id);
	if (err == 0)
		err = collect_link(s, t, procfd, "root", CR_SRC_ROOT, O_PATH | O_DIRECTORY, &t->root_id);
	if (err == 0)
		err = collect_link(s, t, procfd, "exe", CR_SRC_EXE, O_RDONLY, &t->exe_id);
	at_object(s, NULL);
	return err;
}

struct slot *fdtable_slot(struct fdtable *tab, int fd)
{
	size_t lo = 0, hi = tab ? tab->slots.n : 0;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (tab->slots.v[mid].fd == fd)
			return &tab->slots.v[mid];
		if (tab->slots.v[mid].fd < fd)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

void files_free(struct files *fs)
{
	if (!fs)
		return;
	for (size_t i = 0; i < fs->all.n; i++) {
		struct file *f = fs->all.v[i];

		if (f->fd >= 0)
			close(f->fd);
		free(f->link);
		free(f->fdinfo);
		free(f->anon);
		path_release(f);
		free(f->priv);
		free(f->msg);
		vec_free(&f->needs);
		vec_free(&f->uses);
		vec_free(&f->slots);
		free(f);
	}
	for (size_t i = 0; i < fs->tables.n; i++) {
		vec_free(&fs->tables.v[i]->slots);
		free(fs->tables.v[i]);
	}
	for (size_t i = 0; fs->buckets.v && i < fs->buckets.cap; i++)
		if (fs->buckets.v[i]) {
			vec_free(&fs->buckets.v[i]->ordered);
			vec_free(&fs->buckets.v[i]->inodes);
			free(fs->buckets.v[i]);
		}
	free(fs->buckets.v);
	vec_free(&fs->all);
	vec_free(&fs->tables);
	vec_free(&fs->by_table);
	vec_free(&fs->by_id);
	vec_free(&fs->types);
	free(fs);
}
