//go:build tools

// Package tools names the program that this module is there to build: a real store of traces.
package tools

import _ "github.com/jaegertracing/jaeger/cmd/all-in-one"
