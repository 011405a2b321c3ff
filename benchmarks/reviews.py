"""Generated reviews in Wix's JSON, of realistic length."""

from datetime import UTC, datetime, timedelta

PRODUCT = "00000000-0000-4000-8000-000000000001"
_CONTACT = "00000000-0000-4000-8000-000000000002"
_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
# Customers write about two hundred characters on average.
_BODY = (
    "The box arrived a day late & the croissants were as hard as stone; two of six were broken. "
    "I wrote to the shop and nobody answered. My daughter’s birthday breakfast was ruined 😢. "
    "“Freshly baked”, says the page …"
)


def review_id(number: int) -> str:
    """Return the id of a review."""
    return f"00000000-0000-4000-8000-{number:012}"


def review_json(number: int) -> str:
    """Return a low-rated review that is published and not answered."""
    created = (
        (_FIRST + timedelta(minutes=number))
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
    return (
        f'{{"id": "{review_id(number)}", "namespace": "stores", "entityId": "{PRODUCT}",'
        f' "createdDate": "{created}", "updatedDate": "{created}", "reviewDate": "{created}",'
        f' "content": {{"title": "Stale on arrival {number}", "body": "{_BODY}",'
        f' "rating": {1 + number % 2}, "media": []}},'
        f' "author": {{"contactId": "{_CONTACT}", "authorName": "Robin Example"}},'
        ' "foundHelpful": 0, "foundUnhelpful": 0, "helpfulness": 0,'
        ' "moderation": {"moderationStatus": "APPROVED", "manuallyChanged": false},'
        ' "revision": "1", "verified": true, "origin": {"type": "ORGANIC"}, "relevanceScore": 0.5}'
    )


def page_of(first: int, last: int) -> str:
    """Return a JSON list of the reviews from `first` to before `last`."""
    return f"[{', '.join(review_json(number) for number in range(first, last))}]"
