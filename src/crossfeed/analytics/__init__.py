"""Stage 5: unified values → signals.

Pure: values come in, signals come out. `PriceMonitor`, `ArbitrageDetector`, `FeatureExtractor` and
the validators. numpy is imported only when an array is asked for.
"""
