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
wait_for 30 all_beyond 20 "0 0 0 0" || { cat "$DIR/out"; fail "it does not start"; }
ten_rounds 20
touch "$DIR/go"
result_ok
