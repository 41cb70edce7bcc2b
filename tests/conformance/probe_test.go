package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	mountsapi "github.com/containerd/containerd/api/services/mounts/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	transferapi "github.com/containerd/containerd/api/services/transfer/v1"
	"github.com/containerd/containerd/api/types"
	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/typeurl/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

var methods = flag.String("methods", "", "what to probe: service/method, with commas between")

// How long a method is waited for that answers nothing, as one that streams events.
const silence = 2 * time.Second

// TestProbe calls every method, and prints what becomes of it. The point is only whether there is
// such a method: its answer is for other tests.
func TestProbe(t *testing.T) {
	ctx, c := connect(t)
	connection := c.Conn().(*grpc.ClientConn)
	_, err := c.ContainerService().Create(ctx, containers.Container{
		ID: contained, Runtime: containers.RuntimeInfo{Name: "io.containerd.runc.v2"}, Spec: &anypb.Any{TypeUrl: "spec"},
	})
	must(t, err)
	for method := range strings.SplitSeq(need(t, "methods"), ",") {
		fmt.Printf("probe %s %s\n", method, status.Code(call(ctx, connection, method, request(t, method))))
	}
	// Of a daemon that went down under it, the rest would tell nothing.
	_, err = c.Version(ctx)
	must(t, err)
}

// contained is the container that the probe makes.
const contained = "probe-contained"

// request is a message that a method has to look into before it can say that it does not do that. A
// message within it is there although it is empty: containerd ends when some are not.
func request(t *testing.T, method string) proto.Message {
	t.Helper()
	name := protoreflect.FullName(strings.ReplaceAll(method, "/", "."))
	if known, ok := requests(t)[name]; ok {
		return known
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	must(t, err)
	message := dynamicpb.NewMessage(found.(protoreflect.MethodDescriptor).Input())
	fill(message)
	return message
}

// requests are those that have to name something of a kind that daemons know.
func requests(t *testing.T) map[protoreflect.FullName]proto.Message {
	t.Helper()
	images := func(name string) *anypb.Any {
		store, err := typeurl.MarshalAnyToProto(&transfertypes.ImageStore{Name: name})
		must(t, err)
		return store
	}
	resource := &leasesapi.Resource{ID: "probe", Type: "images"}
	// One that daemons have to make, and cannot.
	unusual := []*types.Mount{{Type: "format/bind", Source: "{{ absent }}"}}
	const services = "containerd.services."
	return map[protoreflect.FullName]proto.Message{
		services + "leases.v1.Leases.AddResource":    &leasesapi.AddResourceRequest{ID: "probe", Resource: resource},
		services + "leases.v1.Leases.DeleteResource": &leasesapi.DeleteResourceRequest{ID: "probe", Resource: resource},
		services + "mounts.v1.Mounts.Activate":       &mountsapi.ActivateRequest{Name: "probe", Mounts: unusual},
		services + "tasks.v1.Tasks.Create":           &tasksapi.CreateTaskRequest{ContainerID: contained},
		services + "transfer.v1.Transfer.Transfer": &transferapi.TransferRequest{
			Source: images("from"), Destination: images("to"), Options: &transferapi.TransferOptions{},
		},
	}
}

// fill gives every text a value, and every message, except for those that others define.
func fill(message protoreflect.Message) {
	if message.Descriptor().ParentFile().Package() == "google.protobuf" {
		return
	}
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		switch {
		case field.IsList(), field.IsMap():
		case field.Message() != nil:
			fill(message.Mutable(field).Message())
		case field.Kind() == protoreflect.StringKind:
			message.Set(field, protoreflect.ValueOfString(word(field.Name())))
		}
	}
}

func word(field protoreflect.Name) string {
	switch field {
	case "media_type":
		return ocispec.MediaTypeImageLayer
	case "sandboxer":
		return "shim"
	case "snapshotter":
		return *snapshotter
	default:
		return "probe"
	}
}

// call speaks to a method as to one that streams both ways, which is the same on the wire.
func call(ctx context.Context, connection *grpc.ClientConn, method string, message proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+method)
	if err != nil {
		return err
	}
	// A failure to send has its reason in what is received.
	if err := stream.SendMsg(message); err == nil {
		stream.CloseSend()
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
		return err
	}
	return status.Error(codes.OK, "")
}
