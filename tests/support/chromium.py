"""A real browser that tests open pages with, through Chrome's DevTools protocol.

https://chromedevtools.github.io/devtools-protocol
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.browser import BROWSER
from tests.support.waiting import HANG

_ADDRESS = re.compile(rb"ws://([^/]+)/")
# What is wider than the page, with the text that it begins with.
_OVERFLOW = """
[document.documentElement, ...document.querySelectorAll("body *")].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 0.5 || box.left < -0.5)
    || each === document.documentElement && each.scrollWidth > innerWidth;
}).map(each => `${each.tagName}: ${each.textContent.trim().slice(0, 40)}`)
"""


class Tab:
    """A page in the browser, in which no script of a page runs.

    `errors`: what the browser complained of, but for pictures that it cannot fetch.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self._loads = 0
        self.errors: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._calls += 1
        number = self._calls
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            found = await self._receive()
            if found.get("id") == number:
                assert "error" not in found, found
                result: dict[str, Any] = found["result"]
                return result

    async def _receive(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self._socket.receive_str(timeout=HANG))
        if found.get("method") == "Page.loadEventFired":
            self._loads += 1
        if found.get("method") == "Log.entryAdded":
            entry = found["params"]["entry"]
            if "ERR_NAME_NOT_RESOLVED" not in entry["text"]:
                self.errors.append(entry["text"])
        return found

    async def _loaded(self, loads: int) -> None:
        while self._loads == loads:
            await self._receive()

    async def show(self, url: str, *, width: int = 1200, dark: bool = False) -> None:
        """Open an address at a width, light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        loads = self._loads
        await self.call("Page.navigate", url=url)
        await self._loaded(loads)

    async def look(self, expression: str) -> Any:
        """Return the value of an expression, in JavaScript of the test."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def allow_scripts(self, *, allowed: bool) -> None:
        """Have timers and promises run, which the expressions of tests may need."""
        await self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    async def overflow(self) -> list[str]:
        """Return what stands outside of the page."""
        found: list[str] = await self.look(_OVERFLOW)
        return found

    async def focused(self, expression: str) -> Any:
        """Return the value of an expression about `it`: what has the focus, once anything has."""
        async with asyncio.timeout(HANG):
            while await self.look("document.activeElement === document.body"):
                await asyncio.sleep(0.02)
        return await self.look(f"(it => {expression})(document.activeElement)")

    async def type(self, selector: str, text: str) -> None:
        """Press an element, and type."""
        await self._press(selector)
        await self.call("Input.insertText", text=text)

    async def submit(self, selector: str) -> None:
        """Press a button with the mouse, and wait for the page that follows."""
        loads = self._loads
        await self._press(selector)
        await self._loaded(loads)

    async def _press(self, selector: str) -> None:
        place = f"document.querySelector({json.dumps(selector)})"
        await self.look(f"{place}.scrollIntoView({{block: 'center'}})")
        box = await self.look(f"{place}.getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at
            )


@asynccontextmanager
async def open_tab(folder: Path) -> AsyncIterator[Tab]:
    """Start a browser that reaches this machine only, and open a tab."""
    process = await asyncio.create_subprocess_exec(
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        "--remote-debugging-port=0",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    try:
        async with asyncio.timeout(HANG):
            while not (found := _ADDRESS.search(await process.stderr.readline())):
                pass
        host = found[1].decode()
        async with aiohttp.ClientSession() as http:
            async with http.put(f"http://{host}/json/new?about:blank") as response:
                target = json.loads(await response.text())
            async with http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Page", "Log"):
                    await tab.call(f"{domain}.enable")
                await tab.allow_scripts(allowed=False)
                yield tab
    finally:
        process.terminate()
        await process.communicate()
