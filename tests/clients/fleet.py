# SPDX-License-Identifier: ISC
"""A fleet of python-socketio clients in one asyncio process; prints what it saw as one JSON line.

usage: fleet.py BASE MODE [--clients N] [--seconds S] [--rate R]      MODE: upgrade polling websocket

The asyncio client runs its handlers in the order of arrival, so order can be checked.  This client
finishes its upgrade before it sends the first packet.  The threaded client (requests and
websocket-client) starts a thread for each packet: it only makes calls, one after the other.
"""
import argparse
import asyncio
import collections
import json
import random
import time

import socketio

ROOM = 10  # members of a room
TRANSPORTS = {"upgrade": None, "polling": ["polling"], "websocket": ["websocket"]}


async def until(condition, seconds):
    """Waits for a condition; false if it did not come in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


def room_binary(sender, n):
    return [bytes([(n + sender) & 255]) * (1 + (n * 37 + sender * 11) % 2000)] if n % 4 == 3 else []


class Side:
    """A member's conversation on one namespace; `expected` are the answers due, in order."""

    def __init__(self, member, nsp):
        self.member, self.nsp = member, nsp
        self.room = f"room {member.index // ROOM}"
        self.expected = collections.deque()
        self.asking = set()
        self.seen = {}  # sender -> [first, last]
        self.connects = self.auths = self.serial = self.next = self.base = 0
        self.counts = collections.Counter()
        on = lambda event, handler: member.sio.on(event, handler, namespace=nsp)
        on("connect", self.on_connect)
        on("disconnect", self.on_disconnect)
        on("connect_error", lambda *a: self.fail(f"connect_error {a}"))
        on("auth", self.on_auth)
        on("message-back", lambda *a: self.answered("back", list(a)))
        on("seq", lambda *a: self.answered("seq", list(a)))
        on("room-msg", self.on_room)
        on("question", self.on_question)

    def fail(self, what):
        self.member.problems.append(f"client {self.member.index}: {self.nsp} {what}")

    def on_connect(self):
        self.connects += 1

    def on_disconnect(self, reason):
        if not self.member.closing:
            self.fail(f"disconnect: {reason}")

    def on_auth(self, got):
        self.auths += 1
        if got != self.member.auth:
            self.fail(f"auth was {got}")

    def answered(self, kind, args):
        want = self.expected.popleft() if self.expected else ("nothing", None)
        if want != (kind, args):
            self.fail(f"{kind} {args!r:.80} instead of {want!r:.80}")
        self.counts[kind] += 1

    def on_room(self, room, nsp, sender, n, *rest):
        if room != self.room or nsp != self.nsp or sender == self.member.index:
            return self.fail(f"message {n} of {sender} in {room} on {nsp}")
        if list(rest) != room_binary(sender, n):
            self.fail(f"message {n} of {sender} has {rest!r:.80}")
        first_last = self.seen.setdefault(sender, [n, n - 1])
        if n != first_last[1] + 1:
            self.fail(f"from {sender}: {n} came after {first_last[1]}")
        first_last[1] = max(n, first_last[1])

    def on_question(self, x):
        if x not in self.asking:
            self.fail(f"a question of somebody else: {x}")
        return {"answer": x}

    async def emit(self, event, *args, callback=None):
        await self.member.sio.emit(event, args, namespace=self.nsp, callback=callback)

    def args(self):
        self.serial += 1
        args = [self.serial, "text " + "é€😀"[self.serial % 3]]
        if self.member.rand.random() < 0.25:
            args.append(bytes([self.serial & 255]) * (40000 if self.serial % 40 == 0 else 300))
            self.counts["binary"] += 1
        return args

    async def message_with_ack(self):
        args = self.args()
        self.expected.append(("ack", args))
        await self.emit("message-with-ack", *args, callback=lambda *a: self.answered("ack", list(a)))

    async def message(self):
        args = self.args()
        self.expected.append(("back", args))
        await self.emit("message", *args)

    async def to_room(self):
        n, self.next = self.next, self.next + 1
        self.counts["toRoom"] += 1
        await self.emit("to-room", self.room, self.nsp, self.member.index, n, *room_binary(self.member.index, n))

    async def ask(self):
        self.serial += 1
        x = f"{self.nsp} {self.member.index} {self.serial}"

        def answer(*back):
            self.asking.discard(x)
            self.counts["ask"] += 1
            if list(back) != [{"answer": x}]:
                self.fail(f"ask-me gave {back}")

        self.asking.add(x)
        await self.emit("ask-me", x, callback=answer)

    async def burst(self):
        self.expected.extend(("seq", [i]) for i in range(10))
        await self.emit("burst", 10)

    async def act(self):
        r = self.member.rand.random()
        for limit, action in ((0.5, self.message_with_ack), (0.75, self.message), (0.9, self.to_room), (0.97, self.ask), (1, self.burst)):
            if r < limit:
                return await action()

    def missing(self, senders):
        """What did not come of {sender: Side}, everything from its base on."""
        found = []
        for sender, side in senders.items():
            first, last = self.seen.get(sender, [None, None])
            if first is None or first > side.base or last != side.next - 1:
                found.append(f"from {sender}: {first}..{last} instead of {side.base}..{side.next - 1}")
        return found


class Member:
    def __init__(self, index, options):
        self.index, self.options = index, options
        self.problems = []
        self.closing = False
        self.rand = random.Random(index)
        self.auth = {"client": index}
        self.sio = socketio.AsyncClient(reconnection=False)
        self.sides = [Side(self, nsp) for nsp in (["/", "/custom"] if index % 3 == 0 else ["/"])]

    async def start(self):
        await self.sio.connect(self.options.base, auth=self.auth, transports=TRANSPORTS[self.options.mode],
                               namespaces=[s.nsp for s in self.sides], wait_timeout=20)
        self.sid = self.sio.eio.sid
        for side in self.sides:
            await side.message()
            await side.message_with_ack()
            if await self.sio.call("join", side.room, namespace=side.nsp, timeout=20) != "joined":
                side.fail("join")

    async def run(self):
        for side in self.sides:
            side.base = side.next
        gap = 1 / self.options.rate
        end = time.monotonic() + self.options.seconds
        await asyncio.sleep(self.rand.random() * gap)
        while time.monotonic() < end:
            await self.rand.choice(self.sides).act()
            await asyncio.sleep(gap * (0.5 + self.rand.random()))
        for side in self.sides:
            await side.to_room()
            await side.to_room()

    async def settle(self, members):
        for side in self.sides:
            others = {m.index: s for m in members for s in m.sides if m is not self and (s.nsp, s.room) == (side.nsp, side.room)}
            if not await until(lambda: not side.expected and not side.asking, 20):
                side.fail(f"{len(side.expected)} answers and {len(side.asking)} questions are missing")
            await until(lambda: not side.missing(others), 20)
            for m in side.missing(others):
                side.fail(m)
            await side.message_with_ack()
            if not await until(lambda: not side.expected, 20):
                side.fail("the last ack is missing")
            if (side.connects, side.auths) != (1, 1) or not set(side.seen) <= set(others):
                side.fail(f"{side.connects} connects, {side.auths} auths, heard {sorted(side.seen)}")
        if self.sio.eio.sid != self.sid:
            self.problems.append(f"client {self.index}: another engine id")


async def fleet(options):
    members = [Member(i, options) for i in range(options.clients)]
    await asyncio.gather(*(m.start() for m in members))
    await asyncio.gather(*(m.run() for m in members))
    await asyncio.gather(*(m.settle(members) for m in members))
    report = {
        "sids": [m.sid for m in members],
        "transports": [m.sio.transport() for m in members],
        "heard": [sum(last - first + 1 for s in m.sides for first, last in s.seen.values()) for m in members],
        "counts": sum((s.counts for m in members for s in m.sides), collections.Counter()),
        "problems": [p for m in members for p in m.problems],
    }
    for m in members:
        m.closing = True
        await m.sio.disconnect()
    return report


async def refusal(options):
    """What the client says of a join that is refused."""
    sio = socketio.AsyncClient(reconnection=False)
    said = []
    sio.on("connect_error", lambda data: said.append(data), namespace="/denied")
    try:
        await sio.connect(options.base, namespaces=["/denied"], transports=TRANSPORTS[options.mode], wait_timeout=10)
        raised = "nothing"
    except socketio.exceptions.ConnectionError as e:
        raised = str(e)
    await sio.disconnect()
    return {"connect_error": said, "raised": raised}


async def kicks(options):
    """Both kicks: the events, and a new session after each."""
    sio = socketio.AsyncClient(reconnection=False)
    said = []
    for nsp in ("/", "/custom"):
        sio.on("disconnect", lambda reason, nsp=nsp: said.append([nsp, reason]), namespace=nsp)
    connect = lambda: sio.connect(options.base, namespaces=["/", "/custom"], transports=TRANSPORTS[options.mode], wait_timeout=10)
    await connect()
    first = sio.eio.sid
    await sio.emit("kick", False)
    await until(lambda: said, 10)
    other = await sio.call("message-with-ack", ("still", "here"), namespace="/custom", timeout=10)
    soft = {"events": list(said), "other": other, "same": sio.eio.sid == first}
    said.clear()
    await sio.emit("kick", True, namespace="/custom")
    await until(lambda: said, 10)
    await sio.wait()
    hard = {"events": list(said)}
    await connect()
    hard["again"] = await sio.call("message-with-ack", ("new",), timeout=10)
    hard["fresh"] = sio.eio.sid != first
    await sio.disconnect()
    return {"soft": soft, "hard": hard}


def threaded(options):
    """The synchronous client makes calls, one after the other."""
    sio = socketio.Client(reconnection=False)
    sio.connect(options.base, transports=TRANSPORTS[options.mode], wait_timeout=10)
    wrong = [n for n in range(50) if sio.call("message-with-ack", (n, "é"), timeout=10) != (n, "é")]
    report = {"wrong": wrong, "transport": sio.transport()}
    sio.disconnect()
    return report


async def main(options):
    report = await fleet(options)
    report["refusal"] = await refusal(options)
    report["kicks"] = await kicks(options)
    report["threaded"] = await asyncio.to_thread(threaded, options)
    print(json.dumps(report))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("mode", choices=TRANSPORTS)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=2)
    asyncio.run(main(parser.parse_args()))
