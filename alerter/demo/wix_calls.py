"""The calls of Wix's API, for an authenticated caller."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.demo import wix_query
from alerter.demo.wix_filter import BadQueryError, conditions_of, read_filter
from alerter.demo.wix_misreads import Misread
from alerter.demo.wix_reviews import Json, Reviews, Row
from alerter.demo.wix_site import Site

REVIEWS = "/reviews/v1/reviews"
CONSISTENT = "X-Wix-Consistent"
# The permissions that the key or app lacks.
FORBIDDEN = web.RequestKey("forbidden", frozenset[str])
Call = Callable[[Site, web.Request], Awaitable[Json]]

_LONGEST_REPLY = 10_000


class Refusal(Exception):
    """An error answer in Wix's format."""

    def __init__(
        self, status: int, code: str, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}
        error = {"code": code, "description": text, "data": {}}
        self.body: Json = {"message": text, "details": {"applicationError": error}}


class Violation(Refusal):
    """A request that violates its schema."""

    def __init__(self, field: str, description: str, rule: str = "OTHER") -> None:
        super().__init__(400, "INVALID_ARGUMENT", description)
        violation = {"field": field, "description": description, "violatedRule": rule}
        self.body = {
            "message": description,
            "details": {"validationError": {"fieldViolations": [violation]}},
        }


@web.middleware
async def shape_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Convert every refusal to an answer in Wix's format."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
    except BadQueryError as error:
        violation = Violation(error.field, error.description, error.rule)
        return web.json_response(violation.body, status=violation.status)
    except web.HTTPException as error:
        # Wix answers an unknown method of a path as an unknown path.
        status = 404 if error.status == 405 else error.status
        return web.json_response({"message": error.reason, "details": {}}, status=status)


async def read_body(request: web.Request) -> Json:
    """Return the JSON object of a request. Raises Refusal."""
    try:
        body = json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "INVALID_ARGUMENT", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(400, "INVALID_ARGUMENT", "the body is not a JSON object")
    return body


async def _query(site: Site, request: web.Request) -> Json:
    body = await read_body(request)
    _only(body, {"query", "returnPrivateReviews"})
    query = wix_query.read_query(body.get("query"), scope=site.site_id)
    fields = {condition.field for condition in conditions_of(query.filter)}
    misread = site.misreads.take("ids" if "id" in fields else "query")
    private = _private(site, request, body, "returnPrivateReviews", misread)
    reviews, following = wix_query.run(
        _as_read(site, request, misread), query, private=private, scope=site.site_id
    )
    shown = [misread.shown(review) for review in reviews if not misread.hides(review)]
    cursors = {"next": following} if following and shown else {}
    return {"reviews": shown, "metadata": {"count": len(shown), "cursors": cursors}}


async def _count(site: Site, request: web.Request) -> Json:
    body = await read_body(request)
    _only(body, {"filter", "includePrivateReviews"})
    misread = site.misreads.take("count")
    private = _private(site, request, body, "includePrivateReviews", misread)
    asked = read_filter(body.get("filter"))
    count = wix_query.count(_as_read(site, request, misread), asked, private=private)
    if site.count_limit is not None and count > site.count_limit:
        raise Refusal(400, "TOO_MANY_TO_COUNT", "there are too many reviews to count")
    return {"count": count}


async def _get(site: Site, request: web.Request) -> Json:
    misread = site.misreads.take("get")
    row = _row(_as_read(site, request, misread), request)
    asked = request.query.get("returnPrivateReviews", "false")
    if asked not in {"true", "false"}:
        raise Violation("returnPrivateReviews", "a boolean is expected")
    _same_id(request, request.query)
    private = asked == "true" and _reads_private(site, request) and not misread.forbidden
    if misread.hides(row.review) or not (row.published or private):
        raise _not_found("review", row.id)
    return {"review": misread.shown(row.review)}


async def _reply(site: Site, request: web.Request) -> Json:
    row = _row(site.reviews, request)
    body = await read_body(request)
    _only(body, {"reviewId", "message"})
    _same_id(request, body)
    message = body.get("message")
    if not isinstance(message, str) or not message:
        raise Violation("message", "message is required", "REQUIRED_FIELD")
    if len(message) > _LONGEST_REPLY:
        raise Violation(
            "message", f"message has more than {_LONGEST_REPLY} characters", "MAX_LENGTH"
        )
    return {"review": site.reply(row.id, message)}


async def _unreply(site: Site, request: web.Request) -> Json:
    row = _row(site.reviews, request)
    _same_id(request, request.query)
    return {"review": site.unreply(row.id)}


async def _moderate(site: Site, request: web.Request) -> Json:
    row = _row(site.reviews, request)
    body = await read_body(request)
    _only(body, {"reviewId", "status"})
    _same_id(request, body)
    if body.get("status") not in {"APPROVED", "REJECTED"}:
        raise Violation("status", "status is APPROVED or REJECTED")
    return {"review": site.moderate(row.id, body["status"])}


async def _catalog(site: Site, _: web.Request) -> Json:
    return {"catalogVersion": site.catalog}


async def _product_v3(site: Site, request: web.Request) -> Json:
    product_id, name, url = _product(site, request, "V3_CATALOG")
    product: Json = {"id": product_id, "name": name}
    if "URL" in request.query.getall("fields", []):
        product["url"] = {"url": url}
    return {"product": product}


async def _product_v1(site: Site, request: web.Request) -> Json:
    product_id, name, url = _product(site, request, "V1_CATALOG")
    whole = urlsplit(url)
    page = {"base": f"{whole.scheme}://{whole.netloc}", "path": whole.path}
    return {"product": {"id": product_id, "name": name, "productPageUrl": page}}


async def _contact(site: Site, request: web.Request) -> Json:
    contact_id = request.match_info["id"]
    if contact_id not in site.contacts:
        raise _not_found("contact", contact_id)
    return {"contact": site.contacts[contact_id]}


# Method, path, needed permission, whether the call writes, and the call.
CALLS: Sequence[tuple[str, str, str, bool, Call]] = (
    ("POST", f"{REVIEWS}/query", "READ_REVIEWS", False, _query),
    ("POST", f"{REVIEWS}/count", "READ_REVIEWS", False, _count),
    ("GET", f"{REVIEWS}/{{id}}", "READ_REVIEWS", False, _get),
    ("PATCH", f"{REVIEWS}/{{id}}/reply", "SET_REPLY", True, _reply),
    ("DELETE", f"{REVIEWS}/{{id}}/reply", "REMOVE_REPLY", True, _unreply),
    ("PATCH", f"{REVIEWS}/{{id}}/moderate", "MODERATE_REVIEWS", True, _moderate),
    ("GET", "/stores/v3/provision/version", "READ_CATALOG", False, _catalog),
    ("GET", "/stores/v3/products/{id}", "READ_CATALOG", False, _product_v3),
    ("GET", "/stores-reader/v1/products/{id}", "READ_CATALOG", False, _product_v1),
    ("GET", "/contacts/v4/contacts/{id}", "READ_CONTACTS", False, _contact),
)


def _row(reviews: Reviews, request: web.Request) -> Row:
    review_id = request.match_info["id"]
    row = reviews.get(review_id)
    if row is None or not reviews.visible(review_id):
        raise _not_found("review", review_id)
    return row


def _as_read(site: Site, request: web.Request, misread: Misread) -> Reviews:
    """Return the reviews for this request: stale ones, but not older than the write it names."""
    written = site.written.get(request.headers.get(CONSISTENT, ""), -inf)
    age = min(misread.stale, site.clock.monotonic() - written)
    return site.reviews.as_of(age) if age > 0 else site.reviews


def _same_id(request: web.Request, fields: Mapping[str, Any]) -> None:
    """Check the id in a body or query, where Wix's own client repeats that of the path."""
    if fields.get("reviewId", request.match_info["id"]) != request.match_info["id"]:
        raise Violation("reviewId", "reviewId is not the review of the path")


def _product(site: Site, request: web.Request, catalog: str) -> tuple[str, str, str]:
    if site.catalog != catalog:
        raise Refusal(
            428, "CATALOG_VERSION_MISMATCH", f"this site's catalog is {site.catalog}, not {catalog}"
        )
    product_id = request.match_info["id"]
    if product_id not in site.products:
        raise _not_found("product", product_id)
    return product_id, *site.products[product_id]


def _reads_private(site: Site, request: web.Request) -> bool:
    return site.private and "READ_PRIVATE_REVIEWS" not in request[FORBIDDEN]


def _private(
    site: Site, request: web.Request, body: Mapping[str, Any], flag: str, misread: Misread
) -> bool:
    asked = body.get(flag, False)
    if not isinstance(asked, bool):
        raise Violation(flag, "a boolean is expected")
    if asked and (misread.forbidden or not _reads_private(site, request)):
        raise Refusal(
            403,
            "PERMISSION_DENIED",
            "REVIEWS.READ_PRIVATE_REVIEWS is required to read private reviews",
        )
    return asked


def _only(body: Mapping[str, Any], allowed: set[str]) -> None:
    for key in body:
        if key not in allowed:
            raise Violation(key, f"unknown field {key}")


def _not_found(what: str, its_id: str) -> Refusal:
    return Refusal(404, f"{what.upper()}_NOT_FOUND", f"{what} {its_id} was not found")
