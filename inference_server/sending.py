"""Writes an answer to its connection: head, body and the connection's end in one piece.

The WSGI server would take a status and a list of headers to pieces and put them together again, which is work that
shows beside a small prediction. It is left with what a connection does not take at once: it waits for slow clients.
Knows no request.
"""

from __future__ import annotations

from email.utils import formatdate
from socket import AF_INET, IPPROTO_TCP, MSG_MORE, SHUT_WR, SOCK_STREAM, SocketType

from inference_server.http import STATUS_LINES, Answer


def head_of(answer: Answer, date: str | None = None) -> bytes:
    """The status line and the headers, with the empty line. `date` as RFC 9110, section 5.6.7, has it; None: now."""
    headers = [
        ("Date", date or formatdate(usegmt=True)),
        ("Connection", "close"),
        *answer.headers,
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
    ]
    lines = [f"HTTP/1.1 {STATUS_LINES[answer.status]}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Sender:
    """One for each process."""

    def __init__(self) -> None:
        self._date = ""
        self._usual = b""
        """The head of a 200 with JSON, up to the length."""
        self._until = float("-inf")
        """The end of the second that both tell."""
        self._sockets: dict[int, SocketType] = {}
        """By descriptor. The kernel gives the same few again and again, and to make an object of one is a call to it.
        The connections are the WSGI server's, which closes them."""

    def answer(self, answer: Answer, connection: int, now: float, *, with_body: bool = True) -> list[bytes]:
        """Send any answer. See `send`."""
        if now >= self._until:
            self._look_at_the_time(now)
        return self.send(answer.body if with_body else b"", connection, now, head_of(answer, self._date))

    def send(self, body: bytes, connection: int, now: float, head: bytes | None = None) -> list[bytes]:
        """Send what the connection takes at once; the rest is returned. `now`: seconds from any origin.

        Without a head it is that of the usual answer: 200, with JSON.
        """
        if head is None:
            if now >= self._until:
                self._look_at_the_time(now)
            head = b"%b%d\r\n\r\n" % (self._usual, len(body))
        try:
            lent = self._sockets.get(connection) or self._lend(connection)
            sent = lent.sendmsg((head, body), (), MSG_MORE)
            if sent == len(head) + len(body):
                # The last bytes and the end of the connection leave in one packet.
                lent.shutdown(SHUT_WR)
                return []
        except BlockingIOError:
            sent = 0
        except OSError:  # nobody is there any more
            return []
        return [(head + body)[sent:]]

    def _lend(self, connection: int) -> SocketType:
        lent = self._sockets[connection] = SocketType(AF_INET, SOCK_STREAM, IPPROTO_TCP, connection)
        return lent

    def _look_at_the_time(self, now: float) -> None:
        self._date = formatdate(usegmt=True)
        usual = head_of(Answer(200, b""), self._date)
        self._usual = usual.removesuffix(b"0\r\n\r\n")
        self._until = now + 1
