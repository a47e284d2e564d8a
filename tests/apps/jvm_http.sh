#!/bin/bash
# SPDX-License-Identifier: MIT
# A JVM HTTP server with clients that keep their connections.
set -u
. tests/apps/lib.sh
needs java javac
cat >"$DIR/Server.java" <<'EOF'
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Server {
	public static void main(String[] args) throws Exception {
		HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
		s.setExecutor(Executors.newFixedThreadPool(3));
		s.createContext("/", e -> {
			byte[] b = "hello from a JVM".getBytes();
			e.sendResponseHeaders(200, b.length);
			e.getResponseBody().write(b);
			e.close();
		});
		s.start();
	}
}
EOF
(cd "$DIR" && javac Server.java) || skip "javac does not work here"
setsid java -Xmx64m -Dsun.net.httpserver.idleInterval=600 -cp "$DIR" Server $PORT </dev/null >"$DIR/out" 2>&1 &
pid=$!; track $pid
client one http 127.0.0.1 $PORT
client two http 127.0.0.1 $PORT
app_rounds $pid
