"""The shipped Roles, judged by kube-apiserver; a package, so that what its tests share ends with the last of them."""
