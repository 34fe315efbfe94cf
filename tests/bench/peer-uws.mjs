// SPDX-License-Identifier: ISC
// Peer of the benchmark: socket.io on uWebSockets.js.  The library's own home is not npm; uws-pack
// there repacks its binaries (version 20; they run with glibc 2.27 and later).
import { Server } from "socket.io";
import { App, SSLApp, us_socket_local_port } from "uws-pack";
import { ioOptions, readOptions, ready, serveEvents } from "./peer_app.mjs";

const options = readOptions(process.argv);
const app = options.cert ? SSLApp({ cert_file_name: options.cert, key_file_name: options.key }) : App();
const io = new Server(ioOptions(options));
serveEvents(io);
io.attachApp(app);
app.listen("127.0.0.1", options.port, (listener) => {
  if (!listener) throw new Error(`port ${options.port} cannot be had`);
  ready(us_socket_local_port(listener));
});
