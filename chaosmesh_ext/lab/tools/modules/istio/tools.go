//go:build tools

// Package tools names the programs that this module is there to build: Istio's control plane, and its client.
package tools

import (
	_ "istio.io/istio/istioctl/cmd/istioctl"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
