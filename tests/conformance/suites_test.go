package conformance

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	contentsuite "github.com/containerd/containerd/v2/core/content/testsuite"
	"github.com/containerd/containerd/v2/core/snapshots"
	snapshotsuite "github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// TestSnapshotterSuite runs containerd's suite for snapshotters, with real mounts, through the socket.
func TestSnapshotterSuite(t *testing.T) {
	snapshotsuite.SnapshotterSuite(t, *snapshotter, func(context.Context, string) (snapshots.Snapshotter, func() error, error) {
		c, err := client.New(*address)
		if err != nil {
			return nil, nil, err
		}
		return c.SnapshotService(*snapshotter), c.Close, nil
	})
}

// TestContentSuite runs containerd's suite for content stores through the socket.
func TestContentSuite(t *testing.T) {
	contentsuite.ContentSuite(t, "content", contentStore)
}

// TestContentSharedSuite is the part of it for stores that share blobs between namespaces.
func TestContentSharedSuite(t *testing.T) {
	contentsuite.ContentCrossNSSharedSuite(t, "shared", contentStore)
}

var storeCount atomic.Uint64

// contentStore hands out the daemon's one store. Each test gets namespaces of its own, and leases
// that keep its blobs from the collector.
func contentStore(ctx context.Context, _ string) (context.Context, content.Store, func() error, error) {
	c, err := client.New(*address)
	if err != nil {
		return nil, nil, nil, err
	}
	name := contentsuite.Name(ctx)
	leased := func(ctx context.Context, _ bool) (context.Context, func(context.Context) error, error) {
		namespace := fmt.Sprintf("suite-%s-%d", name, storeCount.Add(1))
		return c.WithLease(namespaces.WithNamespace(ctx, namespace))
	}
	return contentsuite.SetContextWrapper(ctx, leased), c.ContentStore(), c.Close, nil
}
