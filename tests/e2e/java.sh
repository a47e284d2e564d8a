#!/bin/bash
# SPDX-License-Identifier: MIT
# A Java program: threads, garbage that is collected, a scheduler; compiled code and the collector go on.
set -u
. tests/lib.sh
command -v java >/dev/null || skip "java is not installed"
command -v javac >/dev/null || skip "javac is not installed"
cat >"$DIR/Prog.java" <<'EOF'
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Prog {
	static final AtomicLong[] beat = { new AtomicLong(), new AtomicLong(), new AtomicLong(), new AtomicLong() };
	static volatile String bad = "";

	static long mix(long x) { for (int i = 0; i < 2000; i++) x = x * 6364136223846793005L + 1442695040888963407L; return x; }

	static void worker(int n) {
		TreeMap<Long, byte[]> map = new TreeMap<>();
		Random rng = new Random(n);
		for (long turn = 0; ; turn++) {
			long k = rng.nextInt(500);
			map.put(k, new byte[1000 + (int)k]);
			for (var e : map.entrySet())
				if (e.getValue().length != 1000 + e.getKey()) bad = "worker " + n + ": " + e.getKey();
			if (mix(turn) != mix(turn)) bad = "arithmetic";
			beat[n].incrementAndGet();
			try { Thread.sleep(2); } catch (InterruptedException e) { bad = "interrupted"; }
		}
	}

	public static void main(String[] args) throws Exception {
		Path dir = Path.of(args[0]);
		for (int i = 0; i < 3; i++) {
			int n = i;
			Thread t = new Thread(() -> worker(n));
			t.setDaemon(true);
			t.start();
		}
		ScheduledExecutorService ex = Executors.newScheduledThreadPool(2);
		ex.scheduleAtFixedRate(() -> beat[3].incrementAndGet(), 10, 10, TimeUnit.MILLISECONDS);
		while (!Files.exists(dir.resolve("go"))) {
			Files.writeString(dir.resolve("beat.new"), beat[0] + " " + beat[1] + " " + beat[2] + " " + beat[3] + "\n");
			Files.move(dir.resolve("beat.new"), dir.resolve("beat"), StandardCopyOption.ATOMIC_MOVE);
			Thread.sleep(20);
		}
		System.gc();
		Files.writeString(dir.resolve("result"), (bad.isEmpty() ? "ok" : bad) + "\n");
		System.exit(0);
	}
}
EOF
(cd "$DIR" && javac Prog.java) || skip "javac does not work here"
# its shared class archive and performance data are files of their own; a small heap keeps the images small
setsid java -Xmx128m -cp "$DIR" Prog "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
all_beyond() {
	local a b i
	read -r -a a <<<"$1"; read -r -a b <"$DIR/beat" || return 1
	[ ${#b[@]} = 4 ] || return 1
	for i in 0 1 2 3; do [ "${b[i]}" -ge $((${a[i]} + 20)) ] || return 1; done
}
wait_for 30 all_beyond "0 0 0 0" || { cat "$DIR/out"; fail "it does not start"; }
dump "$pid" --leave-running || fail "dump --leave-running"
alive "$pid" || fail "it died of a dump that should leave it running"
for round in 1 2 3 4 5 6 7 8 9 10; do
	dump $pid || fail "dump, round $round"
	wait_for 5 gone $pid; wait $pid 2>/dev/null
	was=$(cat "$DIR/beat")
	restore || fail "restore, round $round"
	wait_for 20 all_beyond "$was" || { tail "$DIR/out"; cat "$DIR/beat"; fail "round $round: it does not go on, counters were $was"; }
done
touch "$DIR/go"
wait_for 20 test -s "$DIR/result" || { tail "$DIR/out"; fail "no result"; }
[ "$(cat "$DIR/result")" = ok ] || fail "$(cat "$DIR/result")"
