"""One alert to twenty receivers by mail, beside as many mails of other alerts."""

from dataclasses import replace
from datetime import UTC, datetime

from alerter.clock import Clock
from alerter.models import Form, Message
from alerter.notify.destination import Destination
from alerter.notify.email import build_mail
from alerter.service.destinations import open_destinations
from alerter.store import outbox
from benchmarks.figures import Figure
from benchmarks.outbox import raise_alerts
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, runtime, worlds

_RECEIVERS = 20
_ROUNDS = 50


def measure(*, quick: bool) -> list[Figure]:
    """Measure the CPU time in which the mails are rendered and built."""
    with serving(FastWix) as wix:
        world = World(wix.url, None, 9, mailboxes=0, more=_receivers())
        both = beside(
            3 if quick else 7,
            lambda: alone(_build, world, True),
            lambda: alone(_build, world, False),
        )
    row, (ours, single) = "a mail to 20 receivers", both.cpu_ms(_ROUNDS * _RECEIVERS)
    detail = f"{ours:.2f} ms, single {single:.2f} ms"
    return [Figure(row, "CPU, of single mails", both.cpu, "≤", 0.3, "×", detail)]


def _receivers() -> str:
    return "".join(
        f'[[receivers]]\nname = "owner {each}"\nemail = ["owner{each}@example.com"]\n'
        for each in range(_RECEIVERS)
    )


async def _build(meter: Meter, world: World, same: bool) -> None:
    """Build the mails of one alert for all receivers, or of another alert for each."""
    with worlds(world) as fresh:
        async with runtime(fresh) as (config, state, opened):
            await raise_alerts(opened, _RECEIVERS)
            async with open_destinations(config, Clock()) as destinations:
                now = datetime.now(UTC)
                drafts = [
                    outbox.draft(state, each.name, Form.ALERT, [1 if same else number], now)
                    for number, each in enumerate(destinations, 1)
                ]
                for each, draft in zip(destinations, drafts, strict=True):
                    _mail(each, draft)
                with meter:
                    for _ in range(_ROUNDS):
                        for each, draft in zip(destinations, drafts, strict=True):
                            _mail(each, draft)


def _mail(destination: Destination, draft: Message) -> bytes:
    message = replace(draft, uid="0123456789abcdef@example.com")
    address = f"{destination.receiver.replace(' ', '')}@example.com"
    content = destination.render(message)
    return build_mail("alerts@example.com", [address], message, content)
