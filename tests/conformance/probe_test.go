package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

var methods = flag.String("methods", "", "what to probe: service/method, with commas between")

// How long a method is waited for that answers nothing, as one that streams events.
const silence = 2 * time.Second

// TestProbe calls every method with an empty message, and prints what becomes of it. The point is
// only whether there is such a method: its answer is for other tests.
func TestProbe(t *testing.T) {
	ctx, c := connect(t)
	connection := c.Conn().(*grpc.ClientConn)
	var calls sync.WaitGroup
	for method := range strings.SplitSeq(need(t, "methods"), ",") {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, silence)
			defer cancel()
			fmt.Printf("probe %s %s\n", method, status.Code(call(ctx, connection, method)))
		})
	}
	calls.Wait()
}

// call speaks to a method as to one that streams both ways, which is the same on the wire.
func call(ctx context.Context, connection *grpc.ClientConn, method string) error {
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+method)
	if err != nil {
		return err
	}
	// A failure to send has its reason in what is received.
	if err := stream.SendMsg(&emptypb.Empty{}); err == nil {
		stream.CloseSend()
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
		return err
	}
	return status.Error(codes.OK, "")
}
