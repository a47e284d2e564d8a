#!/bin/bash
# SPDX-License-Identifier: MIT
# A Python program with threads, timers, a generator, open files, a child and a selector: three rounds, then its own account.
set -u
. tests/lib.sh
[ -x /usr/bin/python3 ] || skip "python3 is not installed"
cat >"$DIR/prog.py" <<'EOF'
import os, sys, threading, time, signal, select, hashlib, subprocess, random
os.chdir(sys.argv[1])
beats, alarms, errors = [0] * 6, 0, []
lock, cond, stop = threading.Lock(), threading.Condition(), threading.Event()

def worker(n):
    rng, data = random.Random(n), bytearray(random.Random(n).randbytes(200000))
    want = hashlib.sha256(data).digest()
    while not stop.is_set():
        if hashlib.sha256(data).digest() != want:
            errors.append(f"thread {n}: its data changed")
        i = rng.randrange(len(data)); data[i] = rng.randrange(256); want = hashlib.sha256(data).digest()
        with lock: beats[n] += 1
        stop.wait(0.01)

def ping():
    global alarms
    alarms += 1
    if not stop.is_set():
        t = threading.Timer(0.05, ping); t.daemon = True; t.start()

r, w = os.pipe()
def reader():
    poll, want = select.epoll(), 0
    poll.register(r, select.EPOLLIN)
    while True:
        for fd, ev in poll.poll():
            line = os.read(r, 8)
            if not line: return
            if int(line) != want: errors.append(f"read {line}, not {want}")
            want += 1
            beats[5] += 1

signal.signal(signal.SIGUSR1, lambda *a: stop.set())
threads = [threading.Thread(target=worker, args=(n,)) for n in range(4)] + [threading.Thread(target=reader)]
for t in threads: t.start()
ping()
child = subprocess.Popen(["/bin/sleep", "1000"])
f = open("log", "w+")
turn = 0
while not stop.is_set():
    os.write(w, b"%08d" % turn)
    print(turn, file=f, flush=True)
    turn += 1
    open("beat.new", "w").write(" ".join(map(str, beats[:4] + [alarms, beats[5]])) + "\n")
    os.rename("beat.new", "beat")
    time.sleep(0.02)
os.close(w)
for t in threads: t.join()
child.kill()
if child.wait() != -signal.SIGKILL: errors.append("the child's status")
f.seek(0)
if [int(x) for x in f] != list(range(turn)): errors.append("the log")
open("result", "w").write("\n".join(errors) or "ok")
EOF
setsid /usr/bin/python3 "$DIR/prog.py" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 10 all_beyond 3 "0 0 0 0 0 0" || { cat "$DIR/out"; fail "it does not start"; }
ten_rounds 3
kill -USR1 $pid
result_ok
