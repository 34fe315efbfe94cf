// SPDX-License-Identifier: ISC
// The events of sio-testserver that the benchmark uses, and the options of its servers.

/** Reads `--port N --ping-interval MS --tls-cert FILE --tls-key FILE`. */
export function readOptions(argv) {
  const options = { port: 0, pingInterval: 25000, cert: "", key: "" };
  const names = { "--port": "port", "--ping-interval": "pingInterval", "--tls-cert": "cert", "--tls-key": "key" };
  for (let i = 2; i < argv.length; i += 2) {
    const name = names[argv[i]];
    if (!name || i + 1 >= argv.length) throw new Error(`usage: ${Object.keys(names).join(" VALUE ")} VALUE`);
    options[name] = typeof options[name] === "number" ? Number(argv[i + 1]) : argv[i + 1];
  }
  return options;
}

export const ioOptions = ({ pingInterval }) => ({ pingInterval, perMessageDeflate: false, serveClient: false });

export function serveEvents(io) {
  io.on("connection", (socket) => {
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack("joined");
    });
    socket.on("leave", (room, ack) => {
      socket.leave(room);
      ack("left");
    });
    socket.on("to-room", (room, ...args) => socket.to(room).emit("room-msg", room, ...args));
  });
}

export const ready = (port) => process.stdout.write(`listening 127.0.0.1:${port}\n`);
