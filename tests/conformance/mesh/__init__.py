"""The control plane, judged by istiod; a package, so that what its tests share ends with the last of them."""
