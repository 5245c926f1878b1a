// Command go-client uses a server through etcd's own client library, as programs do. It is run against t4 and against
// a real etcd; each case asserts what it is answered, and is named after the rows of etcd's API that it is about.
//
//	go-client ENDPOINT [CASE...]
//
// prints "ok CASE" or "FAILED CASE: why" for each, and ends with 1 when one failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// How long a case may take. None waits for more than a lease of a few seconds.
const caseTimeout = 40 * time.Second

type testCase struct {
	name string
	body func(*world)
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go-client ENDPOINT [CASE...]")
		os.Exit(2)
	}
	failed := false
	for _, group := range [][]testCase{kvCases, txnCases, watchCases, leaseCases, recipeCases, wrapperCases, kubernetesCases, authCases, experimentalCases} {
		for _, one := range group {
			if len(os.Args) > 2 && !slices.Contains(os.Args[2:], one.name) {
				continue
			}
			if err := play(one, os.Args[1]); err != nil {
				failed = true
				fmt.Printf("FAILED %s: %v\n", one.name, err)
			} else {
				fmt.Printf("ok %s\n", one.name)
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

// A world is what a case has: a client, a time limit, and keys of its own.
type world struct {
	context.Context
	*clientv3.Client
	endpoint string
	prefix   string
	closers  []func()
}

// What ends a case that does not hold.
type broken struct{ why string }

func play(one testCase, endpoint string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
	defer cancel()
	w := &world{Context: ctx, endpoint: endpoint, prefix: one.name + "/"}
	defer func() {
		for _, closer := range slices.Backward(w.closers) {
			closer()
		}
		if reason, ok := recover().(broken); ok {
			err = errors.New(reason.why)
		}
	}()
	w.Client = w.dial(endpoint)
	one.body(w)
	return nil
}

func (w *world) dial(endpoint string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
	w.ok(err, "dial")
	w.closers = append(w.closers, func() { client.Close() })
	return client
}

// key gives a name below the case's own prefix.
func (w *world) key(name string) string { return w.prefix + name }

func (w *world) ok(err error, doing string) {
	if err != nil {
		panic(broken{fmt.Sprintf("%s: %v", doing, err)})
	}
}

func (w *world) fails(err error, want error, doing string) {
	if !errors.Is(err, want) {
		panic(broken{fmt.Sprintf("%s: expected %q, got %v", doing, want, err)})
	}
}

func (w *world) equal(got, want any, what string) {
	if !reflect.DeepEqual(got, want) {
		panic(broken{fmt.Sprintf("%s: expected %v, got %v", what, want, got)})
	}
}

func (w *world) that(holds bool, what string) {
	if !holds {
		panic(broken{what})
	}
}

// put writes a key of the case and returns its revision.
func (w *world) put(name, value string, opts ...clientv3.OpOption) int64 {
	answer, err := w.Put(w, w.key(name), value, opts...)
	w.ok(err, "put "+name)
	return answer.Header.Revision
}

func (w *world) get(name string) string {
	answer, err := w.Get(w, w.key(name))
	w.ok(err, "get "+name)
	if len(answer.Kvs) == 0 {
		return "none"
	}
	return string(answer.Kvs[0].Value)
}
