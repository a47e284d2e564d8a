#!/bin/bash
# SPDX-License-Identifier: MIT
# node with timers, promises and a worker thread.
set -u
. tests/lib.sh
command -v node >/dev/null || skip "node is not installed"
cat >"$DIR/prog.js" <<'EOF'
const fs = require('fs'), path = require('path'), { Worker, isMainThread, parentPort } = require('worker_threads');
const crypto = require('crypto');
if (!isMainThread) {
	parentPort.on('message', (n) => parentPort.postMessage([n, n * n]));
} else {
	const dir = process.argv[2], count = { interval: 0, chain: 0, worker: 0, file: 0 }, map = new Map();
	let bad = '';
	process.on('uncaughtException', (e) => { bad = String(e); });
	setInterval(() => { map.set(++count.interval, crypto.createHash('sha1').update(String(count.interval)).digest('hex')); }, 10);
	const chain = () => new Promise((r) => setTimeout(r, 15)).then(() => { count.chain++; return chain(); });
	chain();
	const worker = new Worker(__filename);
	worker.on('message', ([n, sq]) => { if (sq !== n * n) bad = 'worker'; count.worker = n; worker.postMessage(n + 1); });
	worker.on('error', (e) => { bad = String(e); });
	setTimeout(() => worker.postMessage(1), 10);
	const write = () => fs.writeFile(path.join(dir, 'beat.new'), Object.values(count).join(' ') + '\n', () =>
		fs.rename(path.join(dir, 'beat.new'), path.join(dir, 'beat'), () => { count.file++; setTimeout(write, 20); }));
	write();
	setInterval(() => {
		if (!fs.existsSync(path.join(dir, 'go'))) return;
		for (const [k, v] of map) if (v !== crypto.createHash('sha1').update(String(k)).digest('hex')) bad = 'map';
		if (map.size !== count.interval) bad = 'size';
		fs.writeFileSync(path.join(dir, 'result'), (bad || 'ok') + '\n');
		process.exit(0);
	}, 50);
}
EOF
setsid node "$DIR/prog.js" "$DIR" </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
wait_for 15 all_beyond 3 "0 0 0 0" || { cat "$DIR/out"; fail "it does not start"; }
ten_rounds 3
touch "$DIR/go"
result_ok
