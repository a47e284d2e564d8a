# SPDX-License-Identifier: MIT
"""mutate.py BUILD COUNT SEED: hostile image directories.

A real dump is damaged COUNT times (bits flipped, words replaced, files cut, extended, swapped, removed, entries repeated), and
`stasis show` and `stasis restore` get each variant.  Neither may crash or hang; one that fails says why; after a restore that
failed no process is left.  The same SEED gives the same variants.  Variants that did harm are kept in BUILD/hostile.

Runs as the first process of pid, mount and network namespaces of its own (run.sh makes them), with the file systems
of the machine read-only, so that nothing that a variant asks for can reach it.
"""
import os, random, shutil, signal, struct, subprocess, sys, time

build, count, seed = os.path.abspath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
stasis, work = build + "/stasis", "/tmp/hostile"
here = os.path.dirname(os.path.abspath(__file__))
PID_OF_TARGET, LIMIT = 20000, 20
rng = random.Random(seed)
tried = harmed = leftovers = accepted = silent = 0


def processes():
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != 1]


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def end_all():
    """Ends every other process of this namespace; how many there were that were not zombies."""
    n = 0
    for _ in range(1000):
        reap()
        left = processes()
        if not left:
            return n
        n = max(n, len([p for p in left if state(p) not in "ZX"]))
        for p in left:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.002)
    raise SystemExit("processes cannot be ended: %s" % left)


def state(pid):
    try:
        return open("/proc/%d/stat" % pid, errors="replace").read().rsplit(") ", 1)[1][0]
    except (OSError, IndexError):
        return "X"


def next_pid(n):
    with open("/proc/sys/kernel/ns_last_pid", "w") as f:
        f.write(str(n))


def dump():
    os.makedirs(work + "/target")
    next_pid(PID_OF_TARGET)
    t = subprocess.Popen(["python3", here + "/../fuzz/target.py", work + "/target"], start_new_session=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(400):
        if os.path.exists(work + "/target/ready"):
            break
        time.sleep(0.05)
    r = subprocess.run([stasis, "dump", "-t", str(t.pid), "-D", work + "/img", "-o", "dump.log", "--file-locks"])
    if r.returncode:
        print(open(work + "/img/dump.log").read()[-3000:])
        t.kill()
        raise SystemExit("the dump failed")
    t.wait()
    os.unlink(work + "/img/dump.log")
    end_all()


# Mutations: bytes in, bytes out.
def flip(b):
    for _ in range(rng.choice((1, 1, 2, 8))):
        i = rng.randrange(len(b))
        b[i] ^= 1 << rng.randrange(8)
    return b


def word(b):
    v = rng.choice((0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 2**64 - 1, 4095, 4096,
                    rng.getrandbits(64)))
    n = rng.choice((1, 2, 4, 8))
    i = rng.randrange(len(b))
    b[i:i + n] = struct.pack("<Q", v)[:n]
    return b


def cut(b):
    return b[:rng.randrange(len(b))]


def extend(b):
    return b + bytes(rng.getrandbits(8) for _ in range(rng.choice((1, 4, 100))))


def repeat(b):
    i, n = rng.randrange(len(b)), rng.randrange(1, 200)
    return b[:i + n] + b[i:]


def drop(b):
    i, n = rng.randrange(len(b)), rng.randrange(1, 64)
    return b[:i] + b[i + n:]


def entry(b):
    """Repeats, drops or swaps whole entries, so that what is in them stays well-formed."""
    at, ends = 8, []
    while at + 4 <= len(b):
        n = struct.unpack_from("<I", b, at)[0]
        if at + 4 + n > len(b):
            break
        ends.append((at, at + 4 + n))
        at += 4 + n
    if not ends:
        return flip(b)
    s, e = rng.choice(ends)
    how = rng.randrange(3)
    if how == 0:
        return b[:e] + b[s:e] + b[e:]
    if how == 1:
        return b[:s] + b[e:]
    s2, e2 = rng.choice(ends)
    return b[:s] + b[s2:e2] + b[e:]


def mutate(variant, names):
    how = rng.randrange(20)
    if how == 0:
        os.unlink(variant + "/" + rng.choice(names))
        return "a file removed"
    if how == 1:
        a, b = rng.sample(names, 2)
        os.rename(variant + "/" + a, variant + "/swap")
        os.rename(variant + "/" + b, variant + "/" + a)
        os.rename(variant + "/swap", variant + "/" + b)
        return "%s and %s swapped" % (a, b)
    name = rng.choice(names)
    f = variant + "/" + name
    b = bytearray(open(f, "rb").read())
    m = rng.choice((flip, flip, word, word, cut, extend, repeat, drop, entry, entry))
    if len(b) > 12:
        b = m(b)
    os.unlink(f)
    open(f, "wb").write(b)
    return "%s: %s" % (name, m.__name__)


def run_once(args, limit):
    p = subprocess.Popen([stasis] + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out, _ = p.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        p.kill()
        end_all()
        return None, b""
    return p.returncode, out


def run(args):
    """Exit status (negative: a signal, None: too slow) and what was printed. On a busy machine a second try tells what hangs."""
    rc, out = run_once(args, LIMIT)
    if rc is None:
        put_target_back()
        rc, out = run_once(args, 10 * LIMIT)
    return rc, out


def keep(variant, what, out):
    place = "%s/hostile/%d-%d" % (build, seed, tried)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(variant, place)
    print("variant %d (%s): kept in %s\n%s" % (tried, what, place, out.decode(errors="replace")[-3000:]), flush=True)


def one():
    global tried, harmed, leftovers, accepted, silent
    tried += 1
    variant = work + "/variant"
    shutil.rmtree(variant, ignore_errors=True)
    shutil.copytree(work + "/img", variant, copy_function=os.link)
    names = sorted(os.listdir(variant))
    what = "; ".join(mutate(variant, sorted(os.listdir(variant))) for _ in range(rng.choice((1, 1, 1, 2, 4))))
    bad = ""
    next_pid(100)
    rc, out = run(["show", variant])
    if rc is None or rc < 0 or rc > 1:
        bad = "show: %s" % ("hangs" if rc is None else "exit status %d" % rc)
    elif rc and not out.strip():
        bad = "show fails without a word"
    put_target_back()
    rc, out2 = run(["restore", "-d", "-D", variant, "-o", "/tmp/hostile/restore.log"])
    if rc is None or rc < 0 or rc > 1:
        bad = bad or "restore: %s" % ("hangs" if rc is None else "exit status %d" % rc)
    elif rc and not out2.strip():
        silent += 1
        bad = bad or "restore fails without a word"
    left = end_all()
    if rc == 0:
        accepted += 1
    elif left:
        leftovers += 1
        bad = bad or "%d processes left" % left
    if bad:
        harmed += 1
        keep(variant, what + ": " + bad, out + out2)


def put_target_back():
    """Descriptors of the images may name files of the target that an earlier variant has changed: each has them anew."""
    shutil.rmtree(work + "/target")
    shutil.copytree(work + "/kept", work + "/target", symlinks=True, copy_function=copy_special)


def copy_special(a, b, **kw):
    if os.path.isfile(a):
        return shutil.copy2(a, b)
    st = os.lstat(a)
    os.mknod(b, st.st_mode, st.st_rdev)
    return b


def main():
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work + "/img")
    dump()
    shutil.copytree(work + "/target", work + "/kept", copy_function=copy_special)
    rc, out = run(["restore", "-d", "-D", work + "/img", "-o", "/tmp/hostile/restore.log"])
    if rc:
        raise SystemExit("the undamaged images are not restored:\n" + out.decode())
    end_all()
    for _ in range(count):
        one()
    print("hostile: variants tried %d, accepted %d, harmed %d, leftovers %d" % (tried, accepted, harmed, leftovers), flush=True)
    # this is the first process of its namespace: its end ends whatever is left
    os._exit(1 if harmed else 0)


main()
