/* SPDX-License-Identifier: MIT */
/*
 * status.c: /proc/PID/status.
 *
 * Lines "Key:\tvalues", in any order, unknown ones skipped: a table says for each
 * key where its values go.  Lines that every kernel and every state of a task
 * provides are required.
 */
#include "proc_priv.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

const char *proc_next_line(const char *p)
{
	const char *nl = strchr(p, '\n');

	return nl ? nl + 1 : p + strlen(p);
}

const char *proc_key(const char *p, const char *key)
{
	size_t n = strlen(key);

	if (strncmp(p, key, n) || p[n] != ':')
		return NULL;
	p += n + 1;
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

static bool at_end(const char *p)
{
	return *p == 0 || *p == '\n';
}

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* Up to max numbers of one line; n: how many there are. */
static int u32_line(const char *p, uint32_t *v, int max, int *ret_n)
{
	int n = 0;

	for (p = skip_blanks(p); !at_end(p); p = skip_blanks(p)) {
		uint64_t x;

		if (n == max || proc_number(&p, 10, &x) || x > UINT32_MAX)
			return -EPROTO;
		v[n++] = x;
	}
	*ret_n = n;
	return 0;
}

static int parse_name(const char *p, struct proc_status *st, size_t off)
{
	const char *end = p + strcspn(p, "\n");

	proc_unescape(p, end - p, st->comm, sizeof(st->comm));
	return 0;
}

static int parse_state(const char *p, struct proc_status *st, size_t off)
{
	if (!isalpha((unsigned char)*p))
		return -EPROTO;
	st->state = *p;
	return 0;
}

static int parse_pid(const char *p, struct proc_status *st, size_t off)
{
	int v;

	if (proc_int(&p, &v) || v < 0 || !at_end(p))
		return -EPROTO;
	*(pid_t *)((char *)st + off) = v;
	return 0;
}

static int parse_u64(const char *p, struct proc_status *st, size_t off)
{
	*(uint64_t *)((char *)st + off) = strtoull(p, NULL, 10);
	return 0;
}

static int parse_u32(const char *p, struct proc_status *st, size_t off)
{
	int n;

	return u32_line(p, (uint32_t *)((char *)st + off), 1, &n) || n != 1 ? -EPROTO : 0;
}

static int parse_ids(const char *p, struct proc_status *st, size_t off)
{
	int n;

	return u32_line(p, (uint32_t *)((char *)st + off), 4, &n) || n != 4 ? -EPROTO : 0;
}

static int parse_hex(const char *p, struct proc_status *st, size_t off)
{
	uint64_t v;

	if (proc_number(&p, 16, &v) || !at_end(p))
		return -EPROTO;
	*(uint64_t *)((char *)st + off) = v;
	return 0;
}

/* "0xffff…" */
static int parse_mask(const char *p, struct proc_status *st, size_t off)
{
	return strncmp(p, "0x", 2) ? -EPROTO : parse_hex(p + 2, st, off);
}

static int parse_levels(const char *p, struct proc_status *st, size_t off)
{
	struct pid_levels *l = (struct pid_levels *)((char *)st + off);
	uint32_t v[PID_LEVELS + 1];

	if (u32_line(p, v, ARRAY_SIZE(v), &l->n) || l->n < 1 || l->n > PID_LEVELS)
		return -EPROTO;
	for (int i = 0; i < l->n; i++) {
		if (v[i] > INT32_MAX)
			return -EPROTO;
		l->nr[i] = v[i];
	}
	return 0;
}

static int parse_groups(const char *p, struct proc_status *st, size_t off)
{
	for (p = skip_blanks(p); !at_end(p); p = skip_blanks(p)) {
		uint64_t v;

		if (proc_number(&p, 10, &v) || v > UINT32_MAX)
			return -EPROTO;
		*vec_push(&st->groups) = v;
	}
	return 0;
}

static int parse_umask(const char *p, struct proc_status *st, size_t off)
{
	uint64_t v;

	if (proc_number(&p, 8, &v) || v > 07777 || !at_end(p))
		return -EPROTO;
	st->umask = v;
	st->has_umask = true;
	return 0;
}

static int parse_thp(const char *p, struct proc_status *st, size_t off)
{
	return proc_int(&p, &st->thp_enabled);
}

struct status_line {
	const char *key;
	int (*parse)(const char *p, struct proc_status *st, size_t off);
	size_t off;
	bool required;
};
#define LINE(key, parse, field, req) { key, parse, offsetof(struct proc_status, field), req }
static const struct status_line status_lines[] = {
	LINE("Name", parse_name, comm, true),
	LINE("Umask", parse_umask, umask, false),
	LINE("State", parse_state, state, true),
	LINE("Tgid", parse_pid, tgid, true),
	LINE("PPid", parse_pid, ppid, true),
	LINE("TracerPid", parse_pid, tracer, true),
	LINE("Uid", parse_ids, uid, true),
	LINE("Gid", parse_ids, gid, true),
	LINE("Groups", parse_groups, groups, true),
	LINE("NStgid", parse_levels, nstgid, true),
	LINE("NSpid", parse_levels, nspid, true),
	LINE("NSpgid", parse_levels, nspgid, true),
	LINE("NSsid", parse_levels, nssid, true),
	LINE("THP_enabled", parse_thp, thp_enabled, false),
	LINE("untag_mask", parse_mask, untag_mask, false),
	LINE("Threads", parse_u32, threads, true),
	LINE("SigPnd", parse_hex, sigpnd, true),
	LINE("ShdPnd", parse_hex, shdpnd, true),
	LINE("SigBlk", parse_hex, sigblk, true),
	LINE("SigIgn", parse_hex, sigign, true),
	LINE("SigCgt", parse_hex, sigcgt, true),
	LINE("CapInh", parse_hex, cap_inh, true),
	LINE("CapPrm", parse_hex, cap_prm, true),
	LINE("CapEff", parse_hex, cap_eff, true),
	LINE("CapBnd", parse_hex, cap_bnd, true),
	LINE("CapAmb", parse_hex, cap_amb, true),
	LINE("NoNewPrivs", parse_u32, no_new_privs, true),
	LINE("Seccomp", parse_u32, seccomp, false),
	LINE("Seccomp_filters", parse_u32, seccomp_filters, false),
	LINE("voluntary_ctxt_switches", parse_u64, sleeps, false),
};
#undef LINE

int proc_parse_status(const char *text, struct proc_status *ret)
{
	struct proc_status st = { .thp_enabled = -1 };
	uint64_t seen = 0;

	for (const char *p = text; *p; p = proc_next_line(p)) {
		for (size_t i = 0; i < ARRAY_SIZE(status_lines); i++) {
			const struct status_line *l = &status_lines[i];
			const char *val = seen & (1ull << i) ? NULL : proc_key(p, l->key);

			if (!val)
				continue;
			if (l->parse(val, &st, l->off))
				goto bad;
			seen |= 1ull << i;
			break;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(status_lines); i++)
		if (status_lines[i].required && !(seen & (1ull << i)))
			goto bad;
	*ret = st;
	return 0;
bad:
	proc_status_free(&st);
	return -EPROTO;
}

int proc_read_status(pid_t pid, pid_t tid, struct proc_status *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	int err = proc_read_text(pid, tid, "status", &b);

	return err ? err : proc_parse_status(b.p, ret);
}

void proc_status_free(struct proc_status *st)
{
	vec_free(&st->groups);
}
