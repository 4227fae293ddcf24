//go:build tools

// Package tools names the programs that this module is there to build: the lab's real Kubernetes API, and its client.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
