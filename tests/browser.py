"""A page in headless Chromium, driven over its debugging pipe: keys, pointer, media and screenshots."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
    " --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
).split()
_KEYS = {"Enter": ("\r", 13), " ": (" ", 32), "Tab": ("", 9), "Escape": ("", 27), "Delete": ("", 46), "End": ("", 35)}
_KEYS |= {"Home": ("", 36), "ArrowLeft": ("", 37), "ArrowUp": ("", 38), "ArrowRight": ("", 39), "ArrowDown": ("", 40)}


class Page:
    """One tab."""

    def __init__(self, outgoing: int, incoming: int) -> None:
        self._out, self._in, self._buffer, self._ids = outgoing, incoming, b"", itertools.count(1)
        self._session = ""
        self.problems: list[str] = []
        """Errors and warnings of the console, uncaught exceptions, and requests for anything but the page."""
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self._notice(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], 60)
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._in, 1 << 20)
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _notice(self, event: dict[str, Any]) -> None:
        method, params = event.get("method", ""), event.get("params", {})
        self._loaded = self._loaded or method == "Page.loadEventFired"
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(str(params["args"]))
        if method == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])
        if method == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if address != self._address and not address.startswith("data:"):
                self.problems.append(f"request: {address[:200]}")

    def open(self, path: Path | str) -> None:
        """Loads a page, by its path or its address, and waits until two frames are drawn."""
        self._address, self._loaded = path if isinstance(path, str) else path.resolve().as_uri(), False
        self.call("Page.navigate", url=self._address)
        while not self._loaded:
            self._notice(self._read())
        self.settle()

    def settle(self) -> None:
        """Waits until what was changed is drawn."""
        self.evaluate(
            "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go, 30))))"
        )

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of its promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """One key, as on a keyboard."""
        text, code = _KEYS.get(key, (key, ord(key[0].upper())))
        known = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **known)
        self.call("Input.dispatchKeyEvent", type="keyUp", **known)
        self.settle()

    def pointer(self, kind: str, x: float, y: float) -> None:
        """Kind: Moved, Pressed or Released."""
        button = "none" if kind == "Moved" else "left"
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button=button, clickCount=1)

    def click(self, x: float, y: float) -> None:
        """Points at a place, and clicks."""
        for kind in ("Moved", "Pressed", "Released"):
            self.pointer(kind, x, y)
        self.settle()

    def drag(self, x: float, start: float, end: float) -> None:
        """Drags up or down."""
        self.pointer("Moved", x, start)
        self.pointer("Pressed", x, start)
        for share in (0.3, 0.7, 1.0):
            self.call(
                "Input.dispatchMouseEvent",
                type="mouseMoved",
                x=x,
                y=start + share * (end - start),
                button="left",
                buttons=1,
            )
        self.pointer("Released", x, end)
        self.settle()

    def tap(self, x: float, y: float) -> None:
        """A finger on the screen; needs the emulation of touch."""
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def until(self, condition: str) -> None:
        """Waits until an expression is true, for at most ten seconds."""
        deadline = time.monotonic() + 10
        while not self.evaluate(condition) and time.monotonic() < deadline:
            time.sleep(0.05)

    def swipe(self, x: float, start: float, end: float) -> None:
        """A finger that moves up or down."""
        for kind, share in (("Start", 0), ("Move", 0.3), ("Move", 0.7), ("Move", 1.0)):
            place = {"x": x, "y": start + share * (end - start)}
            self.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=[place])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def size(self, width: int, height: int = 900, *, phone: bool = False) -> None:
        """The viewport, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.settle()

    def media(self, kind: str = "", **features: str) -> None:
        """As on paper (`print`), or with features such as `prefers_color_scheme="dark"`."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=kind, features=named)
        self.settle()

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """What the window shows, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path: Path) -> None:
        """The page on paper."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """A new browser with an empty profile."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_read, to_write = os.pipe()
        answers, answered = os.pipe()
        words = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"]
        shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{answered}', "bash", *words]
        process = subprocess.Popen(shell, pass_fds=(to_read, answered), stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(answered)
        try:
            yield Page(to_write, answers)
        finally:
            os.close(to_write)  # the browser ends with its pipe
            os.close(answers)
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            if process.poll() is None:
                process.kill()
            process.wait()
