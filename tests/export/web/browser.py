"""The page in Chromium: a server of the exported folder and of a page beside it that opens it in a frame."""

import json
import subprocess
import threading
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.evaluation.browser import FLAGS, PROGRAM

# Opens the page in a frame, waits until it is at rest, runs a test's own lines with it, and sends what they return.
_PROBE = """<!doctype html><iframe width="1390" height="900"></iframe><script type="module">
const frame = document.querySelector("iframe");
async function until(holds) {
  for (const end = Date.now() + 120_000; !holds(); await new Promise((next) => setTimeout(next, 20))) {
    if (Date.now() > end) throw new Error(`waited in vain, ${frame.src}: ${holds}`);
  }
}
const page = () => frame.contentDocument;
const line = (id) => page().getElementById(id).textContent;
const atRest = () => ["ready", "shown", "failed"].includes(page()?.body?.dataset.state);
async function opened(address) {
  frame.src = address;
  const isReady = () => !address.includes("?image=") || page().body.dataset.state !== "ready" || line("error");
  await until(() => page()?.URL.endsWith(address) && atRest() && isReady());
}
let answer;
try { answer = await (async () => { SCRIPT })(); } catch (error) { answer = { error: String(error?.stack ?? error) }; }
await fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
</script>"""


def in_page(folder, script, *, files=None, headers=None, profile):
    """Serve ``folder`` and what else the page may fetch; return what the script's function returns in Chromium.

    Args:
        folder: The exported web folder.
        script: Body of an asynchronous JavaScript function: ``opened(address)``, ``page()`` and ``line(id)`` are there.
        files: Further files by name.
        headers: Of each answer.
        profile: Folder for Chromium's own files.

    Returns:
        The answer, and the address of each request.
    """
    if PROGRAM is None:
        pytest.skip("needs chromium on the path")
    probe = _PROBE.replace("SCRIPT", script).encode()
    with _serving(folder, {"probe.html": probe, **(files or {})}, headers or {}) as (address, answers, asked):
        browser = subprocess.Popen(
            [PROGRAM, *FLAGS, "--window-size=1400,1000", f"--user-data-dir={profile}", f"{address}/probe.html"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert answers.done.wait(240), f"no answer; asked for: {asked}"
        finally:
            browser.terminate()
            browser.wait(20)
    answer = json.loads(answers.text)
    assert not (isinstance(answer, dict) and "error" in answer), answer
    return answer, asked


class _Answers:
    def __init__(self):
        self.done, self.text = threading.Event(), ""


@contextmanager
def _serving(folder, files, headers):
    answers, asked = _Answers(), []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self):
            name = self.path.split("?")[0].lstrip("/")
            asked.append(self.path)
            if name not in files:  # 3/page.css is page.css, so that each number is a page of its own
                self.path = "/" + name.split("/", 1)[-1] if name[:1].isdigit() and "/" in name else self.path
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(name))
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            self.wfile.write(files[name])

        def do_POST(self):
            answers.text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.send_response(204)
            self.end_headers()
            answers.done.set()

        def end_headers(self):
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *arguments):
            pass

        def handle(self):
            with suppress(ConnectionError):  # the browser was ended
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", answers, asked
        finally:
            server.shutdown()
            thread.join()
