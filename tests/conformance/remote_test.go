package conformance

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/pkg/snapshotters"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
)

// TestRemoteSnapshotter pulls with a snapshotter on another socket, to which the daemon is a proxy.
// It has every layer already, as the lazy ones do that fetch files when they are read, and says so
// when it is asked to prepare one. So no layer is fetched.
func TestRemoteSnapshotter(t *testing.T) {
	ctx, c := connect(t)
	ref, socket := need(t, "image"), need(t, "remote")
	lazy := serveLazy(t, socket)
	image, err := c.Pull(ctx, ref, client.WithPullUnpack, client.WithPullSnapshotter("remote"),
		client.WithImageHandlerWrapper(snapshotters.AppendInfoHandlerWrapper(ref)))
	must(t, err)
	unpacked, err := image.IsUnpacked(ctx, "remote")
	must(t, err)
	if !unpacked {
		t.Fatal("the image is not unpacked")
	}
	diffs, err := image.RootFS(ctx)
	must(t, err)
	if got := len(lazy.taken); got != len(diffs) {
		t.Fatalf("%d of %d layers were left to the snapshotter", got, len(diffs))
	}
	for _, labels := range lazy.taken {
		if labels[snapshotters.TargetRefLabel] != ref {
			t.Fatalf("a layer was asked for with %v", labels)
		}
	}
	must(t, c.ContentStore().Walk(ctx, func(info content.Info) error {
		for _, blob := range lazy.blobs() {
			if info.Digest.String() == blob {
				t.Errorf("the layer %s was fetched", blob)
			}
		}
		return nil
	}))
}

// lazySnapshotter keeps records of snapshots, and no files.
type lazySnapshotter struct {
	store *storage.MetaStore
	root  string
	mutex sync.Mutex
	// The labels of each layer that was committed at once.
	taken []map[string]string
}

func serveLazy(t *testing.T, socket string) *lazySnapshotter {
	t.Helper()
	dir := t.TempDir()
	store, err := storage.NewMetaStore(dir + "/records.db")
	must(t, err)
	lazy := &lazySnapshotter{store: store, root: dir}
	listener, err := net.Listen("unix", socket)
	must(t, err)
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(lazy))
	go server.Serve(listener)
	t.Cleanup(func() {
		server.Stop()
		store.Close()
		os.Remove(socket)
	})
	return lazy
}

func (s *lazySnapshotter) blobs() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var found []string
	for _, labels := range s.taken {
		found = append(found, labels[snapshotters.TargetLayerDigestLabel])
	}
	return found
}

// create makes a record; one that names a layer is committed under that name at once.
func (s *lazySnapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return nil, err
		}
	}
	layer, named := info.Labels["containerd.io/snapshot.ref"]
	err := s.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		if _, err := storage.CreateSnapshot(ctx, kind, key, parent, opts...); err != nil {
			return err
		}
		if !named {
			return nil
		}
		_, err := storage.CommitActive(ctx, key, layer, snapshots.Usage{}, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if named {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.taken = append(s.taken, info.Labels)
		return nil, errdefs.ErrAlreadyExists
	}
	return s.mounts(), nil
}

func (s *lazySnapshotter) mounts() []mount.Mount {
	return []mount.Mount{{Type: "bind", Source: s.root, Options: []string{"rbind", "ro"}}}
}

func (s *lazySnapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.create(ctx, snapshots.KindActive, key, parent, opts)
}

func (s *lazySnapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.create(ctx, snapshots.KindView, key, parent, opts)
}

func (s *lazySnapshotter) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	if _, err := s.Stat(ctx, key); err != nil {
		return nil, err
	}
	return s.mounts(), nil
}

func (s *lazySnapshotter) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return s.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		_, err := storage.CommitActive(ctx, key, name, snapshots.Usage{}, opts...)
		return err
	})
}

func (s *lazySnapshotter) Remove(ctx context.Context, key string) error {
	return s.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		_, _, err := storage.Remove(ctx, key)
		return err
	})
}

func (s *lazySnapshotter) Stat(ctx context.Context, key string) (info snapshots.Info, err error) {
	err = s.store.WithTransaction(ctx, false, func(ctx context.Context) error {
		_, info, _, err = storage.GetInfo(ctx, key)
		return err
	})
	return info, err
}

func (s *lazySnapshotter) Update(ctx context.Context, info snapshots.Info, fields ...string) (updated snapshots.Info, err error) {
	err = s.store.WithTransaction(ctx, true, func(ctx context.Context) error {
		updated, err = storage.UpdateInfo(ctx, info, fields...)
		return err
	})
	return updated, err
}

func (s *lazySnapshotter) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	_, err := s.Stat(ctx, key)
	return snapshots.Usage{}, err
}

func (s *lazySnapshotter) Walk(ctx context.Context, each snapshots.WalkFunc, filters ...string) error {
	return s.store.WithTransaction(ctx, false, func(ctx context.Context) error {
		return storage.WalkInfo(ctx, each, filters...)
	})
}

func (s *lazySnapshotter) Close() error { return s.store.Close() }

var _ snapshots.Snapshotter = (*lazySnapshotter)(nil)
