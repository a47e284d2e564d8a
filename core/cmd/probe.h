/* SPDX-License-Identifier: MIT */
/*
 * probe.h: probes of kernel features.  None leaves a trace: what needs a mount, a
 * link or a traced process happens in a child, in namespaces of its own where possible.
 * Each is a cr_feature.probe: *ret_value is 1 when the kernel has the feature and lets us use it.
 */
#ifndef CORE_PROBE_H
#define CORE_PROBE_H

#include <stdbool.h>

#include "cr-plugin.h"

#define PROBE(name) int probe_##name(struct cr_session *s, uint64_t *ret_value)

/* Runs fn in a child that is killed after five seconds; true when it returned true. */
bool probe_in_child(bool (*fn)(void));
/* The text occurs in the file. */
bool probe_text(const char *path, const char *text);

/* features_task.c */
PROBE(clone3_set_tid);
PROBE(pidfd_getfd);
PROBE(ptrace_seize);
PROBE(get_rseq_conf);
PROBE(seccomp_filters);
PROBE(seccomp_suspend);
PROBE(breakpoints);
PROBE(prctl_mm_map);
PROBE(timer_cr_ids);
PROBE(kcmp);
PROBE(kcmp_epoll);
PROBE(can_map_vdso);
PROBE(compat_cr);

/* features_mem.c */
PROBE(pagemap_scan);
PROBE(pagemap_scan_guard_pages);
PROBE(mem_dirty_track);
PROBE(uffd);
PROBE(uffd_noncoop);
PROBE(aio_remap);
PROBE(memfd_hugetlb);
PROBE(map_files);

/* features_fs.c */
PROBE(proc_children);
PROBE(mnt_id);
PROBE(fdinfo_lock);
PROBE(timerfd);
PROBE(userns);
PROBE(cgroupns);
PROBE(timens);
PROBE(netns);
PROBE(loginuid);
PROBE(ns_pid);
PROBE(apparmor_stacking);
PROBE(openat2);
PROBE(move_mount_set_group);
PROBE(autofs);
PROBE(overlayfs_maps);

/* features_net.c */
PROBE(tun);
PROBE(tun_ns);
PROBE(sk_ns);
PROBE(sk_unix_file);
PROBE(net_diag_raw);
PROBE(nsid);
PROBE(link_nsid);
PROBE(newifindex);
PROBE(nftables);
PROBE(ipt_legacy);
PROBE(tcp_half_closed);
PROBE(sockopt_buf_lock);
PROBE(ipv6_freebind);

#endif
