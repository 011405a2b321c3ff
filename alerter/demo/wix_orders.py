"""Orders, fulfillments and review requests of a site of the embedded Wix.

Fields and operators: `OrderSearchSpec` of @wix/auto_sdk_ecom_orders 1.0.300, and
https://dev.wix.com/docs/rest/crm/community/reviews/review-requests/query-review-requests
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web

from alerter.demo.wix_calls import Call, Refusal, read_body
from alerter.demo.wix_filter import BadQueryError, read_object
from alerter.demo.wix_reviews import Json, microseconds
from alerter.demo.wix_shop import Shop
from alerter.demo.wix_site import Site

_LARGEST_PAGE = 100
_MOST_IDS = 100  # `orderIds` of List Fulfillments For Multiple Orders
_ONE_OF = frozenset({"$eq", "$ne", "$in", "$nin"})
_ANY = _ONE_OF | {"$lt", "$lte", "$gt", "$gte"}
_LISTED = frozenset({"$hasSome", "$hasAll"})


class _Kind(NamedTuple):
    """What a paged call is about: its key, the answer's keys, and the fields that it knows."""

    key: str
    found: str
    metadata: str
    fields: Mapping[str, frozenset[str]]
    sortable: frozenset[str]


_ORDERS = _Kind(
    "search",
    "orders",
    "metadata",
    {
        **dict.fromkeys(("createdDate", "updatedDate", "purchasedDate", "number"), _ANY),
        **dict.fromkeys(("status", "paymentStatus", "fulfillmentStatus"), _ONE_OF),
        **dict.fromkeys(("id", "buyerInfo.contactId", "buyerInfo.memberId"), _ONE_OF),
        "lineItems.catalogReference.catalogItemId": _LISTED,
        "lineItems.productName.original": _LISTED,
        "archived": frozenset({"$eq", "$ne"}),
    },
    frozenset({"createdDate", "updatedDate", "purchasedDate", "number", "status"}),
)
_REQUESTS = _Kind(
    "query",
    "reviewRequests",
    "pagingMetadata",
    {
        **dict.fromkeys(("id", "recipient.contactId", "status", "namespace"), _ONE_OF),
        "order.id": _ONE_OF | {"$exists"},
        "items.reviewId": _ONE_OF | _LISTED | {"$exists"},
        "items.catalogItemId": _ONE_OF | _LISTED,
        **dict.fromkeys(("createdDate", "sendDate"), _ANY),
    },
    frozenset({"createdDate", "sendDate", "status"}),
)


async def _search(site: Site, request: web.Request) -> Json:
    shop = _shop(site)
    # Wix never returns those that are INITIALIZED, whatever the filter.
    there = [each for each in shop.orders if each.get("status") != "INITIALIZED"]
    return await _page(_ORDERS, site, request, there)


async def _get_order(site: Site, request: web.Request) -> Json:
    wanted = request.match_info["id"]
    for order in _shop(site).orders:
        if order.get("id") == wanted:
            return {"order": order}
    raise Refusal(404, "ORDER_NOT_FOUND", f"order {wanted} was not found")


async def _fulfillments(site: Site, request: web.Request) -> Json:
    shop, body = _shop(site), await read_body(request)
    _check_keys("", body, {"orderIds"})
    ids = body.get("orderIds")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise BadQueryError("orderIds", "a list of ids is expected")
    if not 1 <= len(ids) <= _MOST_IDS:
        raise BadQueryError("orderIds", f"has size {len(ids)}, expected 1 to {_MOST_IDS}", "MAX")
    known = {order.get("id") for order in shop.orders}
    return {
        "ordersWithFulfillments": [
            {"orderId": each, "fulfillments": shop.fulfillments.get(each, [])}
            for each in ids
            if each in known
        ]
    }


async def _requests(site: Site, request: web.Request) -> Json:
    return await _page(_REQUESTS, site, request, site.shop.requests)


# Method, path, needed permission, whether the call writes, and the call.
ORDER_CALLS: Sequence[tuple[str, str, str, bool, Call]] = (
    ("POST", "/reviews/v2/review-requests/query", "READ_REVIEW_REQUESTS", False, _requests),
    ("POST", "/ecom/v1/orders/search", "READ_ORDERS", False, _search),
    ("GET", "/ecom/v1/orders/{id}", "READ_ORDERS", False, _get_order),
    ("POST", "/ecom/v1/fulfillments/list-by-ids", "READ_ORDERS", False, _fulfillments),
)


def _shop(site: Site) -> Shop:
    """Return the shop of a site; no page says what a site without one answers."""
    if not site.shop.is_there:
        raise Refusal(428, "APP_NOT_INSTALLED", "this site has no eCommerce")
    return site.shop


async def _page(kind: _Kind, site: Site, request: web.Request, rows: Iterable[Json]) -> Json:
    body = await read_body(request)
    _check_keys("", body, {kind.key})
    asked = read_object(kind.key, body.get(kind.key))
    _check_keys(f"{kind.key}.", asked, {"filter", "sort", "cursorPaging"})
    paging = read_object(f"{kind.key}.cursorPaging", asked.get("cursorPaging"))
    _check_keys(f"{kind.key}.cursorPaging.", paging, {"limit", "cursor"})
    limit = paging.get("limit", _LARGEST_PAGE)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _LARGEST_PAGE:
        raise BadQueryError("cursorPaging.limit", f"must be between 1 and {_LARGEST_PAGE}", "MAX")
    start = 0
    if (cursor := paging.get("cursor")) is not None:
        if len(asked) > 1:
            raise BadQueryError("cursorPaging.cursor", "the cursor carries its filter and sort")
        asked, start = _decoded(cursor, f"{site.site_id} {kind.key}")
    found = [each for each in rows if _holds(kind, asked.get("filter"), each)]
    found = _ordered(kind, asked.get("sort"), found)
    page, more = found[start : start + limit], len(found) > start + limit
    scope = f"{site.site_id} {kind.key}"
    cursors = {"next": _encoded(asked, start + limit, scope)} if more else {}
    metadata = {"count": len(page), "cursors": cursors, "hasNext": more}
    return {kind.found: page, kind.metadata: metadata}


def _holds(kind: _Kind, asked: object, row: Json) -> bool:
    """Whether a row matches a filter; raise BadQueryError for a filter that Wix refuses."""
    matches = True
    for name, value in read_object("filter", asked).items():
        if name in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise BadQueryError(f"filter.{name}", "a list of filters is expected")
            parts = [_holds(kind, each, row) for each in value]
            matches &= all(parts) if name == "$and" else any(parts)
        else:
            matches &= _meets(kind, name, value, row)
    return matches


def _meets(kind: _Kind, name: str, value: object, row: Json) -> bool:
    if name not in kind.fields:
        raise BadQueryError(f"filter.{name}", f"field {name} is not supported in filters")
    tests = value if isinstance(value, Mapping) else {"$eq": value}
    if len(tests) != 1:
        raise BadQueryError(f"filter.{name}", "one operator for each condition is expected")
    [(operator, operand)] = tests.items()
    if operator not in kind.fields[name] and not (operator == "$eq" and "$in" in kind.fields[name]):
        raise BadQueryError(f"filter.{name}", f"operator {operator} is not supported")
    many = operator in ("$in", "$nin", "$hasSome", "$hasAll")
    if many is not isinstance(operand, list):
        raise BadQueryError(f"filter.{name}", f"{operator} expects {'a list' if many else 'one'}")
    wanted = [
        _comparable(name, each) for each in (operand if isinstance(operand, list) else [operand])
    ]
    values = [_comparable(name, each) for each in _values(row, name.split("."))]
    return _compare(operator, values, wanted)


def _compare(operator: str, values: Sequence[Any], wanted: Sequence[Any]) -> bool:
    if operator == "$exists":
        return bool(values) is wanted[0]
    if operator in ("$eq", "$in", "$hasSome"):
        return any(each in wanted for each in values)
    if operator in ("$ne", "$nin"):
        return not any(each in wanted for each in values)
    if operator == "$hasAll":
        return all(each in values for each in wanted)
    [bound] = wanted
    return any(
        {
            "$lt": each < bound,
            "$lte": each <= bound,
            "$gt": each > bound,
            "$gte": each >= bound,
        }[operator]
        for each in values
    )


def _comparable(name: str, value: Any) -> Any:
    if not name.endswith("Date"):
        return value
    try:
        return microseconds(value)
    except ValueError as error:
        raise BadQueryError(f"filter.{name}", str(error), "FORMAT") from error


def _values(found: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a path; one in a list counts for each of its members."""
    if isinstance(found, list):
        for each in found:
            yield from _values(each, path)
    elif not path:
        if found is not None:
            yield found
    elif isinstance(found, Mapping):
        yield from _values(found.get(path[0]), path[1:])


def _ordered(kind: _Kind, asked: object, rows: list[Json]) -> list[Json]:
    sorts = [{"fieldName": "createdDate", "order": "DESC"}] if asked is None else asked
    if not isinstance(sorts, list):
        raise BadQueryError("sort", "a list is expected")
    for each in reversed(sorts):
        sort = read_object("sort", each)
        _check_keys("sort.", sort, {"fieldName", "order"})
        name = str(sort.get("fieldName"))
        if name not in kind.sortable or sort.get("order", "ASC") not in ("ASC", "DESC"):
            raise BadQueryError("sort.fieldName", f"sorting by {name} is not supported")
        rows = sorted(
            rows, key=lambda row: str(row.get(name) or ""), reverse=sort.get("order") == "DESC"
        )
    return rows


def _encoded(asked: Mapping[str, Any], start: int, scope: str) -> str:
    content = {"filter": asked.get("filter"), "sort": asked.get("sort")}
    return base64.urlsafe_b64encode(json.dumps([content, start, scope]).encode()).decode()


def _decoded(cursor: object, scope: str) -> tuple[Mapping[str, Any], int]:
    try:
        asked, start, of = json.loads(base64.b64decode(str(cursor), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        of = None
    if of != scope:
        raise BadQueryError("cursorPaging.cursor", "the cursor is not valid")
    return asked, start


def _check_keys(path: str, found: Mapping[str, Any], known: set[str]) -> None:
    if unknown := found.keys() - known:
        raise BadQueryError(f"{path}{min(unknown)}", f"unknown field {min(unknown)}")
