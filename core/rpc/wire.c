/* SPDX-License-Identifier: MIT */
#include "rpc.h"

#include <errno.h>
#include <sys/socket.h>

#include "signals.h"

#define REQUEST_BYTES (1u << 20) /* more is nobody's request */

int rpc_receive(int sk, CriuReq **ret_req)
{
	_cleanup_free_ void *data = NULL;
	ssize_t len, n;

	do {
		/* the real length of the packet, which stays in the queue */
		len = recv(sk, NULL, 0, MSG_PEEK | MSG_TRUNC);
	} while (len < 0 && errno == EINTR && !signals_caught());
	if (len < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (len == 0)
		return 0;
	if (len > REQUEST_BYTES)
		return -EMSGSIZE;
	data = xcalloc(1, len);
	n = recv(sk, data, len, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	*ret_req = criu_req__unpack(NULL, n, data);
	return *ret_req ? 1 : -EPROTO;
}

int rpc_send(int sk, const CriuResp *resp)
{
	size_t len = criu_resp__get_packed_size(resp);
	_cleanup_free_ uint8_t *data = xcalloc(1, len + 1);
	ssize_t n;

	criu_resp__pack(resp, data);
	do {
		n = send(sk, data, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
