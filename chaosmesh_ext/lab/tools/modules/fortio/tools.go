//go:build tools

// Package tools names the program that this module is there to build: Fortio, the lab's load.
package tools

import _ "fortio.org/fortio"
