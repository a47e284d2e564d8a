#!/bin/bash
# SPDX-License-Identifier: MIT
# Terminals whose master is outside the tree: refused, replaced by the caller's (--shell-job), handed over (--inherit-fd).
set -u
. tests/lib.sh
command -v python3 >/dev/null || skip "python3 is not installed"
export STASIS DIR
cat >"$DIR/job.py" <<'E2'
# echoes what it reads, with what it finds of its terminal
import os, tty
dev = os.open("/dev/tty", os.O_RDWR)
tty.setraw(0)
os.write(1, b"start %d\n" % os.getpid())
while True:
    c = os.read(0, 1)
    os.close(os.open("/dev/tty", os.O_RDWR))
    os.write(1, b"<" + c + b"%d" % (os.tcgetpgrp(0) == os.getpgrp()))
    os.write(dev, b">")
E2
cat >"$DIR/drive.py" <<'E2'
import os, pty, select, signal, subprocess, sys, time
stasis, top = os.environ["STASIS"], os.environ["DIR"]

def read_until(fd, text, seconds=10):
    out, end = b"", time.time() + seconds
    while text not in out:
        if time.time() > end or not select.select([fd], [], [], 0.2)[0]:
            if time.time() > end:
                sys.exit("FAIL: got %r instead of %r" % (out, text))
            continue
        out += os.read(fd, 4096)
    return out

def engine(*args, **kw):
    return subprocess.run([stasis, *args, "-D", top + "/img", "-o", "log", "-v4"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, **kw)

def want(r, code, text=""):
    if (r.returncode == 0) != (code == 0) or text not in r.stderr:
        sys.exit("FAIL: %s: exit %d, %s (wanted %r)" % (r.args, r.returncode, r.stderr, text))

def start(*cmd):
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(cmd[0], cmd)
    return pid, master

os.makedirs(top + "/img")
job = ["python3", top + "/job.py"]

# a job of a shell
shell, master = start("sh", "-c", " ".join(job) + "; true")
pid = int(read_until(master, b"\n").split()[1])
want(engine("dump", "-t", str(pid)), 1, "--shell-job")
want(engine("dump", "-t", str(pid), "--shell-job"), 0)
os.close(master)
os.waitpid(shell, 0)
want(engine("restore", "-d", "--shell-job", start_new_session=True), 1, "no terminal")
shell, master = start(stasis, "restore", "-D", top + "/img", "-o", "log", "--shell-job")
os.write(master, b"x")
read_until(master, b"<x1>")
os.kill(pid, signal.SIGKILL)
os.close(master)
os.waitpid(shell, 0)

# a session leader with a terminal of its own: what a container runtime does
pid, master = start(*job)
read_until(master, b"\n")
st = os.stat("/proc/%d/fd/0" % pid)
key = "tty[%x:%x]" % (st.st_rdev, st.st_dev)
want(engine("dump", "-t", str(pid)), 1, "--external " + key)
want(engine("dump", "-t", str(pid), "--external", key), 0)
os.waitpid(pid, 0)
os.close(master)
want(engine("restore", "-d"), 1, "--inherit-fd fd[N]:" + key)
master, slave = os.openpty()
os.set_inheritable(slave, True)
want(engine("restore", "-d", "--inherit-fd", "fd[%d]:%s" % (slave, key), pass_fds=[slave]), 0)
os.write(master, b"y")
read_until(master, b"<y1>")
os.kill(pid, signal.SIGKILL)
E2
timeout 100 python3 "$DIR/drive.py" || fail "see above"
