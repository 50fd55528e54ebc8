"""A package index that wants a user and a password; it knows only a digest of them. Runs on a server.

usage: private_index.py DIRECTORY DIGEST        (DIRECTORY/simple/NAME/WHEEL, DIRECTORY/cert.pem; port 8443)
"""

from __future__ import annotations

import functools
import hashlib
import ssl
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

DIRECTORY, DIGEST = sys.argv[1:]


class Handler(SimpleHTTPRequestHandler):
    """Answer whoever knows the password; a listing of a directory is a page as PEP 503 describes it."""

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if hashlib.sha256(given.encode()).hexdigest() == DIGEST:
            super().do_GET()
        else:
            self.send_error(401)

    def end_headers(self) -> None:
        # What a cache may keep, together with the header of the request that is named here.
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Vary", "Authorization")
        super().end_headers()


server = ThreadingHTTPServer(("127.0.0.1", 8443), functools.partial(Handler, directory=DIRECTORY))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{DIRECTORY}/cert.pem", f"{DIRECTORY}/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
