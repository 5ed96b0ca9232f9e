// Asks sluiced over its RPC socket, with nothing but the stock Go ttrpc client and code generated from sluice.proto.
//
//	./generate.sh && go build
//	./ask models
//	./ask chat MODEL "Why is the sky blue?"     Ctrl-C cancels by request id; the program still reads to the end
//	./ask embed MODEL TEXT...
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/containerd/ttrpc"
	pb "sluice.example/ask/sluicev1"
)

// A unary call is answered at once: whoever waits longer than this talks to something else.
const unaryTimeout = 10 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ask:", Explain(err))
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 1 {
		return errors.New("usage: ask models | chat MODEL PROMPT | embed MODEL TEXT...")
	}
	client, err := Connect(SocketPath())
	if err != nil {
		return err
	}
	defer client.Close()
	switch {
	case args[0] == "models" && len(args) == 1:
		return listModels(client)
	case args[0] == "chat" && len(args) == 3:
		return chat(client, args[1], args[2])
	case args[0] == "embed" && len(args) >= 3:
		return embed(client, args[1], args[2:])
	}
	return errors.New("usage: ask models | chat MODEL PROMPT | embed MODEL TEXT...")
}

func listModels(client *ttrpc.Client) error {
	ctx, done := context.WithTimeout(context.Background(), unaryTimeout)
	defer done()
	answer, err := pb.NewEngineClient(client).ListModels(ctx, &pb.ListModelsRequest{})
	if err != nil {
		return err
	}
	for _, m := range answer.Models {
		fmt.Printf("%s\t%s\t%d of %d available\n", m.Name, m.Provider, m.AvailableDeployments, m.Deployments)
	}
	return nil
}

func chat(client *ttrpc.Client, model, prompt string) error {
	// Cancel finds the call by this id. A call of one user may not have the id of another of his that runs.
	id := fmt.Sprintf("ask-%d", os.Getpid())
	stop := cancelOnInterrupt(client, id)
	defer stop()
	stream, err := pb.NewEngineClient(client).Chat(context.Background(), &pb.ChatRequest{
		// A Go stream carries no deadline and no metadata in its envelope, so both stand in the message.
		Options:  &pb.CallOptions{RequestId: id, DeadlineUsec: uint64((10 * time.Minute).Microseconds())},
		Model:    model,
		Messages: []*pb.Message{{Role: pb.Role_ROLE_USER, Text: prompt}},
	})
	if err != nil {
		return err
	}
	return Events(stream, func(event *pb.Event) {
		switch kind := event.Kind.(type) {
		case *pb.Event_Queued:
			fmt.Fprintf(os.Stderr, "waiting, place %d\n", kind.Queued.Position)
		case *pb.Event_Text:
			os.Stdout.Write(kind.Text.Text) // bytes: a delta may end inside a character
		case *pb.Event_Done:
			fmt.Printf("\n[%d tokens in, %d out]\n", kind.Done.GetUsage().GetInputTokens(), kind.Done.GetUsage().GetOutputTokens())
		}
	})
}

// Cancels the call on the first Ctrl-C. The stream then ends by itself, with CANCELLED.
func cancelOnInterrupt(client *ttrpc.Client, id string) (stop func()) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		if _, ok := <-interrupts; !ok {
			return
		}
		ctx, done := context.WithTimeout(context.Background(), unaryTimeout)
		defer done()
		_, _ = pb.NewEngineClient(client).Cancel(ctx, &pb.CancelRequest{RequestId: id}) // the stream tells what came of it
	}()
	return func() { signal.Stop(interrupts); close(interrupts) }
}

func embed(client *ttrpc.Client, model string, texts []string) error {
	stream, err := pb.NewEngineClient(client).Embed(context.Background(), &pb.EmbedRequest{Model: model, Inputs: texts})
	if err != nil {
		return err
	}
	return Events(stream, func(event *pb.Event) {
		if e := event.GetEmbedding(); e != nil {
			fmt.Println(e.Index, e.Values)
		}
	})
}

// ErrCut says that a stream ended without Done: what came is not the whole answer.
var ErrCut = errors.New("the answer was cut")

// Events hands every event of a stream to take. nil: the answer is complete.
func Events(stream interface{ Recv() (*pb.Event, error) }, take func(*pb.Event)) error {
	isDone := false
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) && isDone {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return ErrCut
		}
		if err != nil {
			return err
		}
		isDone = event.GetDone() != nil
		take(event)
	}
}
