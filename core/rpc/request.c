/* SPDX-License-Identifier: MIT */
/*
 * request.c: from the fields of criu_opts to options.
 *
 * The fields are walked by their description, so that an option with an rpc_field needs no line here.
 */
#include "rpc.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "options.h"

typedef const ProtobufCFieldDescriptor field_desc;

/* Where the field lies in the message. */
static const void *field_at(const ProtobufCMessage *m, field_desc *f)
{
	return (const char *)m + f->offset;
}

static size_t field_count(const ProtobufCMessage *m, field_desc *f)
{
	const void *q = (const char *)m + f->quantifier_offset;
	const char *text;

	switch (f->label) {
	case PROTOBUF_C_LABEL_REPEATED:
		return *(const size_t *)q;
	case PROTOBUF_C_LABEL_REQUIRED:
		return 1;
	default:
		break;
	}
	if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE) {
		memcpy(&text, field_at(m, f), sizeof(text));
		return text && text != f->default_value;
	}
	return *(const protobuf_c_boolean *)q;
}

/* The i-th value as an option's text; NULL: it has none (a message). */
static char *field_text(const ProtobufCMessage *m, field_desc *f, size_t i)
{
	const void *at = field_at(m, f);
	const ProtobufCEnumValue *ev;
	char *text;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return xstrdup(f->label == PROTOBUF_C_LABEL_REPEATED ? (*(char *const *const *)at)[i] : *(char *const *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return xstrdup(*(const protobuf_c_boolean *)at ? "1" : "0");
	case PROTOBUF_C_TYPE_INT32:
		return xasprintf("%" PRId32, *(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
		return xasprintf("%" PRIu32, *(const uint32_t *)at);
	case PROTOBUF_C_TYPE_ENUM:
		ev = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)at);
		text = ev ? xstrdup(ev->name) : xasprintf("%d", *(const int *)at);
		for (char *p = text; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		return text;
	default:
		return NULL;
	}
}

/* A number or flag that says what would be without it. */
static bool says_nothing(const ProtobufCMessage *m, field_desc *f)
{
	const void *at = field_at(m, f);

	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return !*(const protobuf_c_boolean *)at;
	case PROTOBUF_C_TYPE_INT32: case PROTOBUF_C_TYPE_UINT32: case PROTOBUF_C_TYPE_ENUM:
		return *(const uint32_t *)at == (f->default_value ? *(const uint32_t *)f->default_value : 0);
	default:
		return false;
	}
}

/* ---- fields that are no options ---- */

/* Read by this file, or by who serves the request. */
static const char *const own_fields[] = { "images_dir_fd", "images_dir", "work_dir_fd", "inherit_fd", "unix_sk_ino", "cpu_cap",
					  "notify_scripts", "config_file", "log_to_stderr", NULL };

/*
 * About mounts, cgroups, security modules and terminals of containers: callers send them for every container, whether it has
 * such things or not.  What of them the tree really has is refused by name when it is found there.
 */
static const char *const idle_fields[] = { "evasive_devices", "root", "track_mem", "auto_dedup", "ext_mnt", "auto_ext_mnt",
					   "ext_sharing", "ext_masters", "skip_mnt", "enable_fs", "manage_cgroups",
					   "manage_cgroups_mode", "cg_root", "cgroup_props", "cgroup_props_file",
					   "cgroup_dump_controller", "cgroup_yard", "empty_ns", "weak_sysctls",
					   "orphan_pts_master", "lsm_profile", "lsm_mount_context", "pre_dump_mode",
					   "mntns_compat_mode", NULL };

static bool among(const char *const *names, const char *name)
{
	while (*names && strcmp(*names, name))
		names++;
	return *names;
}

static int refuse_field(struct session *s, const ProtobufCMessage *m, field_desc *f)
{
	if (says_nothing(m, f) || among(own_fields, f->name))
		return 0;
	if (!among(idle_fields, f->name))
		return fail(s, EOPNOTSUPP, "the request has %s, which this version cannot do: leave it out", f->name);
	log_info("request: %s has no effect here", f->name);
	return 0;
}

/* ---- fields that are options ---- */

static int set(struct session *s, struct options *o, const char *name, const char *value)
{
	return options_set(o, name, value) ? fail(s, EINVAL, "the request has a bad value for %s: %s", name, value) : 0;
}

static int set_field(struct session *s, struct options *o, const ProtobufCMessage *m, field_desc *f, const char *name)
{
	size_t n = field_count(m, f);
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		_cleanup_free_ char *text = field_text(m, f, i);

		err = text ? set(s, o, name, text) : fail(s, EOPNOTSUPP, "the request has %s, which is no plain value", f->name);
	}
	return err;
}

/* A directory by a descriptor of the client. */
static int set_dir(struct session *s, const struct rpc *rpc, struct options *o, const char *name, int fd)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", rpc->peer, fd);

	return fd < 0 ? fail(s, EBADF, "the request has %d as the descriptor of the %s", fd, name) : set(s, o, name, path);
}

static int set_directories(struct session *s, const struct rpc *rpc, const CriuOpts *req, struct options *o)
{
	int err = 0;

	/* the path counts where both are there, and the descriptor can only be left out by -1 */
	if (req->images_dir && req->images_dir[0])
		err = set(s, o, "images-dir", req->images_dir);
	else
		err = set_dir(s, rpc, o, "images-dir", req->images_dir_fd);
	if (!err && req->has_work_dir_fd && req->work_dir_fd >= 0)
		err = set_dir(s, rpc, o, "work-dir", req->work_dir_fd);
	return err;
}

/* Descriptors that were passed to us when we were started; see --inherit-fd. */
static int set_lists(struct session *s, const CriuOpts *req, struct options *o)
{
	int err = 0;

	for (size_t i = 0; i < req->n_inherit_fd && !err; i++) {
		_cleanup_free_ char *text = xasprintf("fd[%d]:%s", req->inherit_fd[i]->fd, req->inherit_fd[i]->key);

		err = set(s, o, "inherit-fd", text);
	}
	for (size_t i = 0; i < req->n_unix_sk_ino && !err; i++) {
		_cleanup_free_ char *text = xasprintf("unix[%u]", req->unix_sk_ino[i]->inode);

		err = set(s, o, "external", text);
	}
	return err;
}

static int set_cpu_cap(struct session *s, const CriuOpts *req, struct options *o)
{
	if (!req->has_cpu_cap || req->cpu_cap == UINT32_MAX)
		return 0;
	if (req->cpu_cap)
		return fail(s, EOPNOTSUPP, "the request has cpu_cap %#x: say --cpu-cap in a configuration file", req->cpu_cap);
	return set(s, o, "cpu-cap", "none");
}

int rpc_options(struct session *s, const struct rpc *rpc, const CriuOpts *req, struct options *o)
{
	const ProtobufCMessage *m = &req->base;
	const ProtobufCMessageDescriptor *d = m->descriptor;
	int err = 0;

	for (unsigned i = 0; i < d->n_fields && !err; i++) {
		field_desc *f = &d->fields[i];
		const char *name = among(own_fields, f->name) ? NULL : options_by_rpc_field(o, f->name);

		if (!field_count(m, f))
			continue;
		err = name ? set_field(s, o, m, f, name) : refuse_field(s, m, f);
	}
	if (!err)
		err = set_directories(s, rpc, req, o);
	if (!err)
		err = set_lists(s, req, o);
	if (!err)
		err = set_cpu_cap(s, req, o);
	if (!err && !opt_given(o, "log-file") && !(req->has_log_to_stderr && req->log_to_stderr))
		err = set(s, o, "log-file", "criu.log");
	return err;
}
