// Package conformance asks a daemon that speaks containerd's API whether it does so, with containerd's
// own Go client: its suites for snapshotters and content stores, the life of an image, every class of
// error, and a snapshotter on another socket.
//
// It is compiled once (go test -c) by cargo xtask and run by the tests of the crate lamina, once per
// daemon. What the daemon is and where, its arguments say.
package conformance
