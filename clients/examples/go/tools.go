//go:build tools

// The code generators of generate.sh, so that go.mod and go.sum pin their versions. Never compiled.
package main

import (
	_ "github.com/containerd/ttrpc/cmd/protoc-gen-go-ttrpc"
	_ "google.golang.org/protobuf/cmd/protoc-gen-go"
)
