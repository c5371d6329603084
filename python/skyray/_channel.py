# SPDX-License-Identifier: Apache-2.0
"""The socket pair between a raylet and a Python process that it started."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections import deque
from typing import Any

_HEADER = struct.Struct("<IHH")  # Body's length, kind, number of descriptors.
_BODY_BYTES_MAX = 16 << 20
_FDS_MAX = 16


class Closed(Exception):
    """The raylet is gone."""


class ProtocolBroken(Closed):
    """What came is not of this protocol; the raylet may well be there."""


class Channel:
    """Frames of JSON, all of one kind (cpp/src/ipc/frame.h), over ``fd``."""

    def __init__(self, fd: int, kind: int) -> None:
        self.socket = socket.socket(fileno=fd)
        self._kind = kind
        self._bytes = bytearray()
        self._fds: deque[int] = deque()

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        try:
            self.socket.sendall(_HEADER.pack(len(body), self._kind, 0) + body)
        except OSError as error:
            raise Closed from error

    def receive(self) -> list[tuple[dict[str, Any], list[int]]]:
        """Reads once; the messages that are complete now, each with its descriptors.

        Raises:
            Closed: the raylet closed its end.
            ProtocolBroken: it does not speak this protocol.
        """
        try:
            data, ancillary, _, _ = self.socket.recvmsg(
                1 << 16, socket.CMSG_SPACE(_FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError as error:
            raise Closed from error  # It went without reading all that was sent to it.
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._fds.extend(struct.unpack(f"{len(raw) // 4}i", raw[: len(raw) // 4 * 4]))
        if not data:
            raise Closed
        self._bytes += data
        messages = []
        while len(self._bytes) >= _HEADER.size:
            length, kind, fds = _HEADER.unpack_from(self._bytes)
            if kind != self._kind or length > _BODY_BYTES_MAX or fds > _FDS_MAX:
                raise ProtocolBroken(f"a frame of {length} bytes, kind {kind}, {fds} descriptors")
            end = _HEADER.size + length
            if len(self._bytes) < end:
                break
            if len(self._fds) < fds:
                raise ProtocolBroken(f"{len(self._fds)} descriptors of {fds}")
            message = json.loads(self._bytes[_HEADER.size : end])
            del self._bytes[:end]
            messages.append((message, [self._fds.popleft() for _ in range(fds)]))
        return messages

    def abandon(self) -> None:
        """In a forked child: lets go of what is the parent's."""
        self.socket.close()
        for fd in self._fds:
            os.close(fd)
