"""An embedded Wix, Slack and mailbox on loopback, and the story that the demo plays on the real daemon."""
