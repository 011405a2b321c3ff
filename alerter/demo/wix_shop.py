"""What a site of the embedded Wix sells: its orders, their fulfillments, and review requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from alerter.demo.wix_reviews import Json, merge, stamp


@dataclass
class Shop:
    """What a site sells. Tests may change it at any time.

    `is_there`: without, every call about orders is refused with 428. `fulfillments` by order id.
    """

    is_there: bool = True
    orders: list[Json] = field(default_factory=list)
    fulfillments: dict[str, list[Json]] = field(default_factory=dict)
    requests: list[Json] = field(default_factory=list)

    def add_order(self, order: Mapping[str, Any], ordered: datetime, *shipped: datetime) -> Json:
        """Add an order, shipped whole at the first of `shipped`, if there is one."""
        number = len(self.orders) + 1
        made = merge(_usual_order(number, ordered), order)
        if shipped:
            made = merge({**made, "fulfillmentStatus": "FULFILLED"}, order)
        self.fulfillments[made["id"]] = [
            {
                "id": str(uuid5(NAMESPACE_OID, f"fulfillment {number} {place}")),
                "createdDate": stamp(moment),
                "lineItems": [
                    {"id": line["id"], "quantity": line.get("quantity", 1)}
                    for line in made["lineItems"]
                ],
                "completed": True,
            }
            for place, moment in enumerate(shipped)
        ]
        self.orders.append(made)
        return made

    def add_request(self, order_id: str, review_id: str, asked: datetime) -> Json:
        """Add Wix's request for a review of an order, which the customer has followed."""
        made = {
            "id": str(uuid5(NAMESPACE_OID, f"request {review_id}")),
            "createdDate": stamp(asked),
            "namespace": "stores",
            "order": {"id": order_id},
            "items": [{"catalogItemId": "a product", "reviewId": review_id}],
            "status": "SENT",
        }
        self.requests.append(made)
        return made


def line_item(product_id: str, name: str, quantity: int = 1, **more: Any) -> Json:
    """Return a line item of an order."""
    return {
        "id": str(uuid5(NAMESPACE_OID, f"line of {product_id}")),
        "productName": {"original": name},
        "catalogReference": {
            "catalogItemId": product_id,
            "appId": "215238eb-22a5-4c36-9e7b-e7c08025e04e",
        },
        "quantity": quantity,
        "itemType": {"preset": "PHYSICAL"},
    } | more


def _usual_order(number: int, ordered: datetime) -> Json:
    placed = stamp(ordered)
    return {
        "id": str(uuid5(NAMESPACE_OID, f"order {number}")),
        "number": str(10000 + number),
        "createdDate": placed,
        "updatedDate": placed,
        "purchasedDate": placed,
        "lineItems": [line_item("a product", "A product")],
        "buyerInfo": {"contactId": "a contact", "email": "buyer@example.com"},
        "status": "APPROVED",
        "paymentStatus": "PAID",
        "fulfillmentStatus": "NOT_FULFILLED",
        "currency": "EUR",
        "priceSummary": {"total": {"amount": "12.50", "formattedAmount": "€12.50"}},
        "shippingInfo": {"title": "Parcel", "logistics": {"shippingDestination": {}}},
        "activities": [
            {"createdDate": placed, "type": "ORDER_PLACED", "activityType": "ORDER_PLACED"},
            {"createdDate": placed, "type": "ORDER_PAID", "activityType": "ORDER_PAID"},
        ],
    }
