"""What `alerter check` finds about the orders of a site."""

from alerter.config import Site
from alerter.errors import WixAuthError, WixError, WixPrecondition
from alerter.models import Finding
from alerter.wix.client import WixClient
from alerter.wix.orders import ORDERS_SCOPE, REQUESTS_SCOPE, probe_orders, probe_requests


async def check_orders(wix: WixClient, site: Site) -> list[Finding]:
    """Say whether alerts of a site name orders, and warn of what they lack for that."""
    try:
        await probe_orders(wix, site)
    except WixAuthError as error:
        text = f"its orders cannot be read: {error}; grant it Read Orders ({ORDERS_SCOPE})"
        return [_warning(site, text)]
    except WixPrecondition as error:
        return [_warning(site, f"it has no orders, as it has no eCommerce: {error}")]
    except WixError as error:
        return [_warning(site, f"its orders cannot be read: {error}; try again later")]
    try:
        await probe_requests(wix, site)
    except WixAuthError as error:
        text = (
            "its orders can be read, and are found by customer and product; to find them by Wix's"
            f" own requests for reviews, grant it Read Review Requests ({REQUESTS_SCOPE}): {error}"
        )
        return [_warning(site, text)]
    except WixError as error:
        text = f"its orders can be read, but not the requests for reviews: {error}"
        return [_warning(site, text)]
    return [Finding(ok=True, subject=f"site {site.name}", text="its orders can be read")]


def _warning(site: Site, text: str) -> Finding:
    return Finding(ok=True, subject=f"site {site.name}", text=text, warning=True)
