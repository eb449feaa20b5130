"""An application's sink: prints each CloudEvent that it is sent as one line of JSON."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(BaseHTTPRequestHandler):
    """Prints what is posted."""

    def do_POST(self) -> None:
        """Take an event."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {
            name.lower(): text for name, text in self.headers.items() if name.lower().startswith("ce-")
        }
        print(json.dumps(headers | {"data": json.loads(data)}), flush=True)
        self.send_response(202)
        self.end_headers()

    def do_GET(self) -> None:
        """For probes."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Only events are printed."""


ThreadingHTTPServer(("", 8080), Sink).serve_forever()
