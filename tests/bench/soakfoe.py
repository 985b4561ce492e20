#!/usr/bin/python3
"""
A hostile peer for soak.py: raw connections to a pool's socket that break ZMTP or the protocol, each in another way.

    soakfoe.py SOCKET SEED COUNT

Exit status 0 if each of them could be committed: what the daemon makes of it is what the others see of it.
"""

import random
import socket
import sys
import time

GREETING = b"\xff" + 8 * b"\0" + b"\x7f\x03\0NULL" + 48 * b"\0"
READY = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
MORE, LONG, COMMAND = 1, 2, 4
HELLO = b"\x95\x01\xa4pmap\x01\x01\xa3raw"
LIMIT_S = 5


def frame(data, flags=0):
    if len(data) > 255:
        return bytes([flags | LONG]) + len(data).to_bytes(8, "big") + data
    return bytes([flags, len(data)]) + data


class Cut(Exception):
    """The daemon has had enough, as it may."""


class Peer:
    """One connection; what it cannot send, or does not get, for so long is an error."""

    def __init__(self, path, dice):
        self.dice = dice
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(path)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Cut from error

    def receive(self, size):
        """Exactly that."""
        data = b""
        while len(data) < size:
            try:
                block = self.socket.recv(size - len(data))
            except ConnectionResetError as error:
                raise Cut from error
            if not block:
                raise Cut
            data += block
        return data

    def receive_frame(self):
        flags = self.receive(1)[0]
        self.receive(int.from_bytes(self.receive(8 if flags & LONG else 1), "big"))

    def ready(self):
        self.send(GREETING)
        self.receive(len(GREETING))
        self.send(frame(READY, COMMAND))
        self.receive_frame()

    def hello(self):
        self.ready()
        self.send(frame(HELLO))
        self.receive_frame()

    def noise(self, most):
        return self.dice.randbytes(self.dice.randrange(most))


# What they do


def noise_first(peer):
    peer.send(peer.noise(2000))


def half_a_greeting(peer):
    peer.send(GREETING[: peer.dice.randrange(64)])


def wrong_mechanism(peer):
    peer.send(GREETING.replace(b"NULL", b"CURV"))


def noise_for_ready(peer):
    peer.send(GREETING)
    peer.send(frame(peer.noise(250), COMMAND))


def silent(peer):
    peer.ready()
    time.sleep(0.2)


def noise_for_hello(peer):
    peer.ready()
    peer.send(frame(peer.noise(5000)))


def noise_for_headers(peer):
    peer.hello()
    for _ in range(20):
        peer.send(frame(peer.noise(300), MORE) + frame(peer.noise(300)))


def broken_open(peer):
    """A call of many fields and frames, cut off anywhere, or with any of its bytes changed."""
    whole = b"\x96\x03\x01\xa6square\xce\x00\x10\x00\x00\xc0\xc3"
    at = peer.dice.randrange(len(whole))
    peer.hello()
    peer.send(frame(whole[:at]) if peer.dice.random() < 0.5 else frame(whole[:at] + b"\xc1" + whole[at + 1 :]))


def endless_message(peer):
    peer.hello()
    for _ in range(20):
        peer.send(1000 * frame(b"", MORE))


def long_frame(peer):
    """The length of a frame that is never sent."""
    peer.hello()
    peer.send(bytes([LONG]) + (1 << peer.dice.randrange(20, 62)).to_bytes(8, "big") + b"x")


def half_a_frame(peer):
    """An item's worth of memory, whose rest does not come."""
    peer.hello()
    peer.send((bytes([LONG]) + (1 << 19).to_bytes(8, "big") + bytes(1 << 18)))


def unread_answers(peer):
    peer.hello()
    peer.send(2000 * frame(b"\x93\x0e\x01\xa6status"))


def unread_pongs(peer):
    peer.hello()
    peer.send(20000 * frame(b"\x92\x0c\x01"))


DEEDS = (noise_first, half_a_greeting, wrong_mechanism, noise_for_ready, silent, noise_for_hello, noise_for_headers,
         broken_open, endless_message, long_frame, half_a_frame, unread_answers, unread_pongs)  # fmt: skip


def main():
    path, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    dice = random.Random(seed)
    kept = []  # some of them hold their connections until the end
    for _ in range(count):
        peer = Peer(path, dice)
        deed = dice.choice(DEEDS)
        try:
            deed(peer)
        except Cut:
            pass
        except TimeoutError:
            if deed not in (unread_answers, unread_pongs):  # nobody need listen to who does not
                raise RuntimeError(f"{deed.__name__}: nothing for {LIMIT_S} s") from None
        if dice.random() < 0.3:
            kept.append(peer)
        else:
            peer.socket.close()
    time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
