"""Paths that Wix does not have, to write and change reviews by hand, and to add orders."""

import json
from collections.abc import Mapping
from datetime import datetime

from aiohttp import web

from alerter.demo.wix_calls import Refusal
from alerter.demo.wix_reviews import Json
from alerter.demo.wix_site import Site


def add_control(app: web.Application, sites: Mapping[str, Site]) -> None:
    """Add the paths. They need no authorization."""

    async def add(request: web.Request) -> web.Response:
        site, asked = _site(sites, request), await _body(request)
        if isinstance(asked, list):
            return web.json_response([_added(site, each) for each in asked], status=201)
        return web.json_response(_added(site, asked), status=201)

    async def change(request: web.Request) -> web.Response:
        site, review_id = _found(sites, request)
        return web.json_response(site.change(review_id, _object(await _body(request))))

    async def delete(request: web.Request) -> web.Response:
        site, review_id = _found(sites, request)
        return web.json_response(site.delete(review_id))

    async def reply(request: web.Request) -> web.Response:
        site, review_id = _found(sites, request)
        message = _object(await _body(request)).get("message")
        if not isinstance(message, str) or not message:
            raise Refusal(400, "INVALID_ARGUMENT", "a message is expected")
        return web.json_response(site.reply(review_id, message))

    async def sell(request: web.Request) -> web.Response:
        site, asked = _site(sites, request), _object(await _body(request))
        return web.json_response(_sold(site, asked), status=201)

    app.router.add_post("/demo/orders", sell)
    app.router.add_post("/demo/reviews", add)
    app.router.add_patch("/demo/reviews/{id}", change)
    app.router.add_delete("/demo/reviews/{id}", delete)
    app.router.add_post("/demo/reviews/{id}/reply", reply)


def _site(sites: Mapping[str, Site], request: web.Request) -> Site:
    wanted = request.query.get("site")
    site = sites.get(wanted) if wanted else next(iter(sites.values()), None)
    if site is None:
        raise Refusal(404, "SITE_NOT_FOUND", f"there is no site {wanted or 'at all'}")
    return site


def _found(sites: Mapping[str, Site], request: web.Request) -> tuple[Site, str]:
    review_id = request.match_info["id"]
    chosen = [_site(sites, request)] if "site" in request.query else list(sites.values())
    for site in chosen:
        if site.reviews.get(review_id):
            return site, review_id
    raise Refusal(404, "REVIEW_NOT_FOUND", f"there is no review {review_id}")


def _added(site: Site, review: object) -> Json:
    content = _object(review).get("content")
    rating = content.get("rating") if isinstance(content, dict) else None
    if rating is not None and (type(rating) is not int or not 1 <= rating <= 5):
        raise Refusal(400, "INVALID_ARGUMENT", "content.rating: a whole number from 1 to 5")
    try:
        return site.add(_object(review))
    except (ValueError, TypeError, AttributeError) as error:
        raise Refusal(400, "INVALID_ARGUMENT", f"this is not a review: {error}") from error


def _sold(site: Site, asked: Json) -> Json:
    """Add an order, with its `shippedDates` and the `reviewId` that Wix asked for, if any."""
    fields = {key: value for key, value in asked.items() if key not in ("shippedDates", "reviewId")}
    now = site.clock.now()
    try:
        ordered = datetime.fromisoformat(fields.get("createdDate", now.isoformat()))
        shipped = [datetime.fromisoformat(each) for each in asked.get("shippedDates", [])]
        order = site.shop.add_order(fields, ordered, *shipped)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise Refusal(400, "INVALID_ARGUMENT", f"this is not an order: {error}") from error
    if review_id := asked.get("reviewId"):
        site.shop.add_request(order["id"], review_id, now)
    return order


async def _body(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise Refusal(400, "INVALID_ARGUMENT", f"the body is not JSON: {error}") from error


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise Refusal(400, "INVALID_ARGUMENT", "a JSON object is expected")
    return value
