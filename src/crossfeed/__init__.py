"""crossfeed: one trusted real-time market-data feed across exchanges."""
