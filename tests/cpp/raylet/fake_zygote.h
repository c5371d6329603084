// SPDX-License-Identifier: Apache-2.0
// A zygote for tests: a script that speaks its protocol and forks real processes
// which do as the test says.
//
// A forked process connects to the raylet, hands that socket to the test (whose
// frames then come from a process with the right pid), and obeys lines:
// "exit N", "kill N" (a signal to itself), "mark N" (its place on the board is that),
// "out TEXT", "err TEXT".
//
// Threading: constant. Ownership: none. Errors: none.
#pragma once

namespace skyray::raylet {

inline constexpr char kFakeZygote[] = R"(#!/usr/bin/python3 -SE
import array, json, mmap, os, select, signal, socket, struct, sys

zygote = socket.socket(fileno=3)

def send(message):
    body = json.dumps(message).encode()
    zygote.sendall(struct.pack("<IHH", len(body), 100, 0) + body)

def worker(order, fds):
    zygote.close()
    signal.set_wakeup_fd(-1)
    os.dup2(fds[0], 1)
    os.dup2(fds[1], 2)
    for fd in fds:
        os.close(fd)
    if "crash" in order["job_config"]:
        os.write(2, b"no such directory\n")
        os._exit(3)
    raylet = socket.socket(socket.AF_UNIX)
    raylet.connect(order["raylet_socket"])
    test = socket.socket(socket.AF_UNIX)
    test.connect(os.path.dirname(sys.argv[0]) + "/test.sock")
    socket.send_fds(test, [bytes.fromhex(order["worker_id"]) + struct.pack("<I", os.getpid())],
                    [raylet.fileno()])
    raylet.close()
    for line in test.makefile():
        verb, _, rest = line.strip().partition(" ")
        if verb == "exit":
            os._exit(int(rest))
        elif verb == "kill":
            os.kill(os.getpid(), int(rest))
        elif verb == "mark":
            with mmap.mmap(4, 0) as board:
                struct.pack_into("<Q", board, 64 * order["progress_place"], int(rest))
        else:
            os.write({"out": 1, "err": 2}[verb], rest.encode().decode("unicode_escape").encode())
        test.sendall(b".")
    os._exit(0)

woken, wake = os.pipe2(os.O_NONBLOCK)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.set_wakeup_fd(wake)
send({"event": "ready", "pid": os.getpid()})
poll = select.poll()
poll.register(zygote, select.POLLIN)
poll.register(woken, select.POLLIN)
pending, fds = b"", []
while True:
    for fd, _ in poll.poll():
        if fd == woken:
            os.read(woken, 4096)
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if pid == 0:
                    break
                send({"event": "exited", "pid": pid, "status": status})
            continue
        data, more, _, _ = socket.recv_fds(zygote, 65536, 16)
        if not data:
            os._exit(0)
        pending += data
        fds += more
        while len(pending) >= 8:
            size, kind, count = struct.unpack("<IHH", pending[:8])
            if len(pending) < 8 + size:
                break
            order = json.loads(pending[8:8 + size])
            pending = pending[8 + size:]
            mine, fds = fds[:count], fds[count:]
            if "unforkable" in order["job_config"]:
                send({"event": "fork_failed", "worker_id": order["worker_id"],
                      "message": "no more processes"})
                continue
            pid = os.fork()
            if pid == 0:
                worker(order, mine)
            for fd in mine:
                os.close(fd)
            send({"event": "forked", "worker_id": order["worker_id"], "pid": pid})
)";

}  // namespace skyray::raylet
