/* SPDX-License-Identifier: MIT */
/*
 * serve.c: one client, request after request.
 *
 * A request that dumps, restores or checks gets a session; whatever fails in it ends in the answer (success 0, cr_errno,
 * cr_errmsg: the first cause) and, when there is one by then, in the log.  While it runs the client is told of its
 * stages (notify_scripts), each of which it has to answer.
 */
#include "rpc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "options.h"
#include "plugin.h"
#include "restore/restore.h"
#include "signals.h"

/* Of the protocol that is spoken; a client compares it with what it needs. */
#define PROTOCOL_MAJOR 4
#define PROTOCOL_MINOR 2

static int run_check(struct session *s, int argc, char **argv)
{
	return check_required(s);
}

static int run_cpuinfo_dump(struct session *s, int argc, char **argv)
{
	char *what[] = { "dump", NULL };

	return cmd_cpuinfo(s, 1, what);
}

static int run_cpuinfo_check(struct session *s, int argc, char **argv)
{
	char *what[] = { "check", NULL };

	return cmd_cpuinfo(s, 1, what);
}

static const struct {
	CriuReqType type;
	struct command command;
} sessions[] = {
	{ CRIU_REQ_TYPE__DUMP, { "dump", NULL, CR_MODE_DUMP, CMD_ENGINE, cmd_dump } },
	{ CRIU_REQ_TYPE__RESTORE, { "restore", NULL, CR_MODE_RESTORE, CMD_ENGINE, cmd_restore } },
	{ CRIU_REQ_TYPE__CHECK, { "check", NULL, CR_MODE_CHECK, 0, run_check } },
	{ CRIU_REQ_TYPE__CPUINFO_DUMP, { "cpuinfo", NULL, 0, CMD_ENGINE, run_cpuinfo_dump } },
	{ CRIU_REQ_TYPE__CPUINFO_CHECK, { "cpuinfo", NULL, 0, CMD_ENGINE, run_cpuinfo_check } },
};

static const struct command *find_command(CriuReqType type)
{
	for (size_t i = 0; i < ARRAY_SIZE(sessions); i++)
		if (sessions[i].type == type)
			return &sessions[i].command;
	return NULL;
}

/* ---- notifications ---- */

/* The client hears of a stage and has to agree. */
static int notify(struct session *s, const char *action, pid_t root)
{
	const struct rpc *rpc = s->notify_arg;
	CriuNotify n = CRIU_NOTIFY__INIT;
	CriuResp resp = CRIU_RESP__INIT;
	CriuReq *req = NULL;
	bool agreed;
	int err;

	n.script = (char *)action;
	n.has_pid = root > 0;
	n.pid = root;
	resp.type = CRIU_REQ_TYPE__NOTIFY;
	resp.success = 1;
	resp.notify = &n;
	err = rpc_send(rpc->sk, &resp);
	if (err == 0)
		err = rpc_receive(rpc->sk, &req);
	if (err == 0)
		return fail(s, ECONNRESET, "the client went away instead of answering the notification %s", action);
	if (err < 0)
		return fail(s, -err, "notification %s: %s", action, strerror(-err));
	agreed = req->type == CRIU_REQ_TYPE__NOTIFY && req->has_notify_success && req->notify_success;
	criu_req__free_unpacked(req, NULL);
	return agreed ? 0 : fail(s, ECANCELED, "the client said no to %s", action);
}

/* ---- a session ---- */

/* Options and plugins of a request. 0 or -errno, recorded in s. */
static int set_up(struct session *s, const struct rpc *rpc, const CriuOpts *req)
{
	const char *config = req && req->config_file && req->config_file[0] ? req->config_file : NULL;
	char **plain = NULL;
	int n, err;

	if (config && access(config, F_OK) < 0 && errno == ENOENT)
		config = NULL; /* callers name theirs whether it is there or not */
	err = options_parse_early(s->opts, rpc->argc, rpc->argv);
	if (!err && config)
		err = options_read_file_early(s->opts, config);
	if (!err)
		plugins_load(s->opts, &s->plugins); /* an error is reported by the command */
	if (!err)
		err = options_read_configs(s->opts);
	if (!err)
		err = options_parse(s->opts, rpc->argc, rpc->argv, &n, &plain);
	free(plain);
	if (err)
		return fail(s, -err, "the options of this program, or its configuration files, are wrong");
	if (req)
		err = rpc_options(s, rpc, req, s->opts);
	if (!err && config && options_read_file(s->opts, config))
		err = fail(s, EINVAL, "configuration file %s", config);
	if (!err && req && req->has_notify_scripts && req->notify_scripts) {
		s->notify = notify;
		s->notify_arg = (void *)rpc;
	}
	return err;
}

/* What went wrong first, or stands in the way first, as a client's user will read it. */
static char *cause(const struct session *s)
{
	const struct blocker *b = s->blockers.n ? &s->blockers.v[0] : NULL;

	if (s->err.errnum)
		return xasprintf("%s: %s", s->err.plugin, s->err.text);
	if (!b)
		return xstrdup("it failed without a reason");
	return xasprintf("%s: %s%s%s%s%s%s", b->plugin, b->object, b->object[0] ? ": " : "", b->text, b->remedy ? " (try " : "",
			 b->remedy ? b->remedy : "", b->remedy ? ")" : "");
}

static int answer_failure(const struct rpc *rpc, CriuReqType type, int errnum, char *text)
{
	CriuResp resp = CRIU_RESP__INIT;

	resp.type = type;
	resp.success = 0;
	resp.has_cr_errno = 1;
	resp.cr_errno = errnum;
	resp.cr_errmsg = text;
	return rpc_send(rpc->sk, &resp);
}

static int answer_session(const struct rpc *rpc, CriuReqType type, const struct session *s, int result)
{
	CriuDumpResp dump = CRIU_DUMP_RESP__INIT;
	CriuRestoreResp restore = CRIU_RESTORE_RESP__INIT;
	CriuResp resp = CRIU_RESP__INIT;

	if (result < 0) {
		_cleanup_free_ char *text = cause(s);

		return answer_failure(rpc, type, s->err.errnum ? s->err.errnum : -result, text);
	}
	resp.type = type;
	resp.success = 1;
	if (type == CRIU_REQ_TYPE__DUMP) {
		dump.has_restored = 1;
		dump.restored = 0;
		resp.dump = &dump;
	}
	if (type == CRIU_REQ_TYPE__RESTORE) {
		restore.pid = s->restore->root;
		resp.restore = &restore;
	}
	return rpc_send(rpc->sk, &resp);
}

static int serve_session(const struct rpc *rpc, const struct command *c, const CriuReq *req)
{
	struct options *o = options_new();
	struct session *s = session_new(c->mode, o);
	struct plugins *plugins;
	int err, result;

	signals_catch(s);
	s->served = true;
	s->reported = true; /* in the answer */
	log_close();	    /* what is said from here on belongs into the log of this request */
	if (!req->opts && c->flags & CMD_ENGINE)
		result = fail(s, EINVAL, "the request has no options");
	else
		result = set_up(s, rpc, req->opts);
	if (result == 0) {
		log_set_level(opt_int(o, "verbosity"));
		result = command_run(s, c, 0, (char *[]){ NULL });
	}
	signals_catch(NULL);
	err = answer_session(rpc, req->type, s, result);
	plugins = s->plugins;
	session_free(s);
	options_free(o);
	plugins_free(plugins);
	log_close();
	return err;
}

/* ---- requests without one ---- */

static int serve_version(const struct rpc *rpc)
{
	CriuVersion v = CRIU_VERSION__INIT;
	CriuResp resp = CRIU_RESP__INIT;

	v.major_number = PROTOCOL_MAJOR;
	v.minor_number = PROTOCOL_MINOR;
	v.name = "Stasis " STASIS_VERSION;
	resp.type = CRIU_REQ_TYPE__VERSION;
	resp.success = 1;
	resp.version = &v;
	return rpc_send(rpc->sk, &resp);
}

/* What a client asks before it relies on it: none of these is there. */
static int serve_features(const struct rpc *rpc, const CriuFeatures *asked)
{
	CriuFeatures f = CRIU_FEATURES__INIT;
	CriuResp resp = CRIU_RESP__INIT;

	if (!asked)
		return answer_failure(rpc, CRIU_REQ_TYPE__FEATURE_CHECK, EINVAL, "the request names no feature");
	f.has_mem_track = asked->has_mem_track;
	f.has_lazy_pages = asked->has_lazy_pages;
	f.has_pidfd_store = asked->has_pidfd_store;
	resp.type = CRIU_REQ_TYPE__FEATURE_CHECK;
	resp.success = 1;
	resp.features = &f;
	return rpc_send(rpc->sk, &resp);
}

/* The end of a process that an earlier request of this client has restored. */
static int serve_wait(const struct rpc *rpc, const CriuReq *req)
{
	CriuResp resp = CRIU_RESP__INIT;
	pid_t pid = req->has_pid ? (pid_t)req->pid : -1;
	int status = 0;

	if (pid <= 0)
		return answer_failure(rpc, req->type, EINVAL, "the request names no pid");
	while (waitpid(pid, &status, 0) < 0) {
		_cleanup_free_ char *text = NULL;

		if (errno == EINTR)
			continue;
		text = xasprintf("cannot wait for process %d: %s", pid, strerror(errno));
		return answer_failure(rpc, req->type, errno, text);
	}
	resp.type = req->type;
	resp.success = 1;
	resp.has_status = 1;
	resp.status = status;
	return rpc_send(rpc->sk, &resp);
}

static int serve_one(const struct rpc *rpc, const CriuReq *req)
{
	const struct command *c = find_command(req->type);
	const ProtobufCEnumValue *name;
	_cleanup_free_ char *text = NULL;

	if (c)
		return serve_session(rpc, c, req);
	switch (req->type) {
	case CRIU_REQ_TYPE__VERSION:
		return serve_version(rpc);
	case CRIU_REQ_TYPE__FEATURE_CHECK:
		return serve_features(rpc, req->features);
	case CRIU_REQ_TYPE__WAIT_PID:
		return serve_wait(rpc, req);
	default:
		break;
	}
	name = protobuf_c_enum_descriptor_get_value(&criu_req_type__descriptor, (int)req->type);
	text = xasprintf("requests of type %s are not supported by this version", name ? name->name : "unknown");
	return answer_failure(rpc, req->type, EOPNOTSUPP, text);
}

static int set_peer(struct session *s, struct rpc *rpc)
{
	socklen_t len = sizeof(int);
	struct ucred who;
	int type = 0;

	if (getsockopt(rpc->sk, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return fail(s, errno, "descriptor %d: not a socket", rpc->sk);
	if (type != SOCK_SEQPACKET)
		return fail(s, EINVAL, "descriptor %d: requests come through a socket of type SOCK_SEQPACKET", rpc->sk);
	len = sizeof(who);
	if (getsockopt(rpc->sk, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return fail(s, errno, "descriptor %d: SO_PEERCRED", rpc->sk);
	rpc->peer = who.pid;
	/* the rights are ours: a client that could not do it itself must not do it through us */
	if (who.uid != geteuid() && who.uid != 0)
		return fail(s, EPERM, "the client is user %u, and only user %u and root are served", who.uid, geteuid());
	return 0;
}

int rpc_serve(struct session *s, int sk)
{
	struct rpc rpc = { .sk = sk, .argc = s->argc, .argv = s->argv };
	bool more = true;
	int err = set_peer(s, &rpc);

	while (err == 0 && more) {
		CriuReq *req = NULL;

		err = rpc_receive(sk, &req);
		if (err == 0)
			break;
		if (err < 0)
			return fail(s, -err, "the client sent no proper request: %s", strerror(-err));
		more = req->has_keep_open && req->keep_open;
		err = serve_one(&rpc, req);
		criu_req__free_unpacked(req, NULL);
		if (err < 0)
			fail(s, -err, "cannot answer the client: %s", strerror(-err));
	}
	return err;
}
