#!/bin/sh
# Makes sluicev1/*.pb.go out of sluice.proto, with protoc and the two generators that go.mod pins.
#
#     ./generate.sh [SLUICE.PROTO]
#
# Needs Go and protoc (Debian: protobuf-compiler). What it makes is not kept in the source tree.
set -eu
cd "$(dirname "$0")"
proto=${1:-../../../proto/sluice.proto}
package=sluice.example/ask/sluicev1

tools=$PWD/.tools
mkdir -p "$tools" sluicev1
GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go github.com/containerd/ttrpc/cmd/protoc-gen-go-ttrpc
PATH=$tools:$PATH protoc -I "$(dirname "$proto")" \
    --go_out=sluicev1 --go_opt=paths=source_relative --go_opt="Msluice.proto=$package" \
    --go-ttrpc_out=sluicev1 --go-ttrpc_opt=paths=source_relative --go-ttrpc_opt="Msluice.proto=$package" \
    "$(basename "$proto")"
