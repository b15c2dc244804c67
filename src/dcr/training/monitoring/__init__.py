"""What is shown of a run while it trains; it changes nothing of the result."""
