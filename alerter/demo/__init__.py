"""An embedded Wix, Slack and mailbox on loopback, and the story that `alerter demo` plays."""
