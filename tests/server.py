"""A web server on 127.0.0.1 that serves one file, well or badly."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """What the server serves and how; ``requests`` keeps the headers of each request.

    Args:
        content: The file.
    """

    def __init__(self, content):
        self.content = content
        self.status = []  # answered first, one a request
        self.break_after = []  # bytes after which the connection breaks, one a request
        self.ranges = True
        self.etag = True
        self.headers = {}  # instead of those that are right
        self.parts = []  # bytes that answers start from whatever was asked for, one a request; None: as it was asked
        self.requests = []
        self.url = ""

    def answer(self, handler):
        self.requests.append(dict(handler.headers))
        if self.status:
            handler.send_error(self.status.pop(0))
            return
        tag = f'"{hashlib.md5(self.content).hexdigest()}"'
        part = self.parts.pop(0) if self.parts else None
        start = self._start(handler.headers, tag) if part is None else part
        if start is not None and start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body = self.content[start or 0 :]
        handler.send_response(200 if start is None else 206)
        handler.send_header("Content-Length", self.headers.get("Content-Length", str(len(body))))
        if self.etag:
            handler.send_header("ETag", tag)
        if start is not None:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.end_headers()
        handler.wfile.write(body[: self.break_after.pop(0)] if self.break_after else body)

    def _start(self, headers, tag):
        if not self.ranges or "Range" not in headers or headers.get("If-Range", tag) != tag:
            return None
        return int(headers["Range"].removeprefix("bytes=").removesuffix("-"))


@contextmanager
def serving(content):
    """Yield a ``FileServer`` that runs until the block ends."""
    file_server = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file_server.answer(self)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        file_server.url = f"http://127.0.0.1:{server.server_port}/files/SET%201.zip"
        try:
            yield file_server
        finally:
            server.shutdown()
            thread.join()
