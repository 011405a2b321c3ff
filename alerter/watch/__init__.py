"""From what happens at Wix to alerts in the state file."""
