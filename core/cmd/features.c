/* SPDX-License-Identifier: MIT */
/*
 * The kernel features that the core needs itself, and those that callers have
 * always been able to ask for with check --feature.  Without `extra` a feature is
 * required: plain `check` reports it.
 */
#include "probe.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"
#include "util.h"

#define FEATURE_FOR(m, n, fn, e, c) \
	&(const struct cr_feature){ .size = sizeof(struct cr_feature), .name = n, .cost = c, .extra = e, .modes = m, \
				    .probe = probe_##fn }
#define FEATURE(n, fn, e, c) FEATURE_FOR(0, n, fn, e, c)
#define DUMP (1u << CR_MODE_DUMP)

const struct cr_feature *const core_features[] = {
	/* required */
	FEATURE("clone3_set_tid", clone3_set_tid, 0, "nothing can be restored: tasks cannot get their pids"),
	FEATURE_FOR(DUMP, "pidfd_getfd", pidfd_getfd, 0, "open files cannot be dumped"),
	FEATURE("ptrace_seize", ptrace_seize, 0, "nothing can be dumped: tasks cannot be stopped"),
	FEATURE_FOR(DUMP, "get_rseq_conf", get_rseq_conf, 0, "tasks with restartable sequences (glibc 2.35) cannot be dumped"),
	FEATURE("prctl_mm_map", prctl_mm_map, 0, "nothing can be restored: the layout of memory cannot be set"),
	FEATURE_FOR(DUMP, "kcmp", kcmp, 0, "shared open files cannot be told from separate ones"),
	FEATURE_FOR(DUMP, "proc_children", proc_children, 0, "the tree of tasks cannot be found"),
	FEATURE_FOR(DUMP, "map_files", map_files, 0, "files behind mappings that were deleted cannot be dumped"),
	FEATURE_FOR(DUMP, "mnt_id", mnt_id, 0, "mounts of open files cannot be told apart"),
	FEATURE_FOR(DUMP, "seccomp_filters", seccomp_filters, 0, "tasks with seccomp filters cannot be dumped"),
	FEATURE_FOR(DUMP, "seccomp_suspend", seccomp_suspend, 0, "tasks with strict seccomp filters cannot be dumped"),

	/* needed by some programs or for speed */
	FEATURE("timer_cr_ids", timer_cr_ids, 1,
		"POSIX timers get their ids by creating and deleting others, which takes long for high ids"),
	FEATURE("pagemap_scan", pagemap_scan, 1, "finding the pages to dump takes longer"),
	FEATURE("pagemap_scan_guard_pages", pagemap_scan_guard_pages, 1, "guard regions (MADV_GUARD_INSTALL) are lost"),
	FEATURE("mem_dirty_track", mem_dirty_track, 1, "changed pages cannot be tracked with soft-dirty bits"),
	FEATURE("uffd", uffd, 1, "memory cannot be filled on demand"),
	FEATURE("uffd-noncoop", uffd_noncoop, 1, "memory of tasks that fork or remap cannot be filled on demand"),
	FEATURE("aio_remap", aio_remap, 1, "AIO rings cannot be restored"),
	FEATURE("memfd_hugetlb", memfd_hugetlb, 1, "memfds of huge pages cannot be restored"),
	FEATURE("can_map_vdso", can_map_vdso, 1, "a vDSO cannot be mapped at a chosen address"),
	FEATURE("compat_cr", compat_cr, 1, "32-bit tasks cannot be restored"),
	FEATURE("breakpoints", breakpoints, 1, "hardware breakpoints cannot be used"),
	FEATURE("kcmp_epoll", kcmp_epoll, 1,
		"files in an epoll set that are open under no number any more cannot be found"),
	FEATURE("pidfd_store", pidfd_getfd, 1, "pids that were reused between two dumps cannot be noticed"),
	FEATURE("timerfd", timerfd, 1, "expirations of timerfds that nobody has read are lost"),
	FEATURE("fdinfo_lock", fdinfo_lock, 1, "file locks cannot be dumped"),
	FEATURE("userns", userns, 1, "user namespaces cannot be dumped"),
	FEATURE("cgroupns", cgroupns, 1, "cgroup namespaces cannot be dumped"),
	FEATURE("timens", timens, 1, "clocks that have gone on monotonically jump at restore"),
	FEATURE("external_net_ns", netns, 1, "a network namespace cannot be left outside of the dump"),
	FEATURE("ns_pid", ns_pid, 1, "pids in nested namespaces cannot be found"),
	FEATURE("loginuid", loginuid, 1, "the login uid is lost"),
	FEATURE("apparmor_stacking", apparmor_stacking, 1, "stacked AppArmor profiles cannot be restored"),
	FEATURE("openat2", openat2, 1, "paths cannot be resolved below a root safely"),
	FEATURE("move_mount_set_group", move_mount_set_group, 1, "sharing of mounts is restored the slow way"),
	FEATURE("autofs", autofs, 1, "autofs mounts cannot be dumped"),
	FEATURE("overlayfs_maps", overlayfs_maps, 1, "files mapped from overlayfs look like those of the layer below"),
	FEATURE("tun", tun, 1, "tun devices cannot be dumped"),
	FEATURE("tun_ns", tun_ns, 1, "network namespaces of tun devices cannot be found"),
	FEATURE("sk_ns", sk_ns, 1, "network namespaces of sockets cannot be found"),
	FEATURE("sk_unix_file", sk_unix_file, 1, "files of bound unix sockets cannot be found"),
	FEATURE("net_diag_raw", net_diag_raw, 1, "raw sockets cannot be dumped"),
	FEATURE("nsid", nsid, 1, "nested network namespaces cannot be dumped"),
	FEATURE("link_nsid", link_nsid, 1, "peers of links in other namespaces cannot be found"),
	FEATURE("newifindex", newifindex, 1, "links cannot be moved under a chosen index"),
	FEATURE("nftables", nftables, 1, "nftables cannot be dumped"),
	FEATURE("network_lock_nftables", nftables, 1, "the network cannot be locked with nftables"),
	FEATURE("has_ipt_legacy", ipt_legacy, 1, "tables of legacy iptables cannot be dumped"),
	FEATURE("tcp_half_closed", tcp_half_closed, 1, "half closed TCP connections cannot be dumped"),
	FEATURE("sockopt_buf_lock", sockopt_buf_lock, 1, "locked sizes of socket buffers are lost"),
	FEATURE("ipv6_freebind", ipv6_freebind, 1, "the IPV6_FREEBIND option of sockets is lost"),
	NULL,
};

bool probe_in_child(bool (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(5);
		_exit(fn() ? 1 : 0);
	}
	if (pid < 0)
		return false;
	while (waitpid(pid, &status, 0) != pid)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

bool probe_text(const char *path, const char *text)
{
	_cleanup_buf_ struct buf b = { 0 };

	return read_file(AT_FDCWD, path, &b) == 0 && strstr(b.p, text);
}
