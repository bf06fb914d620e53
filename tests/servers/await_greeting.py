#!/usr/bin/env python3
"""Waits until an IMAP server on a port of this machine greets; ends with 1 after 15 seconds without."""

import socket, sys, time
end = time.time() + 15
while time.time() < end:
    try:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
        if s.recv(200).startswith(b"* OK"): sys.exit(0)
    except OSError: pass
    time.sleep(0.05)
sys.exit(1)
