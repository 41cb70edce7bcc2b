package conformance

import (
	"bytes"
	"context"
	"testing"

	apievents "github.com/containerd/containerd/api/events"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	introspection "github.com/containerd/containerd/api/services/introspection/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/streaming"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
)

// provocation is a call that has to fail, and how.
type provocation struct {
	name string
	is   func(error) bool
	call func(context.Context, *client.Client) error
}

var absent = digest.FromString("nobody has this")

var provocations = []provocation{
	{"NotFound/image", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageService().Get(ctx, "absent")
		return err
	}},
	{"NotFound/image-deleted", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		return c.ImageService().Delete(ctx, "absent")
	}},
	{"NotFound/image-updated", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageService().Update(ctx, anImage("absent"), "labels")
		return err
	}},
	{"NotFound/blob", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.ContentStore().Info(ctx, absent)
		return err
	}},
	{"NotFound/blob-deleted", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		return c.ContentStore().Delete(ctx, absent)
	}},
	{"NotFound/ingest", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.ContentStore().Status(ctx, "absent")
		return err
	}},
	{"NotFound/snapshot", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.SnapshotService(*snapshotter).Stat(ctx, "absent")
		return err
	}},
	{"NotFound/parent", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.SnapshotService(*snapshotter).Prepare(ctx, "key", "absent")
		return err
	}},
	{"NotFound/mounts", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.SnapshotService(*snapshotter).Mounts(ctx, "absent")
		return err
	}},
	{"NotFound/lease", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		return c.LeasesService().Delete(ctx, leases.Lease{ID: "absent"})
	}},
	{"NotFound/namespace", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		return c.NamespaceService().Delete(ctx, "absent")
	}},
	{"NotFound/container", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerService().Get(ctx, "absent")
		return err
	}},
	{"AlreadyExists/image", errdefs.IsAlreadyExists, func(ctx context.Context, c *client.Client) error {
		return twice(func() error {
			_, err := c.ImageService().Create(ctx, anImage("twice"))
			return err
		})
	}},
	{"AlreadyExists/snapshot", errdefs.IsAlreadyExists, func(ctx context.Context, c *client.Client) error {
		return twice(func() error {
			_, err := c.SnapshotService(*snapshotter).Prepare(ctx, "twice", "", root())
			return err
		})
	}},
	{"AlreadyExists/lease", errdefs.IsAlreadyExists, func(ctx context.Context, c *client.Client) error {
		return twice(func() error {
			_, err := c.LeasesService().Create(ctx, leases.WithID("twice"))
			return err
		})
	}},
	{"AlreadyExists/namespace", errdefs.IsAlreadyExists, func(ctx context.Context, c *client.Client) error {
		return twice(func() error { return c.NamespaceService().Create(ctx, "twice", nil) })
	}},
	{"AlreadyExists/blob", errdefs.IsAlreadyExists, func(ctx context.Context, c *client.Client) error {
		bytes := []byte("the same twice")
		desc := ocispec.Descriptor{Digest: digest.FromBytes(bytes), Size: int64(len(bytes))}
		return twice(func() error {
			w, err := c.ContentStore().Writer(ctx, content.WithRef("twice"), content.WithDescriptor(desc))
			if err != nil {
				return err
			}
			defer w.Close()
			if _, err := w.Write(bytes); err != nil {
				return err
			}
			return w.Commit(ctx, desc.Size, desc.Digest, content.WithLabels(kept))
		})
	}},
	{"FailedPrecondition/digest", errdefs.IsFailedPrecondition, func(ctx context.Context, c *client.Client) error {
		return commit(ctx, c, "wrong-digest", 4, absent)
	}},
	{"FailedPrecondition/size", errdefs.IsFailedPrecondition, func(ctx context.Context, c *client.Client) error {
		return commit(ctx, c, "wrong-size", 5, "")
	}},
	{"FailedPrecondition/children", errdefs.IsFailedPrecondition, func(ctx context.Context, c *client.Client) error {
		sn := c.SnapshotService(*snapshotter)
		if _, err := sn.Prepare(ctx, "lower", "", root()); err != nil {
			return unexpected{err}
		}
		if err := sn.Commit(ctx, "parent", "lower", root()); err != nil {
			return unexpected{err}
		}
		if _, err := sn.Prepare(ctx, "child", "parent", root()); err != nil {
			return unexpected{err}
		}
		return sn.Remove(ctx, "parent")
	}},
	{"FailedPrecondition/namespace", errdefs.IsFailedPrecondition, func(ctx context.Context, c *client.Client) error {
		in := namespaces.WithNamespace(ctx, "inhabited")
		if _, err := c.ImageService().Create(in, anImage("inhabitant")); err != nil {
			return unexpected{err}
		}
		return c.NamespaceService().Delete(ctx, "inhabited")
	}},
	{"InvalidArgument/namespace", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		return c.NamespaceService().Create(ctx, "no good name", nil)
	}},
	{"InvalidArgument/namespace-of-a-call", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageService().List(namespaces.WithNamespace(ctx, "no good name"))
		return err
	}},
	{"InvalidArgument/filter", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageService().List(ctx, `name==`)
		return err
	}},
	{"InvalidArgument/image", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		_, err := c.ImageService().Create(ctx, images.Image{Name: "no-target"})
		return err
	}},
	{"InvalidArgument/label", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		long := anImage("long-label")
		long.Labels = map[string]string{"key": string(bytes.Repeat([]byte("x"), 4096))}
		_, err := c.ImageService().Create(ctx, long)
		return err
	}},
	{"InvalidArgument/digest", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		_, err := c.ContentStore().Info(ctx, "sha256:abc")
		return err
	}},
	{"InvalidArgument/snapshotter", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		_, err := c.SnapshotService("absent").Stat(ctx, "key")
		return err
	}},
	{"InvalidArgument/no-snapshotter", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		raw := snapshotsapi.NewSnapshotsClient(c.Conn().(*grpc.ClientConn))
		_, err := raw.Stat(ctx, &snapshotsapi.StatSnapshotRequest{Key: "key"})
		return errgrpc.ToNative(err)
	}},
	{"InvalidArgument/container", errdefs.IsInvalidArgument, func(ctx context.Context, c *client.Client) error {
		_, err := c.ContainerService().Create(ctx, containers.Container{ID: "no-spec"})
		return err
	}},
	{"Unavailable/ref", errdefs.IsUnavailable, func(ctx context.Context, c *client.Client) error {
		w, err := c.ContentStore().Writer(ctx, content.WithRef("locked"))
		if err != nil {
			return unexpected{err}
		}
		defer w.Close()
		_, err = c.ContentStore().Writer(ctx, content.WithRef("locked"))
		return err
	}},
	{"OutOfRange/read", errdefs.IsOutOfRange, func(ctx context.Context, c *client.Client) error {
		if err := commit(ctx, c, "readable", 4, ""); err != nil {
			return unexpected{err}
		}
		desc := ocispec.Descriptor{Digest: digest.FromString("four"), Size: 4}
		r, err := c.ContentStore().ReaderAt(ctx, desc)
		if err != nil {
			return unexpected{err}
		}
		defer r.Close()
		_, err = r.ReadAt(make([]byte, 1), 100)
		return errgrpc.ToNative(err)
	}},
	{"OutOfRange/write", errdefs.IsOutOfRange, func(ctx context.Context, c *client.Client) error {
		stream, err := contentapi.NewContentClient(c.Conn().(*grpc.ClientConn)).Write(ctx)
		if err != nil {
			return unexpected{err}
		}
		behind := &contentapi.WriteContentRequest{
			Action: contentapi.WriteAction_WRITE, Ref: "short", Offset: 100, Data: []byte("x"),
		}
		if err := stream.Send(behind); err != nil {
			return unexpected{err}
		}
		_, err = stream.Recv()
		return errgrpc.ToNative(err)
	}},
	{"NotFound/plugin", errdefs.IsNotFound, func(ctx context.Context, c *client.Client) error {
		raw := introspection.NewIntrospectionClient(c.Conn().(*grpc.ClientConn))
		_, err := raw.PluginInfo(ctx, &introspection.PluginInfoRequest{Type: "absent", ID: "absent"})
		return errgrpc.ToNative(err)
	}},
	{"NotImplemented/mounts", errdefs.IsNotImplemented, func(ctx context.Context, c *client.Client) error {
		plain := []mount.Mount{{Type: "bind", Source: "/", Options: []string{"bind", "ro"}}}
		_, err := c.MountManager().Activate(ctx, "plain", plain)
		return err
	}},
	{"NotImplemented/transfer", errdefs.IsNotImplemented, func(ctx context.Context, c *client.Client) error {
		return c.Transfer(ctx, nowhere{}, nowhere{})
	}},
	{"NotImplemented/lease-resource", errdefs.IsNotImplemented, func(ctx context.Context, c *client.Client) error {
		l, err := c.LeasesService().Create(ctx, leases.WithRandomID())
		if err != nil {
			return unexpected{err}
		}
		return c.LeasesService().AddResource(ctx, l, leases.Resource{ID: "a", Type: "pictures"})
	}},
}

// TestErrors provokes every class of error, and looks at what the client makes of it.
func TestErrors(t *testing.T) {
	for _, p := range provocations {
		t.Run(p.name, func(t *testing.T) {
			ctx, c := connect(t)
			ctx, done, err := c.WithLease(ctx)
			must(t, err)
			defer done(ctx)
			err = p.call(ctx, c)
			if _, early := err.(unexpected); early || err == nil || !p.is(err) {
				t.Fatalf("the answer is: %v", err)
			}
		})
	}
}

// unexpected is an error of a step before the one that has to fail.
type unexpected struct{ error }

var kept = map[string]string{"containerd.io/gc.root": "now"}

func anImage(name string) images.Image {
	target := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: absent, Size: 15}
	return images.Image{Name: name, Target: target}
}

// twice does something that has to work once, and answers how it went the second time.
func twice(call func() error) error {
	if err := call(); err != nil {
		return unexpected{err}
	}
	return call()
}

// commit writes four bytes under `ref` and commits them as having this size and digest.
func commit(ctx context.Context, c *client.Client, ref string, size int64, expected digest.Digest) error {
	w, err := c.ContentStore().Writer(ctx, content.WithRef(ref))
	if err != nil {
		return unexpected{err}
	}
	defer w.Close()
	if _, err := w.Write([]byte("four")); err != nil {
		return unexpected{err}
	}
	return w.Commit(ctx, size, expected, content.WithLabels(kept))
}

// nowhere is a source and a destination that no daemon can know.
type nowhere struct{}

func (nowhere) MarshalAny(context.Context, streaming.StreamCreator) (typeurl.Any, error) {
	return typeurl.MarshalAny(&apievents.NamespaceDelete{Name: "no source of images"})
}
