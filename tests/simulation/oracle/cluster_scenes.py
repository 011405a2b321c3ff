"""Histories with a cluster of three reviews."""

from __future__ import annotations

from datetime import datetime

from tests.simulation.history import Item, Mail
from tests.simulation.oracle.scene import Scene, at

ABOUT = "site:bakery/cluster"


def of_cluster(*named: str) -> Item:
    return Item("cluster", about=ABOUT, reviews=named)


def clustered(*named: str) -> Scene:
    """Three reviews are alerted, and a message about their cluster names these."""
    scene = Scene()
    for number in (1, 2, 3):
        name = f"r{number}"
        scene.review(name, at(1, number)).read(at(1, number, 2), name)
        scene.notify(at(1, number, 3), "new", name)
    return scene.notify(at(1, 3, 4), "cluster", about=ABOUT, reviews=named)


def clustered_twice() -> Scene:
    return clustered("r1", "r2", "r3").mail(at(1, 8), "cluster", about=ABOUT, reviews=("r3",))


def clustered_and_restored(*, taken: datetime) -> Scene:
    """The same, with a restore between the two of a backup that was taken at a time."""
    return clustered_twice().run("restore", at(1, 7), backup_taken=taken)


def clustered_with_another_site() -> Scene:
    return clustered("r1", "r2", "f1").review("f1", at(1), site="florist", rating=5)


def clustered_in_a_digest() -> Scene:
    items = (Item("cluster", about=ABOUT, reviews=("r1",)), Item("trouble", about="slack"))
    mail = Mail(at(1, 9), "<digest@test>", ("owner@bakery.test",), items)
    return clustered("r2", "r3").add("mails", mail)
