#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""client.py CRIU DIR: asks an engine in every way that clients do; the messages are those of Debian's pycriu.

Each step prints "ok STEP" or ends the program with what was wrong.
"""
import os, signal, socket, subprocess, sys, time

import pycriu.rpc_pb2 as rpc

CRIU, DIR = sys.argv[1:3]


def die(text):
    sys.exit(f"FAIL: {text}")


class Engine:
    """One engine, serving one client: swrk, or a connection to the service"""

    def __init__(self, address=None, env=None):
        self.process = None
        if address:
            self.sk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.sk.connect(address)
            return
        self.sk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen([CRIU, "swrk", str(theirs.fileno())], pass_fds=(theirs.fileno(),), env=env)
        theirs.close()

    def send(self, data):
        self.sk.send(data)

    def ask(self, req, agree=lambda script, pid: True):
        """the answer; what the engine tells meanwhile is in self.told"""
        self.told = []
        self.send(req.SerializeToString())
        while True:
            data = self.sk.recv(1 << 20)
            if not data:
                die(f"no answer to {req.type}")
            resp = rpc.criu_resp()
            resp.ParseFromString(data)
            if resp.type != rpc.NOTIFY:
                return resp
            self.told.append(resp.notify.script)
            note = rpc.criu_req(type=rpc.NOTIFY, notify_success=bool(agree(resp.notify.script, resp.notify.pid)))
            self.send(note.SerializeToString())

    def end(self):
        self.sk.close()
        return self.process.wait() if self.process else 0


def one(req, **more):
    e = Engine()
    resp = e.ask(req, **more)
    status = e.end()
    if status:
        die(f"the engine left with {status} after {req}")
    return resp, e.told


def good(what, resp):
    if not resp.success:
        die(f"{what}: {resp}")
    print("ok", what, flush=True)


def bad(what, resp, errno, *words):
    if resp.success or resp.cr_errno != errno or not all(w in resp.cr_errmsg for w in words):
        die(f"{what}: not errno {errno} with {words}: {resp}")
    print("ok", what, flush=True)


def target():
    """a program that counts into its file"""
    path = f"{DIR}/count"
    open(path, "w").close()
    p = subprocess.Popen(["bash", "-c", "n=0; while :; do echo $((++n)) >>\"$0\"; sleep 0.05; done", path], start_new_session=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return p, path


def goes_on(path, once=True):
    """once: the program has been restored at most once from each of its images"""
    was = os.stat(path).st_size
    end = time.monotonic() + 20
    while os.stat(path).st_size == was:
        if time.monotonic() > end:
            die("it does not go on")
        time.sleep(0.05)
    numbers = [int(x) for x in open(path).read().split()]
    if once and numbers != list(range(1, len(numbers) + 1)):
        die(f"it did not go on where it was: {numbers[-5:]}")


def request(kind, fd, **opts):
    req = rpc.criu_req(type=kind)
    req.opts.images_dir_fd = fd
    for name, value in opts.items():
        setattr(req.opts, name, value)
    return req


def images():
    path = f"{DIR}/img{len(os.listdir(DIR))}"
    os.mkdir(path, 0o700)
    return path, os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def simple():
    resp, _ = one(rpc.criu_req(type=rpc.VERSION))
    good("version", resp)
    if (resp.version.major_number, resp.version.minor_number) != (4, 2):
        die(f"version: {resp}")
    req = rpc.criu_req(type=rpc.VERSION)
    req.opts.images_dir_fd = -1  # what libcriu sends along with it
    good("version with options", one(req)[0])
    req = rpc.criu_req(type=rpc.FEATURE_CHECK)
    req.features.mem_track = True
    resp, _ = one(req)
    good("features", resp)
    if not resp.features.HasField("mem_track") or resp.features.HasField("lazy_pages"):
        die(f"features: not what was asked for: {resp}")
    good("check", one(rpc.criu_req(type=rpc.CHECK))[0])
    bad("a type that is not there", one(rpc.criu_req(type=rpc.PAGE_SERVER))[0], 95, "PAGE_SERVER")
    e = Engine()
    for _ in range(3):
        good("keep_open", e.ask(rpc.criu_req(type=rpc.VERSION, keep_open=True)))
    good("the last one", e.ask(rpc.criu_req(type=rpc.VERSION)))
    if e.sk.recv(1):
        die("it talks on after the last request")
    e.end()
    e = Engine()
    e.send(b"\xff\xff\xff\xff no request")
    if e.sk.recv(1000) or e.end() == 0:
        die("nonsense is taken for a request")
    print("ok nonsense", flush=True)


def dump_and_restore():
    p, path = target()
    goes_on(path)
    where, fd = images()
    resp, told = one(request(rpc.DUMP, fd, pid=p.pid, leave_running=True, log_level=4, log_file="d.log", notify_scripts=True))
    good("dump, left running", resp)
    if told != ["pre-dump", "network-lock", "post-dump", "network-unlock"]:
        die(f"stages of a dump: {told}")
    if "phase: dump" not in open(f"{where}/d.log").read():
        die("no log at the level that was asked for")
    goes_on(path)
    resp, told = one(request(rpc.DUMP, fd, pid=p.pid, notify_scripts=True), agree=lambda script, pid: script != "post-dump")
    bad("a client that says no", resp, 125, "post-dump")
    goes_on(path)
    where, fd = images()
    work = f"{DIR}/work"
    os.mkdir(work)
    wfd = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    req = request(rpc.DUMP, fd, pid=p.pid, work_dir_fd=wfd)
    resp, told = one(req)
    good("dump", resp)
    if told:
        die("stages are told that nobody asked for")
    p.wait()
    if not os.path.exists(f"{work}/criu.log") or not os.path.exists(f"{work}/stats-dump"):
        die(f"not in the work directory: {os.listdir(work)}")
    resp, told = one(request(rpc.RESTORE, fd, rst_sibling=True, notify_scripts=True))
    good("restore", resp)
    if resp.restore.pid != p.pid:
        die(f"restored pid: {resp}")
    if told != ["pre-restore", "post-restore", "network-unlock", "pre-resume", "post-resume"]:
        die(f"stages of a restore: {told}")
    goes_on(path)
    bad("restore of what lives", one(request(rpc.RESTORE, fd))[0], 17, str(p.pid), "pid")
    goes_on(path)
    os.kill(p.pid, signal.SIGKILL)
    if os.waitpid(p.pid, 0)[0] != p.pid:
        die("the restored process is no child of the client")
    print("ok sibling", flush=True)
    # one connection: restore, then wait for its end
    e = Engine()
    req = request(rpc.RESTORE, fd)
    req.keep_open = True
    resp = e.ask(req)
    good("restore as a child of the engine", resp)
    goes_on(path, once=False)
    os.kill(resp.restore.pid, signal.SIGTERM)
    resp = e.ask(rpc.criu_req(type=rpc.WAIT_PID, pid=resp.restore.pid))
    good("wait", resp)
    if resp.status != signal.SIGTERM:
        die(f"status: {resp}")
    e.end()


def errors():
    where, fd = images()
    bad("no such process", one(request(rpc.DUMP, fd, pid=4194000))[0], 3, "4194000")
    bad("no images", one(request(rpc.RESTORE, fd))[0], 2, "inventory")
    bad("no directory", one(request(rpc.DUMP, 1000, pid=1))[0], 2, "fd/1000")
    bad("no options", one(rpc.criu_req(type=rpc.DUMP))[0], 22)
    bad("a field that cannot be", one(request(rpc.DUMP, fd, pid=1, lazy_pages=True))[0], 95, "lazy_pages")
    if os.listdir(where) not in ([], ["criu.log"]):
        die(f"left: {os.listdir(where)}")


def configuration():
    """the request's own file has the last word, selects plugins, and need not be there"""
    p, path = target()
    goes_on(path)
    where, fd = images()
    conf = f"{DIR}/rpc.conf"
    open(conf, "w").write("no-plugin files\nlog-file conf.log\n")
    bad("plugins by configuration", one(request(rpc.DUMP, fd, pid=p.pid, config_file=conf, log_file="req.log"))[0], 95, "fd")
    if not os.path.exists(f"{where}/conf.log") or os.path.exists(f"{where}/req.log"):
        die(f"the file does not have the last word: {os.listdir(where)}")
    goes_on(path)
    good("no configuration", one(request(rpc.DUMP, fd, pid=p.pid, config_file=f"{DIR}/absent", leave_running=True))[0])
    p.kill()
    p.wait()


def service():
    address, pidfile = f"{DIR}/socket", f"{DIR}/service.pid"
    subprocess.run([CRIU, "service", "-d", "--address", address, "--pidfile", pidfile], check=True, timeout=60,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid = int(open(pidfile).read())
    try:
        if os.stat(address).st_mode & 0o077:
            die("others may talk to the service")
        e = Engine(address)
        good("service: version", e.ask(rpc.criu_req(type=rpc.VERSION, keep_open=True)))
        p, path = target()
        goes_on(path)
        where, fd = images()
        good("service: dump", e.ask(request(rpc.DUMP, fd, pid=p.pid)))
        p.wait()
        e.end()
        e = Engine(address)
        resp = e.ask(request(rpc.RESTORE, fd))
        good("service: restore", resp)
        goes_on(path)
        os.kill(resp.restore.pid, signal.SIGKILL)
        second = subprocess.run([CRIU, "service", "--address", address], capture_output=True, text=True, timeout=60)
        if second.returncode == 0 or address not in second.stderr:
            die(f"two services at one address: {second}")
    finally:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 10
    while os.path.exists(address):
        if time.monotonic() > end:
            die("the socket of the service that ended is still there")
        time.sleep(0.05)
    print("ok service: end", flush=True)
    bad_pidfile = subprocess.run([CRIU, "service", "-d", "--address", address, "--pidfile", f"{DIR}/absent/pid"],
                                 capture_output=True, text=True, timeout=60)
    if bad_pidfile.returncode == 0 or "absent/pid" not in bad_pidfile.stderr or os.path.exists(address):
        die(f"a service without its pid file: {bad_pidfile}")
    print("ok service: pid file", flush=True)


simple()
dump_and_restore()
errors()
configuration()
service()
