"""What a cluster's demo expects of its services, and what it finds there."""

import asyncio
import smtplib
from email.message import EmailMessage
from pathlib import Path

import httpx

from alerter.demo.cluster_services import EMAIL, Services, open_services


async def send(services: Services, subject: str) -> None:
    """Send a mail to the mailbox, as alerter would."""
    mail = EmailMessage()
    mail["Subject"] = subject
    mail.set_content("A review.")

    def run() -> None:
        with smtplib.SMTP(services.mailbox.host, services.mailbox.port) as smtp:
            smtp.login("alerts", "demo-password")
            smtp.send_message(mail, "alerts@example.com", "owner@example.com")

    await asyncio.to_thread(run)


async def test_what_arrives_is_judged_by_what_was_put_in(tmp_path: Path) -> None:
    async with open_services(tmp_path) as services, httpx.AsyncClient() as http:
        low, good = services.add("Tea House", 1), services.add("Tea House", 5)
        assert services.lost() == [
            f"no. {low} did not arrive at {place}" for place in (EMAIL, "north")
        ]
        assert services.outstanding() == 2
        for subject in (f"no. {low}", f"no. {low}", f"no. {good}", "Trouble"):
            await send(services, subject)
        await http.post(
            f"{services.slack.base_url}chat.postMessage",
            headers={"Authorization": "Bearer xoxb-demo-token"},
            json={"channel": "C0000000002", "text": f"Rude staff, no. {low}"},
        )
        services.take_in()
        assert services.lost() == [f"no. {low} did not arrive at north"]
        assert services.repeated() == [
            f"no. {low} arrived 2 times at {EMAIL}, not 1",
            f"no. {low} arrived 1 times at south, not 0",
            f"no. {good} arrived 1 times at {EMAIL}, not 0",
            "email: Trouble",
        ]
