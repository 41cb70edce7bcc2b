package conformance

import (
	"context"
	"slices"
	"testing"
	"time"

	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/transfer"
	transferimage "github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/image-spec/identity"
)

// TestPullInClient has the client do the pull: the daemon stores, unpacks and records.
func TestPullInClient(t *testing.T) {
	ctx, c := connect(t)
	ref := need(t, "image")
	pulled, err := c.Pull(ctx, ref, client.WithPullUnpack, client.WithPullSnapshotter(*snapshotter))
	must(t, err)
	got, err := c.GetImage(ctx, ref)
	must(t, err)
	if got.Target().Digest != pulled.Target().Digest {
		t.Fatalf("pulled %s, and there is %s", pulled.Target().Digest, got.Target().Digest)
	}
	checkUnpacked(t, ctx, c, got)

	// Again, over what is there.
	_, err = c.Pull(ctx, ref, client.WithPullUnpack, client.WithPullSnapshotter(*snapshotter))
	must(t, err)

	size, err := got.Size(ctx)
	must(t, err)
	if size <= 0 {
		t.Fatalf("the image has %d bytes", size)
	}
	must(t, c.ImageService().Delete(ctx, ref, images.SynchronousDelete()))
	if _, err := c.GetImage(ctx, ref); !errdefs.IsNotFound(err) {
		t.Fatalf("deleted, and asking for it gives: %v", err)
	}
	if _, err := c.SnapshotService(*snapshotter).Stat(ctx, chainID(t, ctx, got)); err != nil && !errdefs.IsNotFound(err) {
		t.Fatal(err)
	}
}

// TestPullByTransfer has the daemon do the pull.
func TestPullByTransfer(t *testing.T) {
	ctx, c := connect(t)
	ref := need(t, "image")
	source, err := registry.NewOCIRegistry(ctx, ref, registry.WithDefaultScheme("http"))
	must(t, err)
	unpack := transferimage.WithUnpack(platforms.DefaultSpec(), *snapshotter)
	var seen []string
	progress := transfer.WithProgress(func(p transfer.Progress) { seen = append(seen, p.Event) })
	must(t, c.Transfer(ctx, source, transferimage.NewStore(ref, unpack), progress))
	got, err := c.GetImage(ctx, ref)
	must(t, err)
	checkUnpacked(t, ctx, c, got)
	if len(seen) == 0 {
		t.Fatal("no progress was told")
	}

	const other = "registry.test/tagged:1"
	must(t, c.Transfer(ctx, transferimage.NewStore(ref), transferimage.NewStore(other)))
	tagged, err := c.GetImage(ctx, other)
	must(t, err)
	if tagged.Target().Digest != got.Target().Digest {
		t.Fatalf("a tag of %s is %s", got.Target().Digest, tagged.Target().Digest)
	}
}

// TestUnpackLater pulls without unpacking, and unpacks then.
func TestUnpackLater(t *testing.T) {
	ctx, c := connect(t)
	pulled, err := c.Pull(ctx, need(t, "image"))
	must(t, err)
	unpacked, err := pulled.IsUnpacked(ctx, *snapshotter)
	must(t, err)
	if unpacked {
		t.Fatal("nobody asked for it to be unpacked")
	}
	must(t, pulled.Unpack(ctx, *snapshotter))
	checkUnpacked(t, ctx, c, pulled)
	must(t, pulled.Unpack(ctx, *snapshotter))
}

// TestCollection sees to it that what only a lease holds goes with the lease, and not before.
func TestCollection(t *testing.T) {
	ctx, c := connect(t)
	lease, err := c.LeasesService().Create(ctx, leases.WithRandomID())
	must(t, err)
	sn := c.SnapshotService(*snapshotter)
	_, err = sn.Prepare(leases.WithLease(ctx, lease.ID), "held", "")
	must(t, err)
	other, err := c.LeasesService().Create(ctx, leases.WithID("other"))
	must(t, err)
	// A collection, which waits until it is done.
	must(t, c.LeasesService().Delete(ctx, other, leases.SynchronousDelete))
	_, err = sn.Stat(ctx, "held")
	must(t, err)
	held, err := c.LeasesService().ListResources(ctx, lease)
	must(t, err)
	want := leases.Resource{ID: "held", Type: "snapshots/" + *snapshotter}
	if !slices.Equal(held, []leases.Resource{want}) {
		t.Fatalf("the lease holds %v", held)
	}
	must(t, c.LeasesService().Delete(ctx, lease, leases.SynchronousDelete))
	if _, err := sn.Stat(ctx, "held"); !errdefs.IsNotFound(err) {
		t.Fatalf("its lease is gone, and asking for the snapshot gives: %v", err)
	}
}

// TestNamespaces keeps what is in one namespace out of the other.
func TestNamespaces(t *testing.T) {
	ctx, c := connect(t)
	must(t, c.NamespaceService().Create(ctx, "space-a", map[string]string{"colour": "red"}))
	labels, err := c.NamespaceService().Labels(ctx, "space-a")
	must(t, err)
	if labels["colour"] != "red" {
		t.Fatalf("labels are %v", labels)
	}
	must(t, c.NamespaceService().SetLabel(ctx, "space-a", "colour", "blue"))
	sn := c.SnapshotService(*snapshotter)
	inA, inB := namespaces.WithNamespace(ctx, "space-a"), namespaces.WithNamespace(ctx, "space-b")
	for _, in := range []context.Context{inA, inB} {
		_, err := sn.Prepare(in, "same", "", root())
		must(t, err)
	}
	must(t, sn.Remove(inB, "same"))
	_, err = sn.Stat(inA, "same")
	must(t, err)
	if err := c.NamespaceService().Delete(ctx, "space-a"); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("deleting a namespace with something in it gives: %v", err)
	}
	must(t, sn.Remove(inA, "same"))
	must(t, c.NamespaceService().Delete(ctx, "space-a"))
	names, err := c.NamespaceService().List(ctx)
	must(t, err)
	if slices.Contains(names, "space-a") {
		t.Fatalf("deleted, and still listed: %v", names)
	}
}

// TestEvents sees what was done told, in order, and nothing of what a filter excludes.
func TestEvents(t *testing.T) {
	ctx, c := connect(t)
	listening, stop := context.WithCancel(ctx)
	defer stop()
	namespace, _ := namespaces.Namespace(ctx)
	told, failed := c.Subscribe(listening, `namespace=="`+namespace+`",topic~="^/snapshot/"`)
	sn := c.SnapshotService(*snapshotter)
	// A subscription begins at some time after it was asked for.
	var first *apievents.SnapshotPrepare
	for n := 0; first == nil && n < 50; n++ {
		_, err := sn.Prepare(ctx, "probe", "", root())
		must(t, err)
		must(t, sn.Remove(ctx, "probe"))
		select {
		case envelope := <-told:
			if envelope.Topic == "/snapshot/prepare" {
				first = &apievents.SnapshotPrepare{}
				must(t, typeurl.UnmarshalTo(envelope.Event, first))
			}
		case err := <-failed:
			t.Fatal(err)
		case <-time.After(200 * time.Millisecond):
		}
	}
	if first == nil || first.Key != "probe" || first.Snapshotter != *snapshotter {
		t.Fatalf("told of: %v", first)
	}
	_, err := c.LeasesService().Create(ctx, leases.WithID("excluded-by-the-filter"))
	must(t, err)
	_, err = sn.Prepare(ctx, "key", "", root())
	must(t, err)
	must(t, sn.Commit(ctx, "name", "key", root()))
	must(t, sn.Remove(ctx, "name"))
	var topics []string
	for len(topics) == 0 || topics[len(topics)-1] != "name" {
		select {
		case envelope := <-told:
			event, err := typeurl.UnmarshalAny(envelope.Event)
			must(t, err)
			switch event := event.(type) {
			case *apievents.SnapshotPrepare:
				topics = append(topics, "prepare "+event.Key)
			case *apievents.SnapshotCommit:
				topics = append(topics, "commit "+event.Key+" "+event.Name)
			case *apievents.SnapshotRemove:
				topics = append(topics, "remove "+event.Key)
				if event.Key == "name" {
					topics = append(topics, "name")
				}
			default:
				t.Fatalf("%s told of %T", envelope.Topic, event)
			}
		case err := <-failed:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatalf("told of: %v", topics)
		}
	}
	topics = slices.DeleteFunc(topics, func(s string) bool { return s == "prepare probe" || s == "remove probe" })
	if want := []string{"prepare key", "commit key name", "remove name", "name"}; !slices.Equal(topics, want) {
		t.Fatalf("told of %v, not of %v", topics, want)
	}
}

// root keeps a snapshot from the collector.
func root() snapshots.Opt {
	return snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"})
}

func chainID(t *testing.T, ctx context.Context, of client.Image) string {
	t.Helper()
	diffs, err := of.RootFS(ctx)
	must(t, err)
	if len(diffs) < 2 {
		t.Fatalf("the image has %d layers", len(diffs))
	}
	return identity.ChainID(diffs).String()
}

func checkUnpacked(t *testing.T, ctx context.Context, c *client.Client, of client.Image) {
	t.Helper()
	unpacked, err := of.IsUnpacked(ctx, *snapshotter)
	must(t, err)
	if !unpacked {
		t.Fatalf("%s is not unpacked", of.Name())
	}
	info, err := c.SnapshotService(*snapshotter).Stat(ctx, chainID(t, ctx, of))
	must(t, err)
	if info.Kind != snapshots.KindCommitted || info.Parent == "" {
		t.Fatalf("the image's snapshot is %+v", info)
	}
}
