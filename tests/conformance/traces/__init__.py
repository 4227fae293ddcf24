"""The trace store, judged by Jaeger; a package, so that what its tests share ends with the last of them."""
