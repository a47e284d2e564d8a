/* SPDX-License-Identifier: MIT */
/*
 * unkept.c: things that are known and that nobody can keep.
 *
 * Each would be refused anyway, for no plugin claims it; here it is refused with the reason and
 * with what the user can do.  The claims are the weakest there are: a plugin that can keep one of these
 * simply claims it.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cr-plugin.h"

static const struct unkept {
	const char *kind; /* for --policy */
	const char *name; /* beginning of the link of the descriptor, or of the name of the mapping */
	const char *what, *why, *remedy;
} table[] = {
	{ "perf", "anon_inode:[perf_event]", "a performance counter (perf_event_open)", "what it counts cannot be read back",
	  "end the measurement before the dump" },
	{ "seccomp-notify", "anon_inode:seccomp notify", "the listener of a seccomp filter", "it belongs to the filter of a "
		"running process",
	  "dump without the supervising program, or let that program close it" },
	{ "bpf-prog", "anon_inode:bpf-prog", "a BPF program", "the kernel gives a verified program back to nobody who could "
		"load it again",
	  "let the program close it, and load it again after the restore" },
	{ "bpf-link", "anon_inode:bpf-link", "the attachment of a BPF program", "it is an effect on the kernel, not state of "
		"the process",
	  "let the program detach it before the dump" },
	{ "bpf-link", "anon_inode:bpf_link", "the attachment of a BPF program", "it is an effect on the kernel, not state of "
		"the process",
	  "let the program detach it before the dump" },
	{ "bpfmap", "anon_inode:bpf-map", "a mapped BPF map", "the kernel does not tell which map it is",
	  "let the program unmap it before the dump" },
	{ "bpf-iter", "anon_inode:bpf_iter", "an iterator of a BPF program", "it is in the middle of a list of the kernel",
	  "let the program close it" },
	{ "btf", "anon_inode:btf", "BTF type information", "it belongs to loaded BPF programs", "let the program close it" },
	{ "dmabuf", "/dmabuf:", "a buffer of a device (dma-buf)", "only the driver that made it knows what it is",
	  "use a plugin for the device, or let the program release its buffers" },
	{ "sync-file", "anon_inode:sync_file", "a fence of a device", "it stands for work that the device does at this moment",
	  "wait until the device is idle" },
	{ "kvm", "anon_inode:kvm-", "a virtual machine (KVM)", "its state is the hypervisor's to save",
	  "use the snapshot function of the virtual machine program" },
	{ "vfio", "anon_inode:[vfio", "a device given to the program (VFIO)", "the device keeps its state to itself",
	  "take the device away from the program before the dump" },
	{ "landlock-ruleset", "anon_inode:[landlock-ruleset]", "a Landlock ruleset", "its rules cannot be read back",
	  "let the program close it when it has restricted itself" },
	{ "fscontext", "anon_inode:[fscontext]", "a file system that is being configured (fsopen)",
		"what was set cannot be read back",
	  "let the program finish the mount" },
	{ "mapped-socket", "socket:[", "the ring of a packet socket, or data of a zero-copy receive",
		"it is shared with the network device",
	  "let the program unmap it before the dump" },
};

/* Families of sockets; numbers that older headers lack as such. */
static const struct family {
	int number;
	const char *name, *remedy;
} families[] = {
	{ AF_AX25, "AX.25 (amateur radio)", NULL },
	{ AF_IPX, "IPX", NULL },
	{ AF_APPLETALK, "AppleTalk", NULL },
	{ AF_X25, "X.25", NULL },
	{ AF_KEY, "IPsec keys (PF_KEY)", "end the key daemon before the dump, and start it again after the restore" },
	{ AF_PACKET, "packets of a network device (AF_PACKET)", "load the plugin packet" },
	{ AF_RDS, "RDS", NULL },
	{ AF_PPPOX, "PPP over Ethernet or L2TP", "let the program hang up, and dial again after the restore" },
	{ AF_LLC, "LLC", NULL },
	{ AF_IB, "InfiniBand", NULL },
	{ AF_CAN, "CAN bus", "let the program close it, and open it again after the restore" },
	{ AF_TIPC, "TIPC", NULL },
	{ AF_BLUETOOTH, "Bluetooth", "let the program disconnect, and pair again after the restore" },
	{ 33 /* AF_RXRPC */, "RxRPC (AFS)", NULL },
	{ AF_ISDN, "ISDN", NULL },
	{ AF_PHONET, "Phonet", NULL },
	{ AF_IEEE802154, "IEEE 802.15.4", NULL },
	{ AF_ALG, "the kernel's ciphers (AF_ALG), whose key and state cannot be read back",
	  "use the built-in ciphers of the program (OPENSSL_CONF without the engine afalg), or let it close the socket" },
	{ AF_NFC, "NFC", NULL },
	{ AF_VSOCK, "the hypervisor (AF_VSOCK)", "load the plugin vsock" },
	{ AF_KCM, "multiplexed TCP (KCM), whose program cannot be read back", NULL },
	{ AF_QIPCRTR, "a modem (QIPCRTR)", NULL },
	{ 43 /* AF_SMC */, "SMC", "start the program without smc_run: then it uses TCP, which can be kept" },
	{ 44 /* AF_XDP */, "a queue of a network device (AF_XDP), which is shared with its driver",
	  "let the program fall back to AF_PACKET, or close the socket before the dump and open it again after the restore" },
	{ 45 /* AF_MCTP */, "management controllers (MCTP)", NULL },
};

static const char family_remedy[] = "let the program close it before the dump, and open it again after the restore";

/* A program that can do without it may find it closed. */
static const char *policy_too(struct cr_session *s, const char *remedy, const char *kind)
{
	static const char text[] = "; or give it up with --policy ";
	size_t room = strlen(remedy) + sizeof(text) + strlen(kind) + sizeof("=close");
	char *all = s->core->alloc(s, room);

	snprintf(all, room, "%s%s%s=close", remedy, text, kind);
	return all;
}

static int refuse_socket(struct cr_session *s, const struct cr_file_info *info)
{
	const char *type = info->sock_type == SOCK_STREAM ? "stream" : info->sock_type == SOCK_DGRAM ? "datagram" :
			   info->sock_type == SOCK_RAW ? "raw" : info->sock_type == SOCK_SEQPACKET ? "packet" : "other";

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		const struct family *f = &families[i];

		if (f->number == info->sock_domain)
			return cr_refuse(s, policy_too(s, f->remedy ? f->remedy : family_remedy, "other-socket"),
					 "no plugin keeps sockets for %s: type %s, protocol %d", f->name, type,
					 info->sock_protocol);
	}
	if (info->sock_domain == AF_INET || info->sock_domain == AF_INET6)
		return cr_refuse(s, policy_too(s, family_remedy, "other-socket"), "no plugin keeps this kind of socket for "
				 "the internet (%s): type %s, protocol "
				 "%d%s", info->sock_domain == AF_INET ? "IPv4" : "IPv6", type, info->sock_protocol,
				 info->sock_protocol == IPPROTO_SCTP ? ", which is SCTP" :
				 info->sock_protocol == IPPROTO_DCCP ? ", which is DCCP" : "");
	return cr_refuse(s, policy_too(s, family_remedy, "other-socket"), "no plugin keeps sockets of family %d: type %s, "
			 "protocol %d", info->sock_domain,
			 type, info->sock_protocol);
}

static const struct unkept *find(const char *name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strncmp(name, table[i].name, strlen(table[i].name)))
			return &table[i];
	return NULL;
}

static int refuse(struct cr_session *s, const char *name, int mapped)
{
	const struct unkept *u = find(name);

	return cr_refuse(s, mapped ? u->remedy : policy_too(s, u->remedy, u->kind), "%s cannot be kept: %s", u->what, u->why);
}

static int file_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	return S_ISSOCK(info->st.st_mode) ? refuse_socket(s, info) : refuse(s, info->link, 0);
}

static int vma_match(const struct cr_vma_info *info)
{
	return find(info->path) ? CR_GENERIC : CR_NOT_MINE;
}

static int vma_check(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	return refuse(s, info->path, 1);
}

/* What --policy calls them; they never get into files.img, so that the field does not matter. */
#define KIND(n) \
	&(const struct cr_file_kind){ .size = sizeof(struct cr_file_kind), .name = n, .fd_type = 16, .field = 100130, \
				      .check = file_check, .dump = file_check, .policies = 1u << CR_POLICY_FAIL }
static const struct cr_file_kind *const file_kinds[] = {
	KIND("other-socket"), KIND("perf"), KIND("seccomp-notify"), KIND("bpf-prog"), KIND("bpf-link"), KIND("bpf-iter"),
	KIND("btf"), KIND("dmabuf"), KIND("sync-file"), KIND("kvm"), KIND("vfio"), KIND("landlock-ruleset"), KIND("fscontext"),
	NULL,
};

static const struct cr_file_kind *kind_called(const char *name)
{
	for (size_t i = 0; file_kinds[i]; i++)
		if (!strcmp(file_kinds[i]->name, name))
			return file_kinds[i];
	return NULL;
}

/* Sockets are in the table for their mappings; as files, those that nobody else claims are known by their family. */
static int file_match(struct cr_session *s, const struct cr_file_info *info, const struct cr_file_kind **ret_kind)
{
	const struct unkept *u;

	if (S_ISSOCK(info->st.st_mode)) {
		*ret_kind = file_kinds[0];
		return info->sock_domain >= 0 ? CR_GENERIC : CR_NOT_MINE;
	}
	u = info->link && !(info->flags & 010000000 /* O_PATH */) ? find(info->link) : NULL;
	*ret_kind = u ? kind_called(u->kind) : NULL;
	return *ret_kind ? CR_GENERIC : CR_NOT_MINE;
}

static const struct cr_vma_kind vma_kind = {
	.size = sizeof(struct cr_vma_kind),
	.name = "unkept",
	.match = vma_match,
	.check = vma_check,
	.dump = vma_check,
};
static const struct cr_vma_kind *const vma_kinds[] = { &vma_kind, NULL };

static const struct cr_plugin unkept_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "unkept",
	.version = "0.1",
	.summary = "Says why some things cannot be kept, and what to do.",
	.files = file_kinds,
	.match = file_match,
	.vmas = vma_kinds,
};
CR_PLUGIN_REGISTER(unkept_plugin);
