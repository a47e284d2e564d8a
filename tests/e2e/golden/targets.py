#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""targets.py CASE DIR: small programs whose images golden.sh compares with what the well-known format has.

tasks  sessions, groups, a zombie, threads, timers, actions, masks, queued signals
files  regular files of every kind, pipes, a FIFO, eventfd, timerfd, signalfd, epoll, memfd, inotify, pidfd, locks
mem    private, shared and file mappings, copied on write
socks  unix, TCP, UDP, netlink and packet sockets, with what is queued in them
"""
import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
kept = []


def sleep_on():
    while True:
        time.sleep(1000)


def child(before=None):
    pid = os.fork()
    if pid == 0:
        if before:
            before()
        sleep_on()
    return pid


def tasks():
    child(os.setsid)
    child(lambda: (os.setpgid(0, 0), os.setpriority(os.PRIO_PROCESS, 0, 7)))
    dead = os.fork()
    if dead == 0:
        os._exit(9)
    signal.signal(signal.SIGUSR2, lambda *a: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGALRM])
    for _ in range(2):
        threading.Thread(target=sleep_on, daemon=True).start()
    signal.setitimer(signal.ITIMER_REAL, 4000, 5)
    event = struct.pack("Qii48x", 77, signal.SIGRTMIN, 0)  # sigev_value, sigev_signo, SIGEV_SIGNAL
    timer = ctypes.c_void_p()
    libc.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(timer))
    libc.timer_settime(timer, 0, struct.pack("4q", 6, 0, 3000, 0), None)
    os.kill(os.getpid(), signal.SIGUSR2)
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)


def files():
    log = open("log", "w+")
    log.write("twelve bytes")
    log.flush()
    log.seek(6)
    gone = open("gone", "w+")
    gone.write("nobody has this name")
    gone.flush()
    os.unlink("gone")
    kept.extend([log, gone])
    os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(log.fileno(), 90)
    r, w = os.pipe()
    os.write(w, b"seven!!")
    os.mkfifo("fifo")
    os.write(os.open("fifo", os.O_RDWR), b"in the fifo")
    event = libc.eventfd(11, 0)
    timer = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
    libc.timerfd_settime(timer, 0, struct.pack("4q", 8, 0, 2000, 0), None)
    libc.signalfd(-1, struct.pack("Q", 1 << signal.SIGUSR1 - 1) + bytes(120), 0)
    epoll = select.epoll()
    epoll.register(r, select.EPOLLIN)
    epoll.register(event, select.EPOLLIN | select.EPOLLET)
    kept.append(epoll)
    mem = os.memfd_create("scratch", 0)
    os.write(mem, b"x" * 5000)
    kept.append(mmap.mmap(mem, 4096))
    libc.inotify_add_watch(libc.inotify_init1(0), b".", 0x100)  # IN_CREATE
    fcntl.flock(log, fcntl.LOCK_EX)
    fcntl.lockf(gone, fcntl.LOCK_EX, 20, 4)
    os.pidfd_open(os.getpid())
    child()


def mem():
    shared = mmap.mmap(-1, 16 * 4096)
    shared[:6] = b"common"
    private = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    private[8192:8196] = b"mine"
    with open("mapped", "w+b") as f:
        f.write(b"m" * 12288)
        f.flush()
        both = mmap.mmap(f.fileno(), 12288)
        copy = mmap.mmap(f.fileno(), 12288, flags=mmap.MAP_PRIVATE)
    copy[4096:4100] = b"copy"
    kept.extend([shared, private, both, copy])
    child()


def socks():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    one.send(b"waiting")
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen(4)
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")
    accepted = server.accept()[0]
    accepted.send(b"hello")
    named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    named.bind("\0golden")
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect("\0golden")
    sender.send(b"datagram")
    kept.extend([one, other, server, client, accepted, named, sender])
    listener = socket.create_server(("127.0.0.1", 7101), backlog=6)
    connected = socket.create_connection(("127.0.0.1", 7101))
    peer = listener.accept()[0]
    connected.send(b"not read yet")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 7102))
    udp6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp6.bind(("::1", 7103))
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.bind((0, 1))
    packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)
    kept.extend([listener, connected, peer, udp, udp6, netlink, packet])


os.chdir(sys.argv[2])
{"tasks": tasks, "files": files, "mem": mem, "socks": socks}[sys.argv[1]]()
time.sleep(0.2)
open("ready", "w").close()
sleep_on()
