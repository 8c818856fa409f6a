"""One folder per simulated venue. A folder with a `VENUE` is found by walking this package."""
