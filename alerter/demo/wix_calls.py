"""The calls of Wix's API that the embedded Wix answers, for a caller who was let in."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.demo import wix_query
from alerter.demo.wix_filter import BadQueryError, read_filter
from alerter.demo.wix_reviews import Json, Row
from alerter.demo.wix_site import Site

REVIEWS = "/reviews/v1/reviews"
Call = Callable[[Site, web.Request], Awaitable[Json]]

_LONGEST_REPLY = 10_000


class Refusal(Exception):
    """An answer that is an error, in Wix's shape."""

    def __init__(self, status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}
        error = {"code": code, "description": text, "data": {}}
        self.body: Json = {"message": text, "details": {"applicationError": error}}


class Violation(Refusal):
    """A request that breaks a rule of its schema."""

    def __init__(self, field: str, description: str, rule: str = "OTHER") -> None:
        super().__init__(400, "INVALID_ARGUMENT", description)
        violation = {"field": field, "description": description, "violatedRule": rule}
        self.body = {"message": description, "details": {"validationError": {"fieldViolations": [violation]}}}


@web.middleware
async def shape_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever refuses a request into an answer in Wix's shape."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
    except BadQueryError as error:
        violation = Violation(error.field, error.description, error.rule)
        return web.json_response(violation.body, status=violation.status)
    except web.HTTPException as error:
        # A method that a path does not have is a path that Wix does not have.
        status = 404 if error.status == 405 else error.status
        return web.json_response({"message": error.reason, "details": {}}, status=status)


def oauth_error(status: int, error: str, description: str) -> web.Response:
    """A refusal in the shape of https://www.rfc-editor.org/rfc/rfc6749#section-5.2 ."""
    return web.json_response({"error": error, "error_description": description}, status=status)


async def read_body(request: web.Request) -> Json:
    """The JSON object of a request; a refusal where it holds none."""
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise Refusal(400, "INVALID_ARGUMENT", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(400, "INVALID_ARGUMENT", "the body is not a JSON object")
    return body


async def _query(site: Site, request: web.Request) -> Json:
    body = await read_body(request)
    _only(body, {"query", "returnPrivateReviews"})
    private = _private(site, body, "returnPrivateReviews")
    query = wix_query.read_query(body.get("query"), scope=site.site_id)
    reviews, following = wix_query.run(site.reviews, query, private=private, scope=site.site_id)
    cursors = {"next": following} if following else {}
    return {"reviews": reviews, "metadata": {"count": len(reviews), "cursors": cursors}}


async def _count(site: Site, request: web.Request) -> Json:
    body = await read_body(request)
    _only(body, {"filter", "includePrivateReviews"})
    private = _private(site, body, "includePrivateReviews")
    asked = read_filter(body.get("filter"))
    count = wix_query.count(site.reviews, asked, private=private)
    if site.count_limit is not None and count > site.count_limit:
        raise Refusal(400, "TOO_MANY_TO_COUNT", "there are too many reviews to count")
    return {"count": count}


async def _get(site: Site, request: web.Request) -> Json:
    row = _row(site, request)
    asked = request.query.get("returnPrivateReviews", "false")
    if asked not in {"true", "false"}:
        raise Violation("returnPrivateReviews", "a boolean is expected")
    if not row.published and not (asked == "true" and site.private):
        raise _not_found("review", row.id)
    return {"review": row.review}


async def _reply(site: Site, request: web.Request) -> Json:
    row = _row(site, request)
    body = await read_body(request)
    _only(body, {"message"})
    message = body.get("message")
    if not isinstance(message, str) or not message:
        raise Violation("message", "message is required", "REQUIRED_FIELD")
    if len(message) > _LONGEST_REPLY:
        raise Violation("message", f"message has more than {_LONGEST_REPLY} characters", "MAX_LENGTH")
    return {"review": site.reply(row.id, message)}


async def _unreply(site: Site, request: web.Request) -> Json:
    return {"review": site.unreply(_row(site, request).id)}


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


CALLS: Sequence[tuple[str, str, Call]] = (
    ("POST", f"{REVIEWS}/query", _query),
    ("POST", f"{REVIEWS}/count", _count),
    ("GET", f"{REVIEWS}/{{id}}", _get),
    ("PATCH", f"{REVIEWS}/{{id}}/reply", _reply),
    ("DELETE", f"{REVIEWS}/{{id}}/reply", _unreply),
    ("GET", "/stores/v3/provision/version", _catalog),
    ("GET", "/stores/v3/products/{id}", _product_v3),
    ("GET", "/stores-reader/v1/products/{id}", _product_v1),
    ("GET", "/contacts/v4/contacts/{id}", _contact),
)


def _row(site: Site, request: web.Request) -> Row:
    review_id = request.match_info["id"]
    row = site.reviews.get(review_id)
    if row is None or not site.reviews.visible(review_id):
        raise _not_found("review", review_id)
    return row


def _product(site: Site, request: web.Request, catalog: str) -> tuple[str, str, str]:
    if site.catalog != catalog:
        raise Refusal(428, "CATALOG_VERSION_MISMATCH", f"this site's catalog is {site.catalog}, not {catalog}")
    product_id = request.match_info["id"]
    if product_id not in site.products:
        raise _not_found("product", product_id)
    return product_id, *site.products[product_id]


def _private(site: Site, body: Mapping[str, Any], flag: str) -> bool:
    asked = body.get(flag, False)
    if not isinstance(asked, bool):
        raise Violation(flag, "a boolean is expected")
    if asked and not site.private:
        raise Refusal(403, "PERMISSION_DENIED", "REVIEWS.READ_PRIVATE_REVIEWS is required to read private reviews")
    return asked


def _only(body: Mapping[str, Any], allowed: set[str]) -> None:
    for key in body:
        if key not in allowed:
            raise Violation(key, f"unknown field {key}")


def _not_found(what: str, its_id: str) -> Refusal:
    return Refusal(404, f"{what.upper()}_NOT_FOUND", f"{what} {its_id} was not found")
