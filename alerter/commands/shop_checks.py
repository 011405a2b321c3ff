"""What `alerter check` finds about the shop of a site: names of products, and orders."""

from contextlib import suppress

from alerter.config import Config, Site
from alerter.errors import StateError, WixAuthError, WixError, WixPrecondition
from alerter.models import Finding
from alerter.store import State, is_there, orders
from alerter.wix.client import WixClient
from alerter.wix.orders import ORDERS_SCOPE, REQUESTS_SCOPE, probe_orders, probe_requests


async def check_catalog(wix: WixClient, site: Site) -> Finding | None:
    """Warn where the names of a site's products cannot be read; None where they can."""
    subject, fault = f"site {site.name}", None
    try:
        await wix.catalog_version(site)
    except WixAuthError as error:
        fault = f"{error}; grant it Read v3 catalog (of Wix Stores)"
    except WixError as error:
        fault = f"{error}; try again later"
    if fault is None:
        return None
    text = f"its products have no names in alerts, as its catalog cannot be read: {fault}"
    return Finding(ok=True, subject=subject, text=text, warning=True)


async def check_orders(config: Config, wix: WixClient, site: Site) -> list[Finding]:
    """Say whether alerts of a site name orders, and warn of what they lack for that.

    Where they lack nothing any more, the daemon asks for orders again.
    """
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
    with suppress(StateError):
        if is_there(config.database):
            with State.open(config.database, migrate=False) as state:
                orders.lift_refusals(state, site.site_id)
    return [Finding(ok=True, subject=f"site {site.name}", text="its orders can be read")]


def _warning(site: Site, text: str) -> Finding:
    return Finding(ok=True, subject=f"site {site.name}", text=text, warning=True)
