package main

import (
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
)

// What the channel gives within five seconds.
func within[T any](channel <-chan T, what string) T {
	select {
	case value := <-channel:
		return value
	case <-time.After(5 * time.Second):
		panic(broken{"not within 5 s: " + what})
	}
}

func later(body func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- body() }()
	return done
}

var experimentalCases = []testCase{
	{"naming: endpoints come, are watched, and go with their lease", func(w *world) {
		manager, err := endpoints.NewManager(w.Client, w.key("service"))
		w.ok(err, "manager")
		channel, err := manager.NewWatchChannel(w)
		w.ok(err, "watch")
		lease, err := w.Grant(w, 60)
		w.ok(err, "grant")
		one, two := w.key("service/1"), w.key("service/2")
		w.ok(manager.AddEndpoint(w, one, endpoints.Endpoint{Addr: "10.0.0.1:80", Metadata: "a"}), "add")
		w.ok(manager.AddEndpoint(w, two, endpoints.Endpoint{Addr: "10.0.0.2:80"}, clientv3.WithLease(lease.ID)), "add")
		listed, err := manager.List(w)
		w.ok(err, "list")
		w.equal([]any{len(listed), listed[one].Addr, listed[one].Metadata}, []any{2, "10.0.0.1:80", "a"}, "listed")
		_, err = w.Revoke(w, lease.ID)
		w.ok(err, "revoke")
		seen := []string{}
		for len(seen) < 3 {
			for _, update := range within(channel, "updates") {
				seen = append(seen, fmt.Sprint(update.Op, update.Key == two))
			}
		}
		w.equal(seen, []string{fmt.Sprint(endpoints.Add, false), fmt.Sprint(endpoints.Add, true), fmt.Sprint(endpoints.Delete, true)}, "seen")
	}},
	{"recipes: a barrier holds until it is released", func(w *world) {
		barrier := recipe.NewBarrier(w.Client, w.key("barrier"))
		w.ok(barrier.Hold(), "hold")
		w.that(barrier.Hold() != nil, "held once")
		waiters := []<-chan error{}
		for range 5 {
			waiters = append(waiters, later(recipe.NewBarrier(w.dial(w.endpoint), w.key("barrier")).Wait))
		}
		time.Sleep(200 * time.Millisecond)
		for _, waiter := range waiters {
			w.that(len(waiter) == 0, "waits")
		}
		w.ok(barrier.Release(), "release")
		for _, waiter := range waiters {
			w.ok(within(waiter, "a waiter"), "wait")
		}
	}},
	{"recipes: a double barrier lets all in, and all out", func(w *world) {
		const count = 4
		entered, left := []<-chan error{}, []<-chan error{}
		barriers := []*recipe.DoubleBarrier{}
		for range count {
			barriers = append(barriers, recipe.NewDoubleBarrier(w.session(10), w.key("double"), count))
		}
		for _, barrier := range barriers[:count-1] {
			entered = append(entered, later(barrier.Enter))
		}
		time.Sleep(200 * time.Millisecond)
		for _, one := range entered {
			w.that(len(one) == 0, "waits for the last one")
		}
		entered = append(entered, later(barriers[count-1].Enter))
		for _, one := range entered {
			w.ok(within(one, "all have entered"), "enter")
		}
		for _, barrier := range barriers {
			left = append(left, later(barrier.Leave))
		}
		for _, one := range left {
			w.ok(within(one, "all have left"), "leave")
		}
	}},
	{"recipes: queues give each item once, in order, by priority", func(w *world) {
		queue := recipe.NewQueue(w.Client, w.key("queue"))
		for i := range 5 {
			w.ok(queue.Enqueue(fmt.Sprint(i)), "enqueue")
		}
		for i := range 5 {
			value, err := queue.Dequeue()
			w.ok(err, "dequeue")
			w.equal(value, fmt.Sprint(i), "first in, first out")
		}
		got := make(chan string, 1)
		go func() {
			value, _ := recipe.NewQueue(w.dial(w.endpoint), w.key("queue")).Dequeue()
			got <- value
		}()
		time.Sleep(100 * time.Millisecond)
		w.ok(queue.Enqueue("late"), "enqueue")
		w.equal(within(got, "who waits is given it"), "late", "late")
		byPriority := recipe.NewPriorityQueue(w.Client, w.key("priority"))
		for _, priority := range []uint16{3, 1, 2, 1} {
			w.ok(byPriority.Enqueue(fmt.Sprint(priority), priority), "enqueue")
		}
		order := ""
		for range 4 {
			value, err := byPriority.Dequeue()
			w.ok(err, "dequeue")
			order += value
		}
		w.equal(order, "1123", "by priority")
	}},
	{"recipes: a read-write mutex: readers together, a writer alone", func(w *world) {
		name := w.key("rw")
		var readers, writers atomic.Int32
		ends := []<-chan error{}
		for i := range 8 {
			mutex := recipe.NewRWMutex(w.session(10), name)
			ends = append(ends, later(func() error {
				for range 3 {
					if i%3 == 0 {
						if err := mutex.Lock(); err != nil {
							return err
						}
						alone := writers.Add(1) == 1 && readers.Load() == 0
						time.Sleep(2 * time.Millisecond)
						writers.Add(-1)
						if err := mutex.Unlock(); err != nil || !alone {
							return fmt.Errorf("alone %v: %w", alone, err)
						}
						continue
					}
					if err := mutex.RLock(); err != nil {
						return err
					}
					readers.Add(1)
					none := writers.Load() == 0
					readers.Add(-1)
					if err := mutex.RUnlock(); err != nil || !none {
						return fmt.Errorf("without a writer %v: %w", none, err)
					}
				}
				return nil
			}))
		}
		for _, end := range ends {
			w.ok(<-end, "a locker")
		}
	}},
}
