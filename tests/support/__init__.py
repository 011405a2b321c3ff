"""What several test modules share: fixtures, builders, and what they read of the results."""
