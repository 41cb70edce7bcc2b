package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
)

// TestContainer runs a container from beginning to end.
func TestContainer(t *testing.T) {
	ctx, c := connect(t)
	ref := need(t, "busybox")
	// Control groups and runc's records are the host's: no other daemon is to have the same.
	namespace := fmt.Sprintf("container-%d", os.Getpid())
	ctx = namespaces.WithNamespace(ctx, namespace)
	t.Cleanup(func() {
		for _, group := range []string{"/sys/fs/cgroup/" + namespace, "/sys/fs/cgroup/*/" + namespace} {
			found, _ := filepath.Glob(group)
			for _, one := range found {
				os.Remove(one)
			}
		}
	})
	img, err := c.Pull(ctx, ref, client.WithPullUnpack, client.WithPullSnapshotter(*snapshotter))
	must(t, err)
	told, failed := c.EventService().Subscribe(ctx, "namespace=="+namespace+",topic~=^/tasks/")

	out := filepath.Join(t.TempDir(), "out")
	made, err := c.NewContainer(ctx, "one",
		client.WithImage(img),
		client.WithSnapshotter(*snapshotter),
		client.WithNewSnapshot("one", img),
		client.WithNewSpec(oci.WithImageConfig(img), oci.WithProcessArgs("sh", "-c", "echo made; exec sleep 1000")))
	must(t, err)
	if _, err := made.Task(ctx, nil); !errdefs.IsNotFound(err) {
		t.Fatalf("no task yet, and asking for it gives: %v", err)
	}
	task, err := made.NewTask(ctx, cio.LogFile(out))
	must(t, err)
	if _, err := made.NewTask(ctx, cio.NullIO); !errdefs.IsAlreadyExists(err) {
		t.Fatalf("a second task gives: %v", err)
	}
	exit, err := task.Wait(ctx)
	must(t, err)
	must(t, task.Start(ctx))
	if _, err := task.Delete(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("deleting what runs gives: %v", err)
	}
	if err := made.Delete(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("deleting a container that runs gives: %v", err)
	}

	spec, err := made.Spec(ctx)
	must(t, err)
	process := *spec.Process
	process.Args = []string{"sh", "-c", "exit 7"}
	beside, err := task.Exec(ctx, "beside", &process, cio.NullIO)
	must(t, err)
	ended, err := beside.Wait(ctx)
	must(t, err)
	must(t, beside.Start(ctx))
	if code := wait(t, ctx, ended); code != 7 {
		t.Fatalf("the process beside it ends with %d", code)
	}
	_, err = beside.Delete(ctx)
	must(t, err)

	// Another client finds it.
	again, err := c.LoadContainer(ctx, "one")
	must(t, err)
	reached, err := again.Task(ctx, nil)
	must(t, err)
	status, err := reached.Status(ctx)
	must(t, err)
	if status.Status != client.Running || reached.Pid() != task.Pid() {
		t.Fatalf("it is %s with the process %d, not running with %d", status.Status, reached.Pid(), task.Pid())
	}
	must(t, task.Pause(ctx))
	must(t, task.Resume(ctx))
	pids, err := task.Pids(ctx)
	must(t, err)
	if len(pids) == 0 {
		t.Fatal("it has no process")
	}
	must(t, task.Kill(ctx, syscall.SIGKILL))
	if code := wait(t, ctx, exit); code != 137 {
		t.Fatalf("killed, it ends with %d", code)
	}
	_, err = task.Delete(ctx)
	must(t, err)
	must(t, made.Delete(ctx, client.WithSnapshotCleanup))
	if _, err := c.SnapshotService(*snapshotter).Stat(ctx, "one"); !errdefs.IsNotFound(err) {
		t.Fatalf("its snapshot is there: %v", err)
	}
	said, err := os.ReadFile(out)
	must(t, err)
	if string(said) != "made\n" {
		t.Fatalf("it said %q", said)
	}

	// A shim may end before it has told of the deletion, and tells again, later, what did not arrive.
	missing := map[string]int{
		"/tasks/create": 1, "/tasks/start": 1, "/tasks/exec-added": 1, "/tasks/exec-started": 1,
		"/tasks/exit": 2, "/tasks/paused": 1, "/tasks/resumed": 1,
	}
	for len(missing) > 0 {
		topic := next(t, told, failed).Topic
		switch missing[topic] {
		case 0:
			if topic != "/tasks/delete" {
				t.Fatalf("told once more of %s", topic)
			}
		case 1:
			delete(missing, topic)
		default:
			missing[topic]--
		}
	}
}

func wait(t *testing.T, ctx context.Context, exit <-chan client.ExitStatus) uint32 {
	t.Helper()
	select {
	case status := <-exit:
		code, _, err := status.Result()
		must(t, err)
		return code
	case <-ctx.Done():
		t.Fatal("it does not end")
		return 0
	}
}

// next returns the next event that was told.
func next(t *testing.T, told <-chan *events.Envelope, failed <-chan error) *events.Envelope {
	t.Helper()
	select {
	case event := <-told:
		return event
	case err := <-failed:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("no event comes")
	}
	return nil
}
