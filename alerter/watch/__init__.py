"""Turn what happens at Wix into alerts in the database."""
