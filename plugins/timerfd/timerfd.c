/* SPDX-License-Identifier: MIT */
/*
 * timerfd.c: timerfd_create(2) timers.
 *
 * The message holds the time that was left at the dump, for absolute timers too,
 * as the well-known format does.  That is right for the monotonic clocks, which
 * start anew on another machine; an absolute timer of a real-time clock is meant to
 * expire at a date, which goes to an image of our own, x-timerfd-expiry.  Without
 * it (an image from elsewhere) the time left counts.
 *
 * A periodic timer that expired and was not read stands still in the kernel, which
 * counts the missed periods at the next read.  timerfd_gettime() makes it count them,
 * without taking them from the reader, so dump() asks that first.
 *
 * Timers are created disarmed and armed when everything else is ready (restored()),
 * so that the work of the restore does not run against them.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "timerfd.pb-c.h"
#include "timerfd-expiry.pb-c.h"
#include "util.h"

#define NSEC_PER_SEC 1000000000l

/* <linux/timerfd.h> does not go together with libc's headers */
#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

static const uint32_t known_clocks = 1u << CLOCK_REALTIME | 1u << CLOCK_MONOTONIC | 1u << CLOCK_BOOTTIME |
				     1u << CLOCK_REALTIME_ALARM | 1u << CLOCK_BOOTTIME_ALARM;

struct timer {
	uint32_t flags;
	uint32_t clock;
	uint32_t settime_flags;
	uint64_t ticks;
	struct itimerspec its; /* it_value: time left */
	int has_expiry;
	struct timespec expiry; /* date, for absolute timers of a real-time clock */
	int created; /* by open(): a timer passed from outside is not ours to arm */
	FownEntry fown;
};

static const struct cr_img_type img_expiry = {
	.size = sizeof(struct cr_img_type),
	.name = "x-timerfd-expiry",
	.magic = 0x54465831,
};

static const struct cr_file_kind tfd_kind;

static int tfd_match(const struct cr_file_info *info)
{
	if (!info->anon || strcmp(info->anon, "timerfd") || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

static int tfd_parse(const char *fdinfo, struct timer *t)
{
	const char *text = strstr(fdinfo, "clockid:");
	unsigned long long vs, vn, is, in, ticks;
	unsigned int clock, flags;

	if (!text || sscanf(text,
			    "clockid: %u ticks: %llu settime flags: %o it_value: (%llu, %llu) "
			    "it_interval: (%llu, %llu)",
			    &clock, &ticks, &flags, &vs, &vn, &is, &in) != 7)
		return -EPROTO;
	t->clock = clock;
	t->ticks = ticks;
	t->settime_flags = flags;
	t->its.it_value = (struct timespec){ vs, vn };
	t->its.it_interval = (struct timespec){ is, in };
	return 0;
}

static int tfd_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct timer t;

	if (tfd_parse(info->fdinfo, &t))
		return cr_refuse(s, "a kernel with CONFIG_CHECKPOINT_RESTORE",
				 "fdinfo of the timerfd shows no timer");
	if (t.ticks && !s->core->feature(s, "timerfd"))
		return cr_refuse(s, "a kernel with CONFIG_CHECKPOINT_RESTORE",
				 "the timerfd has %" PRIu64
				 " unread expirations, which this kernel cannot set again",
				 t.ticks);
	return 0;
}

static int is_armed(const struct itimerspec *its)
{
	return its->it_value.tv_sec || its->it_value.tv_nsec;
}

static int is_periodic(const struct itimerspec *its)
{
	return its->it_interval.tv_sec || its->it_interval.tv_nsec;
}

/* Ticks and time left at one instant; lfd: any descriptor of the timer. */
static int tfd_read(struct cr_session *s, int lfd, struct timer *t)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", lfd);
	/* it may expire once more between the two steps: a few attempts are enough, but for tiny periods */
	for (int i = 0; i < 8; i++) {
		_cleanup_buf_ struct buf text = { 0 };
		struct itimerspec now;
		int err = timerfd_gettime(lfd, &now) ? -errno : read_file(AT_FDCWD, path, &text);

		if (err < 0)
			return cr_fail(s, -err, "reading the timerfd: %s", strerror(-err));
		if (tfd_parse(text.p, t))
			return cr_fail(s, EPROTO, "fdinfo of the timerfd shows no timer");
		if (is_armed(&t->its) || !is_periodic(&t->its) || !t->ticks)
			break;
	}
	return 0;
}

static int is_date(const struct timer *t)
{
	return (t->settime_flags & TFD_TIMER_ABSTIME) &&
	       (t->clock == CLOCK_REALTIME || t->clock == CLOCK_REALTIME_ALARM);
}

static struct timespec time_add(struct timespec a, struct timespec b)
{
	a.tv_sec += b.tv_sec;
	a.tv_nsec += b.tv_nsec;
	if (a.tv_nsec >= NSEC_PER_SEC) {
		a.tv_sec++;
		a.tv_nsec -= NSEC_PER_SEC;
	}
	return a;
}

static int dump_expiry(struct cr_session *s, struct cr_file *f, const struct timer *t)
{
	TimerfdExpiryEntry e = TIMERFD_EXPIRY_ENTRY__INIT;
	struct timespec now;

	if (!is_date(t) || !is_armed(&t->its))
		return 0;
	if (clock_gettime(CLOCK_REALTIME, &now))
		return cr_fail(s, errno, "clock_gettime: %s", strerror(errno));
	now = time_add(now, t->its.it_value);
	e.id = s->core->file_id(f);
	e.sec = now.tv_sec;
	e.nsec = now.tv_nsec;
	return common_append(s, &img_expiry, CR_IMG_NO_ID, &e.base);
}

static int tfd_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	TimerfdEntry e = TIMERFD_ENTRY__INIT;
	struct timer t;
	FownEntry fown;
	int err = tfd_read(s, lfd, &t);

	if (err < 0)
		return err;
	err = dump_expiry(s, f, &t);
	if (err < 0)
		return err;
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	e.clockid = t.clock;
	e.ticks = t.ticks;
	e.settime_flags = t.settime_flags;
	e.vsec = t.its.it_value.tv_sec;
	e.vnsec = t.its.it_value.tv_nsec;
	e.isec = t.its.it_interval.tv_sec;
	e.insec = t.its.it_interval.tv_nsec;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int time_is_valid(uint64_t sec, uint64_t nsec)
{
	return sec <= INT64_MAX / NSEC_PER_SEC && nsec < NSEC_PER_SEC;
}

static int tfd_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ TimerfdEntry *e = common_unpack(s, &timerfd_entry__descriptor, data, len);
	struct timer *t = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	if (e->clockid >= 32 || !(known_clocks & (1u << e->clockid)))
		return cr_fail(s, EPROTO, "the image has a timerfd of clock %u, which does not exist",
			       e->clockid);
	if (!time_is_valid(e->vsec, e->vnsec) || !time_is_valid(e->isec, e->insec))
		return cr_fail(s, EPROTO, "the image has a timerfd with an impossible time");
	t->flags = e->flags;
	t->clock = e->clockid;
	t->settime_flags = e->settime_flags;
	t->ticks = e->ticks;
	t->its.it_value = (struct timespec){ e->vsec, e->vnsec };
	t->its.it_interval = (struct timespec){ e->isec, e->insec };
	t->fown = *e->fown;
	return 0;
}

static struct timer *timer_by_id(struct cr_session *s, uint32_t id)
{
	struct cr_file *f = s->core->file_by_id(s, id);

	return f && !strcmp(s->core->file_kind(f), tfd_kind.name) ? s->core->file_priv(f) : NULL;
}

static int read_expiries(struct cr_session *s, struct cr_reader *r)
{
	TimerfdExpiryEntry *e;
	int ret;

	while ((ret = common_next(s, r, &timerfd_expiry_entry__descriptor, (void **)&e)) > 0) {
		struct timer *t = timer_by_id(s, e->id);

		if (t && time_is_valid(e->sec, e->nsec)) {
			t->has_expiry = 1;
			t->expiry = (struct timespec){ e->sec, e->nsec };
		}
		common_free_msg(e);
	}
	return ret;
}

/*
 * Dates of absolute timers.  Read when the descriptors are open: every file object
 * has been loaded by then.
 */
static int tfd_opened(struct cr_session *s)
{
	struct cr_reader *r;
	int ret = s->core->img_open(s, &img_expiry, CR_IMG_NO_ID, &r);

	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	ret = read_expiries(s, r);
	s->core->img_close(r);
	return ret;
}

static int tfd_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct timer *t = s->core->file_priv(f);
	_cleanup_fd_ int fd = timerfd_create(t->clock, TFD_CLOEXEC);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "timerfd_create for clock %u: %s%s", t->clock, strerror(errno),
			       errno == EPERM ? " (alarm clocks need CAP_WAKE_ALARM)" : "");
	err = common_set_flags(s, fd, t->flags);
	if (err < 0)
		return err;
	t->created = 1;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int tfd_wire(struct cr_session *s, struct cr_file *f)
{
	const struct timer *t = s->core->file_priv(f);

	return common_fown_restore(s, f, &t->fown);
}

/* What timerfd_settime() is told now. */
static int first_expiry(struct cr_session *s, const struct timer *t, struct itimerspec *ret)
{
	struct timespec now;

	*ret = t->its;
	if (!is_armed(ret)) {
		/* expired, and the periods since were not counted: go on a period from now */
		if (t->ticks && is_periodic(ret))
			ret->it_value = ret->it_interval;
		else
			return 0;
	}
	if (!(t->settime_flags & TFD_TIMER_ABSTIME))
		return 0;
	if (t->has_expiry) {
		ret->it_value = t->expiry;
		return 0;
	}
	if (clock_gettime(t->clock, &now))
		return cr_fail(s, errno, "clock_gettime of clock %u: %s", t->clock, strerror(errno));
	ret->it_value = time_add(now, ret->it_value);
	return 0;
}

static int arm(struct cr_session *s, struct cr_file *f)
{
	const struct timer *t = s->core->file_priv(f);
	int fd = s->core->file_fd(f);
	struct itimerspec its;
	int err;

	if (fd < 0 || !t->created)
		return 0;
	err = first_expiry(s, t, &its);
	if (err < 0)
		return err;
	if (timerfd_settime(fd, t->settime_flags, &its, NULL))
		return cr_fail(s, errno, "timerfd_settime of file %u: %s", s->core->file_id(f),
			       strerror(errno));
	if (t->ticks && ioctl(fd, TFD_IOC_SET_TICKS, &t->ticks))
		return cr_fail(s, errno,
			       "the %" PRIu64 " unread expirations of timerfd %u cannot be set: %s "
			       "(needs CONFIG_CHECKPOINT_RESTORE)",
			       t->ticks, s->core->file_id(f), strerror(errno));
	return 0;
}

static int tfd_restored(struct cr_session *s)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		int err = strcmp(s->core->file_kind(f), tfd_kind.name) ? 0 : arm(s, f);

		if (err < 0)
			return err;
	}
	return 0;
}

/* ---- feature ---- */

static int probe_ticks(struct cr_session *s, uint64_t *ret_value)
{
	_cleanup_fd_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	uint64_t set = 3, got = 0;

	*ret_value = fd >= 0 && !ioctl(fd, TFD_IOC_SET_TICKS, &set) &&
		     read(fd, &got, sizeof(got)) == sizeof(got) && got == set;
	return 0;
}

static const struct cr_feature feature_timerfd = {
	.size = sizeof(struct cr_feature),
	.name = "timerfd",
	.cost = "unread expirations of timerfds cannot be kept",
	.probe = probe_ticks,
};

static const struct cr_file_kind tfd_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "timerfd",
	.fd_type = 17,
	.field = 12,
	.priv_size = sizeof(struct timer),
	.match = tfd_match,
	.check = tfd_check,
	.dump = tfd_dump,
	.load = tfd_load,
	.open = tfd_open,
	.wire = tfd_wire,
};
static const struct cr_file_kind *const tfd_kinds[] = { &tfd_kind, NULL };
static const struct cr_feature *const tfd_features[] = { &feature_timerfd, NULL };
static const struct cr_img_type *const tfd_images[] = { &img_expiry, NULL };

static const struct cr_plugin timerfd_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "timerfd",
	.version = "0.1",
	.summary = "Keeps timerfd timers.",
	.files = tfd_kinds,
	.features = tfd_features,
	.images = tfd_images,
	.opened = tfd_opened,
	.restored = tfd_restored,
	.caps = (const char *const[]){ "CAP_WAKE_ALARM: alarm clocks", NULL },
};
CR_PLUGIN_REGISTER(timerfd_plugin);
