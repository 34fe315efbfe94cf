// SPDX-License-Identifier: ISC
// Peer of the benchmark: socket.io on Node's own HTTP server.
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import { Server } from "socket.io";
import { ioOptions, readOptions, ready, serveEvents } from "./peer_app.mjs";

const options = readOptions(process.argv);
const server = options.cert
  ? https.createServer({ cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) })
  : http.createServer();
serveEvents(new Server(server, ioOptions(options)));
server.listen({ port: options.port, host: "127.0.0.1", backlog: 4096 }, () => ready(server.address().port));
