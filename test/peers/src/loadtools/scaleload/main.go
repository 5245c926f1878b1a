// Command scaleload drives an etcd-compatible server with what needs a lean client: very many
// watchers and leases. It prints one line of figures a phase, and fails if anything is lost.
//
//	scaleload watch  -endpoint E -watchers 10000 -conns 100 -rate 10 -for 60s [-pid SERVER]
//	scaleload keep   -endpoint E -n 100000 -streams 1000 -every 10s -for 30s [-pid SERVER]
//	scaleload expire -endpoint E -n 50000 -ttl 20 -rate 500 [-pid SERVER]
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

func fatal(a ...any) { fmt.Fprintln(os.Stderr, a...); os.Exit(1) }

func connect(endpoint string, count int) []*conn {
	conns := make([]*conn, count)
	for i := range conns {
		c, err := dial(endpoint)
		if err != nil {
			fatal(err)
		}
		conns[i] = c
	}
	return conns
}

// inParallel makes n calls, `clients` of them at a time. make gives the i-th request.
func inParallel(conns []*conn, n, clients int, path string, make func(i int) []byte, done func(i int, message []byte)) {
	var wait sync.WaitGroup
	slots := newSlots(clients)
	wait.Add(n)
	for i := range n {
		slots.take()
		conns[i%len(conns)].call(path, make(i), func(message []byte) {
			if message == nil {
				fatal(path, "failed")
			}
			done(i, message)
			slots.give()
			wait.Done()
		})
	}
	wait.Wait()
}

type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }
func (s slots) take()      { s <- struct{}{} }
func (s slots) give()      { <-s }

func main() {
	if len(os.Args) < 2 {
		fatal("usage: scaleload watch|keep|expire …")
	}
	set := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	endpoint := set.String("endpoint", "127.0.0.1:2379", "")
	pid := set.Int("pid", 0, "the server's process: its CPU is told, too")
	conns := set.Int("conns", 100, "")
	watchers := set.Int("watchers", 10000, "")
	streams := set.Int("streams", 0, "streams in all; 0: one a connection")
	rate := set.Float64("rate", 10, "puts a second")
	duration := set.Duration("for", 60*time.Second, "")
	size := set.Int("val", 256, "bytes of a value")
	n := set.Int("n", 100000, "leases")
	every := set.Duration("every", 10*time.Second, "between keep-alives of a lease")
	ttl := set.Int("ttl", 60, "seconds")
	if err := set.Parse(os.Args[2:]); err != nil {
		fatal(err)
	}
	count := *streams
	if count == 0 {
		count = *conns
	}
	switch os.Args[1] {
	case "watch":
		watch(watchOptions{*endpoint, *pid, *conns, count, *watchers, *rate, *duration, max(16, *size)})
	case "keep":
		keep(keepOptions{*endpoint, *pid, *conns, count, *n, *ttl, *every, *duration})
	case "expire":
		expire(expireOptions{*endpoint, *pid, *conns, *n, *ttl, *rate, *size})
	default:
		fatal("usage: scaleload watch|keep|expire …")
	}
}
