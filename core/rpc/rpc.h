/* SPDX-License-Identifier: MIT */
/*
 * rpc.h: the protocol of swrk and service: a SOCK_SEQPACKET unix socket, one protobuf message a packet, criu_req from the
 * client, criu_resp from us (proto/rpc.proto).
 *
 * A request is a session of its own, with its own options and plugins: the configuration files and our command line,
 * then what the request says, then the configuration file that it names.  A field of the request that is an option is
 * found by the option's rpc_field; the engine knows by name only those that are none.
 */
#ifndef CORE_RPC_H
#define CORE_RPC_H

#include "rpc.pb-c.h"
#include "session.h"

/* A client. */
struct rpc {
	int sk;		/* the socket, connected */
	pid_t peer;	/* who made it, as SO_PEERCRED has it: descriptors of a request are that process's */
	int argc;	/* our own command line */
	char **argv;
};

/*
 * Answers the requests on sk, a connected socket that stays the caller's, until the client is done: after one request unless
 * keep_open says otherwise.  In E; a restore with rst_sibling makes the root a child of our parent.
 * 0, or -errno recorded in s: the socket is none for this, the client broke the protocol.  A request that fails is not an
 * error here.
 */
int rpc_serve(struct session *s, int sk);

/* ---- wire.c ---- */

/* The next message, to be freed with criu_req__free_unpacked(). 1, 0 at the end, -errno: -EPROTO for what is no request. */
int rpc_receive(int sk, CriuReq **ret_req);
/* 0 or -errno. */
int rpc_send(int sk, const CriuResp *resp);

/* ---- request.c ---- */

/*
 * What the request says, into the options; fields that are neither an option nor known are refused, or left out with a
 * message when all they do is nothing here. 0 or -errno, recorded in s.
 */
int rpc_options(struct session *s, const struct rpc *rpc, const CriuOpts *req, struct options *o);

#endif
