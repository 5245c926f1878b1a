package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func (w *world) session(ttl int) *concurrency.Session {
	session, err := concurrency.NewSession(w.Client, concurrency.WithTTL(ttl), concurrency.WithContext(w))
	w.ok(err, "session")
	return session
}

var recipeCases = []testCase{
	{"concurrency: a mutex excludes", func(w *world) {
		inside, most, entries := 0, 0, 0
		var guard sync.Mutex
		var contenders sync.WaitGroup
		failures := make(chan error, 6)
		for range 6 {
			contenders.Go(func() {
				session, err := concurrency.NewSession(w.Client, concurrency.WithTTL(10))
				if err != nil {
					failures <- err
					return
				}
				defer session.Close()
				mutex := concurrency.NewMutex(session, w.key("lock"))
				for range 3 {
					if err := mutex.Lock(w); err != nil {
						failures <- err
						return
					}
					guard.Lock()
					inside++
					entries++
					most = max(most, inside)
					guard.Unlock()
					time.Sleep(2 * time.Millisecond)
					guard.Lock()
					inside--
					guard.Unlock()
					if err := mutex.Unlock(w); err != nil {
						failures <- err
						return
					}
				}
			})
		}
		contenders.Wait()
		close(failures)
		w.ok(<-failures, "lock")
		w.equal([]int{most, entries}, []int{1, 18}, "at most one inside, entries")
	}},
	{"concurrency: TryLock, ownership, and a session that ends gives the lock on", func(w *world) {
		first, second := w.session(2), w.session(10)
		holder, waiter := concurrency.NewMutex(first, w.key("lock")), concurrency.NewMutex(second, w.key("lock"))
		w.ok(holder.TryLock(w), "TryLock")
		w.fails(waiter.TryLock(w), concurrency.ErrLocked, "TryLock of what is held")
		owned, err := w.Txn(w).If(holder.IsOwner()).Then(clientv3.OpPut(w.key("fenced"), "yes")).Commit()
		w.ok(err, "txn")
		w.that(owned.Succeeded, "the holder owns it")
		// No more renewals: the lock goes on when the lease expires.
		first.Orphan()
		w.ok(waiter.Lock(w), "Lock after the holder's session expired")
		lost, err := w.Txn(w).If(holder.IsOwner()).Commit()
		w.ok(err, "txn")
		w.that(!lost.Succeeded, "the former holder does not own it")
		w.ok(waiter.Unlock(w), "Unlock")
		w.ok(second.Close(), "close")
		select {
		case <-second.Done():
		case <-time.After(5 * time.Second):
			panic(broken{"a closed session is not done"})
		}
	}},
	{"concurrency: an election", func(w *world) {
		first, second := w.session(10), w.session(10)
		one, two := concurrency.NewElection(first, w.key("election")), concurrency.NewElection(second, w.key("election"))
		_, err := one.Leader(w)
		w.fails(err, concurrency.ErrElectionNoLeader, "no leader yet")
		ctx, cancel := context.WithCancel(w)
		observed := two.Observe(ctx)
		w.ok(one.Campaign(w, "one"), "campaign")
		value := func() string { return string((<-observed).Kvs[0].Value) }
		w.equal(value(), "one", "observed")
		w.ok(one.Proclaim(w, "one again"), "proclaim")
		w.equal(value(), "one again", "observed")
		won := make(chan error, 1)
		go func() { won <- two.Campaign(w, "two") }()
		select {
		case <-won:
			panic(broken{"two leaders"})
		case <-time.After(200 * time.Millisecond):
		}
		w.ok(one.Resign(w), "resign")
		w.ok(<-won, "campaign")
		w.equal(value(), "two", "observed")
		w.fails(one.Proclaim(w, "not any more"), concurrency.ErrElectionNotLeader, "proclaim by who resigned")
		leader, err := one.Leader(w)
		w.ok(err, "leader")
		w.equal(string(leader.Kvs[0].Key), two.Key(), "leader")
		cancel()
	}},
	{"concurrency: software transactional memory", func(w *world) {
		w.put("a", "100")
		w.put("b", "0")
		var movers sync.WaitGroup
		failures := make(chan error, 8)
		for range 8 {
			movers.Go(func() {
				_, err := concurrency.NewSTM(w.Client, func(memory concurrency.STM) error {
					var a, b int
					fmt.Sscan(memory.Get(w.key("a")), &a)
					fmt.Sscan(memory.Get(w.key("b")), &b)
					memory.Put(w.key("a"), fmt.Sprint(a-5))
					memory.Put(w.key("b"), fmt.Sprint(b+5))
					return nil
				}, concurrency.WithIsolation(concurrency.SerializableSnapshot), concurrency.WithAbortContext(w))
				failures <- err
			})
		}
		movers.Wait()
		close(failures)
		for err := range failures {
			w.ok(err, "transaction")
		}
		w.equal([]string{w.get("a"), w.get("b")}, []string{"60", "40"}, "moved")
		stop := errors.New("stop")
		_, err := concurrency.NewSTM(w.Client, func(concurrency.STM) error { return stop })
		w.fails(err, stop, "a transaction that gives up")
	}},
}
