"""Debian's Chromium, driven through its DevTools pipe, to see pages as people do."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "DCR_REQUIRE_BROWSER"  # set where a missing browser is a failure
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "--hide-scrollbars",
)
_PATIENCE = 60.0  # seconds for one answer, on a machine that is busy


def find_browser() -> str | None:
    """Return the path of an installed browser."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A running browser; `page` opens a file or URL in a tab of its own."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers, self._number, self._buffer = requests, answers, 0, b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Ask the browser and return its answer; what it tells meanwhile is kept in ``events``."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._requests,
            json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0",
        )
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str, session: str) -> None:
        """Wait until the browser has told something of a tab."""
        while not any(
            event.get("method") == method and event.get("sessionId") == session
            for event in self.events
        ):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select(
                [self._answers], [], [], max(0.0, deadline - time.monotonic())
            )
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._answers, 1 << 20)
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def page(self, url: str, width: int, height: int = 900) -> Page:
        """Open a page in a window of some size, and return it once it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", session, **size)
        self.call("Page.navigate", session, url=url)
        self.wait_for("Page.loadEventFired", session)
        return Page(self, session)


class Page:
    """A tab with a page in it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def evaluate(self, expression: str) -> Any:
        """Return the value of JavaScript, of a promise what it gives."""
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self._browser.call("Runtime.evaluate", self._session, **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_until(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        self.evaluate(
            f"new Promise(d => {{ const look = () => ({condition}) ? d() : setTimeout(look, 50);"
            " look(); })"
        )

    def told(self, method: str) -> list[dict[str, Any]]:
        """Return what the browser told of this tab under a name."""
        mine = [event for event in self._browser.events if event.get("sessionId") == self._session]
        return [event["params"] for event in mine if event["method"] == method]

    def errors(self) -> list[str]:
        """Return what stands in the console as an error or a warning of the browser's."""
        thrown = [str(event["exceptionDetails"]) for event in self.told("Runtime.exceptionThrown")]
        calls = self.told("Runtime.consoleAPICalled")
        written = [str(call) for call in calls if call["type"] in ("error", "assert")]
        entries = [event["entry"] for event in self.told("Log.entryAdded")]
        return (
            thrown
            + written
            + [entry["text"] for entry in entries if entry["level"] in ("error", "warning")]
        )

    def requests(self) -> list[str]:
        """Return the addresses that were asked for, the page's own and data in it left out."""
        urls = [event["request"]["url"] for event in self.told("Network.requestWillBeSent")]
        return [url for url in urls[1:] if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save what is to be seen, or the whole page, as a PNG."""
        options = {"format": "png", "captureBeyondViewport": whole}
        data = self._browser.call("Page.captureScreenshot", self._session, **options)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def running_browser(binary: str, folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile lies in a folder, and end it after the block."""
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    command = [binary, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "bash", *command],
        pass_fds=(their_in, their_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(their_in)
    os.close(their_out)
    try:
        browser = Browser(our_out, our_in)
        yield browser
        browser.call("Browser.close")
    finally:
        os.close(our_out)
        os.close(our_in)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
