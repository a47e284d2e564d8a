# SPDX-License-Identifier: MIT
"""client.py BASE KIND …: one connection that is kept, one request after the other, each answer checked.

BASE.beat has the number of right answers, BASE.error what was wrong.
  redis HOST PORT        pipelined: 50 commands in flight
  memcached HOST PORT
  http HOST PORT         keep-alive
  echo HOST PORT         random data, the same comes back
  lines QUERY ANSWER COMMAND…   a program that is asked on its input; %d is the number of the request
  dbus PATH              calls of the bus itself, over its socket
"""
import os, random, socket, struct, subprocess, sys, time

base, kind, args = sys.argv[1], sys.argv[2], sys.argv[3:]
count = 0


def beat():
    global count
    count += 1
    with open(base + ".beat.new", "w") as f:
        f.write("%d\n" % count)
    os.rename(base + ".beat.new", base + ".beat")
    time.sleep(0.005)


def connect():
    for _ in range(200):
        try:
            s = socket.create_connection((args[0], int(args[1])))
            s.settimeout(60)
            return s, s.makefile("rb")
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("nobody listens")


def want(got, right):
    if got != right:
        raise ValueError("%.200r came, not %.200r" % (got, right))


def redis():
    s, f = connect()
    n = 0
    while True:
        s.sendall(b"".join(b"INCR counter:%d\r\n" % os.getpid() for _ in range(50)))
        for _ in range(50):
            n += 1
            want(f.readline(), b":%d\r\n" % n)
        s.sendall(b"SET key value-%d\r\nGET key\r\n" % n)
        want(f.readline(), b"+OK\r\n")
        f.readline()
        want(f.readline(), b"value-%d\r\n" % n)
        beat()


def memcached():
    s, f = connect()
    s.sendall(b"set n 0 0 1\r\n0\r\n")
    want(f.readline(), b"STORED\r\n")
    n = 0
    while True:
        s.sendall(b"incr n 1\r\n" * 20)
        for _ in range(20):
            n += 1
            want(f.readline(), b"%d\r\n" % n)
        beat()


def http():
    s, f = connect()
    while True:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        want(f.readline()[:12], b"HTTP/1.1 200")
        length = None
        while True:
            line = f.readline().strip().lower()
            if not line:
                break
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = f.read(length)
        want(body[:5], b"hello")
        beat()


def echo():
    s, f = connect()
    rng = random.Random(7)
    while True:
        data = rng.randbytes(rng.randrange(1, 100000))
        s.sendall(data[: len(data) // 2])
        s.sendall(data[len(data) // 2 :])
        want(f.read(len(data)), data)
        beat()


def lines():
    p = subprocess.Popen(args[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    n = 0
    while True:
        n += 1
        p.stdin.write((args[0].replace("%d", str(n)) + "\n").encode())
        p.stdin.flush()
        want(p.stdout.readline(), (args[1].replace("%d", str(n)) + "\n").encode())
        beat()


def dbus():
    def field(code, sig, value):
        if sig == "u":
            body = struct.pack("<I", value)
        else:
            body = struct.pack("<I", len(value)) + value.encode() + b"\0"
        return bytes([code, 1]) + sig.encode() + b"\0" + body

    def call(member, serial):
        fields = b""
        for part in (field(1, "o", "/org/freedesktop/DBus"), field(2, "s", "org.freedesktop.DBus"), field(3, "s", member),
                  field(6, "s", "org.freedesktop.DBus")):
            fields += b"\0" * (-len(fields) % 8) + part
        head = struct.pack("<cBBBIII", b"l", 1, 0, 1, 0, serial, len(fields)) + fields
        s.sendall(head + b"\0" * (-len(head) % 8))
        while True:
            h = f.read(16)
            kind, body, length = h[1], *struct.unpack_from("<I", h, 4), struct.unpack_from("<I", h, 12)[0]
            rest = f.read(length + -length % 8 + body)
            if kind == 2:  # an answer: which call it is to follows the code and type of field 5
                i = rest.find(b"\5\1u\0")
                want(struct.unpack_from("<I", rest, i + 4)[0], serial)
                return

    s = socket.socket(socket.AF_UNIX)
    s.connect(args[0])
    f = s.makefile("rb")
    s.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    want(f.readline()[:2], b"OK")
    s.sendall(b"BEGIN\r\n")
    call("Hello", 1)
    n = 1
    while True:
        n += 1
        call("GetId", n)
        beat()


try:
    {"dbus": dbus, "redis": redis, "memcached": memcached, "http": http, "echo": echo, "lines": lines}[kind]()
except Exception as e:
    with open(base + ".error", "w") as f:
        f.write("after %d answers: %s: %s" % (count, type(e).__name__, e))
    raise
