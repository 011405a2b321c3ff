"""What happens to reviews, as the plan has it, and the webhooks that say so."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp

from alerter.demo.wix_reviews import microseconds, stamp
from alerter.demo.wix_shop import line_item
from tests.simulation import history as h
from tests.simulation.setup import APP, SITE_IDS, WEB_PORT, Json

if TYPE_CHECKING:
    from tests.simulation.world import World

_TRIES_OF_HOOK = (0.0, 60.0, 600.0, 3600.0, 6 * 3600.0)


class Reviews:
    """Does to reviews what the plan says."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._hook_plan: list[float] | None = None
        self._words = 0
        self._anonymizing = False

    def happened(self, site_id: str, slug: str, review: Json) -> None:
        """A site of the embedded Wix says what happened to a review."""
        if self._hook_plan is None or not slug:
            return
        event = self._world.hooks.event(slug, review)
        if self._anonymizing:
            event["triggeredByAnonymizeRequest"] = True
        version = None if slug == "deleted" else self._version(site_id, review["id"])
        for wait in self._hook_plan:
            self._world.spawn(
                self._send(
                    wait, site_id, slug, review["id"], version, event, self._world.true.now()
                )
            )

    def _version(self, site_id: str, review_id: str) -> int:
        return len(self._world.wix.versions.get((site_id, review_id), ()))

    async def _send(
        self,
        wait: float,
        site_id: str,
        slug: str,
        review_id: str,
        version: int | None,
        event: Json,
        at: datetime,
    ) -> None:
        await asyncio.sleep(wait)
        event_type = f"wix.reviews.v1.review_{slug}"
        instance = APP["instance_id"] if site_id == SITE_IDS["Tearoom"] else None
        data = self._world.hooks.envelope(event_type, event, instance, site_id)
        for pause in _TRIES_OF_HOOK:
            await asyncio.sleep(pause)
            status = await self._post(self._world.hooks.sign(data))
            self._world.webhooks.append(
                h.Webhook(
                    self._world.true.now(), event["id"], site_id, review_id, slug, version, status == 200,
                    bool(event["triggeredByAnonymizeRequest"]), at,
                )
            )  # fmt: skip
            if status == 200:
                return

    async def _post(self, token: str) -> int | None:
        url = f"http://127.0.0.1:{WEB_PORT}/webhooks/wix"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
                http.post(url, data=token, headers={"Content-Type": "text/plain"}) as response,
            ):
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    def note(self, site_id: str, review_id: str, change: Any, **more: Any) -> None:
        """Write down the state that a review has now."""
        key = (site_id, review_id)
        row = self._world.wix.sites[site_id].reviews.get(review_id)
        known = self._world.wix.versions.setdefault(key, [])
        if row is None:
            state = h.replace(known[-1][1], deleted=True, version=len(known))
            known.append((self._world.true.now(), state, ""))
            self._world.written.append(h.ReviewEvent(self._world.true.now(), change, state))
            return
        review = row.review
        content = review.get("content") or {}
        title, body = content.get("title") or "", content.get("body") or ""
        visible = known[0][1].visible_from if known else more.get("visible_from")
        state = h.Review(
            review_id,
            site_id,
            content["rating"],
            _moment(review["createdDate"]),
            len(known),
            int(review["revision"]),
            _moment(review["updatedDate"]),
            _moment(review["reviewDate"]),
            review.get("entityId"),
            tuple(word for word in f"{title} {body}".split() if word.startswith("Zq")),
            f"{title}\n{body}",
            (review.get("author") or {}).get("authorName"),
            (review.get("reply") or {}).get("message"),
            review["moderation"]["moderationStatus"],
            visible,
            anonymized=bool(known and known[-1][1].anonymized) or change == "anonymized",
        )
        known.append((self._world.true.now(), state, json.dumps(review, sort_keys=True)))
        self._world.written.append(h.ReviewEvent(self._world.true.now(), change, state))

    @contextlib.contextmanager
    def _telling(self, hooks: Any) -> Iterator[None]:
        self._hook_plan = list(hooks) if hooks is not None and self._world.spec["web"] else None
        try:
            yield
        finally:
            self._hook_plan = None

    def _text(self, review_id: str, *, refund: bool | None) -> Json:
        self._words += 1
        mark = f"{review_id}x{self._words}z"
        return {
            "title": f"Zqt{mark} title",
            "body": f"Zqb{mark} I want a refund" if refund else f"Zqb{mark} it was bad",
        }

    def do_review(
        self, review: str, site: str, rating: int, *, refund: Any = None, silent: Any = None, visible_after: float = 0,
        imported: Any = None, age: float = 0, moderation: Any = None, hooks: Any = None,
    ) -> None:  # fmt: skip
        site_id = SITE_IDS[site]
        content = {"rating": rating} | ({} if silent else self._text(review, refund=refund))
        made: Json = {
            "id": review, "entityId": f"p-{site}", "content": content,
            "author": {"authorName": "Robin", "contactId": f"c-{review}"},
        }  # fmt: skip
        if moderation:
            made["moderation"] = {"moderationStatus": moderation, "manuallyChanged": False}
        now = self._world.true.now()
        if age:
            made["createdDate"] = stamp(now - timedelta(days=age))
        if imported:
            written = now - timedelta(days=imported)
            made["reviewDate"] = stamp(written)
        visible = now + timedelta(seconds=visible_after) if visible_after else None
        with self._telling(hooks):
            self._world.wix.add(site_id, made, visible_after=visible_after)
        ordered = now - timedelta(days=12 + age)
        bought = {"lineItems": [line_item(made["entityId"], "Bread")], "buyerInfo": made["author"]}
        shop = self._world.wix.sites[site_id].shop
        shop.add_order(bought, ordered, ordered + timedelta(days=9))
        self.note(site_id, review, "imported" if imported else "created", visible_from=visible)

    def _change(
        self, site: str, review: str, change: str, hooks: Any, do: Callable[[str], Any]
    ) -> None:
        site_id = SITE_IDS[site]
        if self._world.wix.sites[site_id].reviews.get(review) is None:
            return
        with self._telling(hooks):
            do(site_id)
        self.note(site_id, review, change)

    def do_edited(self, review: str, site: str, *, refund: Any = None, hooks: Any = None) -> None:
        self._change(
            site,
            review,
            "edited",
            hooks,
            lambda s: self._world.wix.change(s, review, content=self._text(review, refund=refund)),
        )

    def do_rated(
        self, review: str, site: str, rating: int, *, edited: Any = None, hooks: Any = None
    ) -> None:
        content = {"rating": rating} | (self._text(review, refund=None) if edited else {})
        self._change(
            site,
            review,
            "rating_changed",
            hooks,
            lambda s: self._world.wix.change(s, review, content=content),
        )

    def do_replied(self, review: str, site: str, *, hooks: Any = None) -> None:
        self._change(
            site,
            review,
            "answered",
            hooks,
            lambda s: self._world.wix.reply(s, review, "We are sorry."),
        )

    def do_unreplied(self, review: str, site: str, *, hooks: Any = None) -> None:
        self._change(
            site, review, "answer_removed", hooks, lambda s: self._world.wix.unreply(s, review)
        )

    def do_moderated(self, review: str, site: str, status: str, *, hooks: Any = None) -> None:
        change = {"APPROVED": "approved", "REJECTED": "rejected"}[status]
        self._change(
            site, review, change, hooks, lambda s: self._world.wix.moderate(s, review, status)
        )

    def do_deleted(self, review: str, site: str, *, hooks: Any = None) -> None:
        self._change(site, review, "deleted", hooks, lambda s: self._world.wix.delete(s, review))

    def do_voted(self, review: str, site: str, *, hooks: Any = None) -> None:
        def vote(site_id: str) -> None:
            row = self._world.wix.sites[site_id].reviews.get(review)
            assert row
            self._world.wix.change(site_id, review, foundHelpful=row.review["foundHelpful"] + 1)

        self._change(site, review, "voted", hooks, vote)

    def do_anonymized(self, review: str, site: str, *, hooks: Any = None) -> None:
        def anonymize(site_id: str) -> None:
            reviews = self._world.wix.sites[site_id].reviews
            row = reviews.get(review)
            assert row
            reviews.put({key: value for key, value in row.review.items() if key != "author"})
            self._world.wix.change(site_id, review)

        self._anonymizing = True
        try:
            self._change(site, review, "anonymized", hooks, anonymize)
        finally:
            self._anonymizing = False


def _moment(text: str) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds(text))
