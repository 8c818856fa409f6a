"""Stage 4: events of many venues → one view (`UnifiedMarketData`).

Pure: events and times come in, unified values come out. `Aggregator` is the machine,
`AggregatorConfig` what it is told, `strategies` how prices are combined, `ConsolidatedBook` the
depth over venues.
"""
