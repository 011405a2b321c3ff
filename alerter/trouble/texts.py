"""The texts of trouble: what does not work, and what to do about it. Pure."""

from typing import NamedTuple

from alerter.translation import mark


class TroubleText(NamedTuple):
    """What does not work, what to do about it, and what is said once it works again."""

    what: str
    remedy: str
    over: str


_RETRIED = mark(
    "Correct the cause. alerter tries again each hour, and at once after `alerter retry`."
)
_LIMITED = mark("Nothing. alerter continues when the limit allows it.")
# By the kind of the scope; with the service or the method where they differ.
TEXTS = {
    "config": TroubleText(
        mark("the changed config is not in force"),
        mark("Correct it (`alerter check` shows what is wrong), then reload the service again."),
        mark("The changed config is in force"),
    ),
    "site": TroubleText(
        mark("the reviews of %(name)s cannot be read"),
        mark(
            "Run `alerter check`. If Wix refuses to answer, look at the site's key or app and its"
            " permissions."
        ),
        mark("%(name)s's reviews can be read again"),
    ),
    "account": TroubleText(
        mark("the sites of the account %(name)s cannot be listed"),
        mark("Run `alerter check`. Sites that are new in the account are not watched meanwhile."),
        mark("The sites of the account %(name)s can be listed again"),
    ),
    "private": TroubleText(
        mark("reviews of %(name)s that are not published cannot be read any more"),
        mark("Grant its key or app Manage Reviews (`REVIEWS.READ_PRIVATE_REVIEWS`) again."),
        mark("%(name)s's unpublished reviews can be read again"),
    ),
    "unrouted": TroubleText(
        mark("alerts of %(name)s go to no receiver"),
        mark(
            "See the open reviews in `alerter status`, and correct `[[receivers]]` in the config."
        ),
        mark("Alerts of %(name)s have a receiver again"),
    ),
    "job": TroubleText(
        mark("alerter cannot do a part of its work: %(name)s"),
        mark("Look at its log, and report the error in it."),
        mark("alerter can do this part of its work again: %(name)s"),
    ),
    "state": TroubleText(
        mark("the database cannot be written"),
        mark(
            "Make room on the disk, end the process that holds the database, or bring its server"
            " back. alerter continues by itself."
        ),
        mark("The database can be written again"),
    ),
    "start": TroubleText(
        mark("alerter does not start"),
        mark(
            "Correct the cause, or restore a backup, and start alerter again. Until then it reads"
            " nothing."
        ),
        mark("alerter has started"),
    ),
    "message": TroubleText(
        mark("alerts to %(name)s were refused for good"),
        mark("See `alerter status`, then run `alerter retry`."),
        mark("No refused alert to %(name)s is left"),
    ),
    "erasure": TroubleText(
        mark("words of a deleted review still stand in messages to %(name)s"),
        mark("Invite the app to the channel again, or delete the messages there by hand."),
        mark("No words of a deleted review stand in messages to %(name)s any more"),
    ),
    "addresses": TroubleText(
        mark("some addresses of %(name)s refuse our mail"),
        mark("Correct the addresses in the config."),
        mark("The addresses of %(name)s take our mail again"),
    ),
    "template": TroubleText(
        mark("the template %(name)s does not work, and the built-in one is used instead"),
        mark("Run `alerter check`, which names the error, and correct the file."),
        mark("The template %(name)s works again"),
    ),
    "destination": TroubleText(
        mark("receiver %(name)s cannot be reached"),
        _RETRIED,
        mark("Receiver %(name)s can be reached again"),
    ),
    "service:smtp": TroubleText(
        mark("the mail server refuses us"), _RETRIED, mark("The mail server accepts us again")
    ),
    "service:slack": TroubleText(
        mark("Slack refuses us"), _RETRIED, mark("Slack accepts us again")
    ),
    "service:workspace": TroubleText(
        mark("the Slack workspace of %(name)s refuses us"),
        _RETRIED,
        mark("The Slack workspace of %(name)s accepts us again"),
    ),
    "service:address": TroubleText(
        mark("%(name)s does not take messages now"),
        _RETRIED,
        mark("%(name)s takes messages again"),
    ),
    "socket": TroubleText(
        mark("the buttons under alerts on Slack do not work"),
        mark(
            "Run `alerter check`. Alerts are sent all the same; answer in the dashboard meanwhile."
        ),
        mark("The buttons under alerts on Slack work again"),
    ),
    "method:look": TroubleText(
        mark("Slack limits how often alerter can look whether a message arrived"),
        _LIMITED,
        mark("Slack lets alerter look for messages again"),
    ),
    "method:update": TroubleText(
        mark("Slack limits how often alerter can change messages"),
        _LIMITED,
        mark("Slack lets alerter change messages again"),
    ),
}
# The clauses of reasons, up to what a service said or a detail. They are recorded in English.
REASONS = (
    mark("%(number)s of its addresses did not take a mail yet"),
    mark("%(number)s of them"),
    mark("a defect of alerter"),
    mark("a deleted review's words still stand there"),
    mark("a review that waits for moderation is not seen"),
    mark("correct its id, or invite the app to it"),
    mark("every address is refused"),
    mark("invite the app to it"),
    mark("is locked by another process"),
    mark("it may have arrived"),
    mark("it was posted by another webhook"),
    mark("its answer was lost each time"),
    mark("its log has the details"),
    mark("its messages wait, and none has left for a while"),
    mark("look at it in Slack"),
    mark("no address is accepted for now"),
    mark("published reviews only"),
    mark("renew it, or grant it chat:write"),
    mark("renew it, or grant it connections:write"),
    mark("Slack asks us to slow down"),
    mark("Slack cannot be reached"),
    mark("Slack ends the connection"),
    mark("Slack has a fault of its own"),
    mark("Slack has ten connections of this app already"),
    mark("Slack refuses the app_token"),
    mark("Slack refuses the channel"),
    mark("Slack refuses the token"),
    mark("Slack refuses this message"),
    mark("Slack's answer cannot be understood"),
    mark("Slack's answer was lost"),
    mark("Slack's certificate cannot be trusted"),
    mark("Slack's connection for buttons does not open"),
    mark("Socket Mode is off"),
    mark("the address asks us to slow down"),
    mark("the address cannot be reached"),
    mark("the address cannot be trusted"),
    mark("the address has a fault of its own"),
    mark("the address redirects, which is not followed"),
    mark("the address refuses this message"),
    mark("the address refuses us"),
    mark("the answer of the address was lost"),
    mark("the app_token is of another app than the messages"),
    mark("the mail server cannot be reached"),
    mark("the mail server cannot be trusted"),
    mark("the mail server refuses for now"),
    mark("the mail server refuses this mail"),
    mark("the mail server refuses us"),
    mark("turn it on for the app"),
    mark("unarchive it, or name another"),
    mark("use both tokens of one app"),
    mark("Wix asks us to slow down"),
    mark("Wix cannot be reached, or dropped the connection"),
    mark("Wix did not answer in time"),
    mark("Wix does not have it"),
    mark("Wix has a fault of its own"),
    mark("Wix refuses the request"),
    mark("Wix refuses us"),
    mark("Wix's answer cannot be read"),
)
