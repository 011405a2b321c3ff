"""An embedded Wix whose answers a test holds back."""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.demo.wix import EmbeddedWix


class HeldWix(EmbeddedWix):
    """Wix, which answers calls about orders and review requests while `answers` is set."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.answers = asyncio.Event()
        self.answers.set()

    def _application(self) -> web.Application:
        app = super()._application()
        app.middlewares.append(self._hold)
        return app

    @web.middleware
    async def _hold(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if "/review-requests/" in request.path or request.path.startswith("/ecom/"):
            await self.answers.wait()
        return await handler(request)
