#!/usr/bin/env python3
"""await_greeting.py PORT [http]: waits until an IMAP server on a port of this machine greets, or an HTTP server answers; ends with 1
after 15 or 20 seconds without."""

import socket, sys, time
http = (b"OPTIONS / HTTP/1.0\r\n\r\n", b"HTTP/1.", 20)
request, greeting, seconds = http if sys.argv[2:] == ["http"] else (b"", b"* OK", 15)
end = time.time() + seconds
while time.time() < end:
    try:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
        s.sendall(request)
        if s.recv(200).startswith(greeting): sys.exit(0)
    except OSError: pass
    time.sleep(0.05)
sys.exit(1)
