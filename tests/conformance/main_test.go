package conformance

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

var (
	address     = flag.String("address", "", "the socket of the daemon")
	snapshotter = flag.String("snapshotter", "overlayfs", "the snapshotter to work with")
	image       = flag.String("image", "", "an image with at least two layers, on a registry without TLS")
	busybox     = flag.String("busybox", "", "an image of busybox, on a registry without TLS")
	remote      = flag.String("remote", "", "where the daemon looks for the proxy snapshotter `remote`")
)

// How long one test may wait for the daemon.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	if *address == "" {
		fmt.Fprintln(os.Stderr, "-address is missing")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// connect returns a client, and a context in a namespace that no other test has. What the test
// leaves in the namespace goes with the daemon.
func connect(t *testing.T) (context.Context, *client.Client) {
	t.Helper()
	namespace := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(context.Background(), namespace), patience)
	t.Cleanup(cancel)
	c, err := client.New(*address)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return ctx, c
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// need skips a test for which an argument was not given.
func need(t *testing.T, name string) string {
	t.Helper()
	value := flag.Lookup(name).Value.String()
	if value == "" {
		t.Skipf("-%s is not given", name)
	}
	return value
}
