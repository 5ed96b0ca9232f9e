// What every client of sluiced needs first: where it listens, and what its errors say.
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/status"
	pb "sluice.example/ask/sluicev1"
)

// SocketPath is where libsluice looks: SLUICE_SOCKET, then the user's own daemon, then the system's.
func SocketPath() string {
	if path := os.Getenv("SLUICE_SOCKET"); path != "" {
		return path
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		path := filepath.Join(dir, "sluice", "rpc.sock")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "/run/sluice/rpc.sock"
}

// Connect opens one connection. One is enough for short calls; give a long stream its own, because a stream that is
// not read holds up every other of its connection (the client's queue is short, ttrpc has no flow control).
func Connect(path string) (*ttrpc.Client, error) {
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return ttrpc.NewClient(conn), nil
}

// Detail is what sluiced says beyond the status: the code that programs compare, the field, when to try again.
// nil where the error does not come from sluiced.
func Detail(err error) *pb.ErrorDetail {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, detail := range st.Details() {
		if d, ok := detail.(*pb.ErrorDetail); ok {
			return d
		}
	}
	return nil
}

// Explain is an error in words for people.
func Explain(err error) string {
	d := Detail(err)
	if d == nil {
		return err.Error()
	}
	text := fmt.Sprintf("%s (%s)", status.Convert(err).Message(), d.Code)
	if d.RetryAfterUsec > 0 {
		text += fmt.Sprintf("; try again in %s", time.Duration(d.RetryAfterUsec)*time.Microsecond)
	}
	return text
}
