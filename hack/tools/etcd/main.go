// Command etcd is etcd as Kubernetes pins it: the module graph of k8s.io/kubernetes chooses its version.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
