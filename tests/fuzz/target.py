# SPDX-License-Identifier: MIT
# target.py DIR: a tree with descriptors of many kinds, threads, timers, signals: what the fuzz targets' seeds are dumped from.
import ctypes, fcntl, mmap, os, select, signal, socket, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
keep = []
f = open("plain", "w+"); f.write("hello"); f.flush(); keep.append(f)
g = open("ghost", "w+"); g.write("deleted contents"); g.flush(); os.unlink("ghost"); keep.append(g)
fcntl.flock(f, fcntl.LOCK_EX)
r, w = os.pipe(); os.write(w, b"pipe-data")
os.mkfifo("ff"); ff = os.open("ff", os.O_RDWR); os.write(ff, b"fifo-data")
e, t = libc.eventfd(5, 0), libc.timerfd_create(1, 0)
mask = (ctypes.c_ulong * 16)(); mask[0] = 1 << 9
s = libc.signalfd(-1, mask, 0)
ep = select.epoll(); ep.register(r, select.EPOLLIN); ep.register(e, select.EPOLLIN | select.EPOLLET)
m = libc.memfd_create(b"mfd", 0); os.ftruncate(m, 8192); os.write(m, b"memfd"); keep.append(mmap.mmap(m, 8192))
keep.append(mmap.mmap(-1, 65536))
a, b = socket.socketpair(); a.send(b"queued"); a.send(b"again")
socket.send_fds(a, [b"x"], [r])
l = socket.socket(socket.AF_UNIX); l.bind("sock"); l.listen(3)
c = socket.socket(socket.AF_UNIX); c.connect("sock")
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind("dgram"); keep += [a, b, l, c, d]
tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.listen(5)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0))
u6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) if socket.has_ipv6 else None
nl = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); nl.bind((0, 1))
master, slave = os.openpty(); os.write(master, b"typed\n")
if os.fork() == 0:
    os.setsid(); time.sleep(1000)
if os.fork() == 0:
    os._exit(7)
signal.signal(signal.SIGUSR1, lambda *a: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGALRM])
os.kill(os.getpid(), signal.SIGUSR1)
signal.setitimer(signal.ITIMER_REAL, 5000, 3)
for i in range(2):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
time.sleep(0.2)
open("ready", "w").close()
while True:
    time.sleep(1000)
