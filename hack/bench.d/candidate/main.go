// SPDX-License-Identifier: Apache-2.0

// candidate is a baseline of the bench: a command under client-go's leader election as most programs have it.
//
//	candidate NAMESPACE LEASE -- COMMAND [ARGUMENT...]
//
// Timings and behaviour are client-go's defaults: 15/10/2 s; the Lease is not released at the end; who loses it goes on
// until its process notices, and then exits, which ends the command too (this program is process 1 of its container).
package main

import (
	"context"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// How long the command may take to end after a SIGTERM; pods are given 30 s.
const grace = 10 * time.Second

func main() {
	if len(os.Args) < 5 || os.Args[3] != "--" {
		log.Fatal("usage: candidate NAMESPACE LEASE -- COMMAND [ARGUMENT...]")
	}
	// that of its service account, or what KUBECONFIG names
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		log.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: os.Args[1], Name: os.Args[2]},
		Client:     kubernetes.NewForConfigOrDie(config).CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var command child
	leaderelection.RunOrDie(asked, leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: 15 * time.Second,
		RenewDeadline: 10 * time.Second,
		RetryPeriod:   2 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { command.run(ctx, lock) },
			OnStoppedLeading: func() {
				if asked.Err() == nil {
					log.Fatal("the Lease is lost") // no word to the command: it dies with this process
				}
				command.end()
			},
		},
	})
}

// child is the command; started tells whether there is one.
type child struct {
	process atomic.Pointer[os.Process]
	ended   chan struct{}
}

// run starts the command and ends this program when it ends by itself: its container is started again then.
func (c *child) run(ctx context.Context, lock resourcelock.Interface) {
	record, _, err := lock.Get(ctx)
	if err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command(os.Args[4], os.Args[5:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The simulator's ledger tells holders apart by it. client-go itself gives nobody a number.
	cmd.Env = append(os.Environ(), "DPE_ELECTOR_EPOCH="+strconv.Itoa(record.LeaderTransitions))
	c.ended = make(chan struct{})
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	c.process.Store(cmd.Process)
	err = cmd.Wait()
	close(c.ended)
	if ctx.Err() == nil {
		log.Fatalf("the command ended: %v", err)
	}
}

// end asks the command to stop, and waits for it for a bounded time.
func (c *child) end() {
	process := c.process.Load()
	if process == nil {
		return
	}
	_ = process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(grace):
	}
}
