package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

type keepOptions struct {
	endpoint        string
	pid             int
	conns, streams  int
	n, ttl          int
	every, duration time.Duration
}

const grantPath = "/etcdserverpb.Lease/LeaseGrant"

func idOf(message []byte) (id uint64) {
	fields(message, func(field int, value uint64, _ []byte) {
		if field == 2 {
			id = value
		}
	})
	return id
}

// keep: each stream renews its share of the leases at once, the streams one after another, evenly over the interval.
func keep(o keepOptions) {
	conns := connect(o.endpoint, o.conns)
	ids := make([]uint64, o.n)
	use := startUse(o.pid)
	inParallel(conns, o.n, 200, grantPath, func(int) []byte { return grantRequest(uint64(o.ttl)) },
		func(i int, m []byte) { ids[i] = idOf(m) })
	fmt.Printf("grants: n=%d rate=%.0f/s %s\n", o.n, float64(o.n)/time.Since(use.begun).Seconds(), use.report())
	each := o.n / o.streams
	kept := make([]*keeper, o.streams)
	for i := range kept {
		kept[i] = newKeeper(conns[i%o.conns], ids[i*each:(i+1)*each])
	}
	use = startUse(o.pid)
	begun := time.Now()
	rounds := int(o.duration / o.every)
	for round := range rounds {
		for i, k := range kept {
			at := time.Duration(round)*o.every + o.every*time.Duration(i)/time.Duration(o.streams)
			time.Sleep(time.Until(begun.Add(at)))
			k.renew()
		}
	}
	time.Sleep(time.Until(begun.Add(time.Duration(rounds) * o.every)))
	want := uint64(rounds * each * o.streams)
	for late := time.Now().Add(10 * time.Second); time.Now().Before(late) && renewed(kept) < want; {
		time.Sleep(time.Millisecond)
	}
	report := use.report()
	all := &histogram{}
	for _, k := range kept {
		k.mu.Lock()
		all.merge(&k.answered)
		k.mu.Unlock()
	}
	fmt.Printf("keep-alives: leases=%d streams=%d %s\nkeep-alive: %s\n", each*o.streams, o.streams, report, all)
	if all.n != want {
		fatal("keep-alives were lost:", all.n, "of", want)
	}
}

func renewed(kept []*keeper) (sum uint64) {
	for _, k := range kept {
		k.mu.Lock()
		sum += k.answered.n
		k.mu.Unlock()
	}
	return sum
}

type keeper struct {
	c        *conn
	s        *stream
	requests [][]byte
	mu       sync.Mutex
	sent     time.Time
	answered histogram
}

func newKeeper(c *conn, ids []uint64) *keeper {
	k := &keeper{c: c}
	for _, id := range ids {
		k.requests = append(k.requests, leaseRequest(id))
	}
	k.s = c.open("/etcdserverpb.Lease/LeaseKeepAlive", k.take, func() { fatal("a keep-alive stream ended") })
	return k
}

func (k *keeper) renew() {
	k.mu.Lock()
	k.sent = time.Now()
	k.mu.Unlock()
	k.c.send(k.s, false, k.requests...)
}

func (k *keeper) take(m []byte) {
	ttl := uint64(0)
	fields(m, func(field int, value uint64, _ []byte) {
		if field == 3 {
			ttl = value
		}
	})
	if ttl == 0 {
		fatal("a lease is gone")
	}
	k.mu.Lock()
	k.answered.add(time.Since(k.sent))
	k.mu.Unlock()
}

type expireOptions struct {
	endpoint   string
	pid, conns int
	n, ttl     int
	rate       float64
	valueBytes int
}

// expire: leases with a key each, all due within the last second of the TTL, while other keys are put.
func expire(o expireOptions) {
	conns := connect(o.endpoint, o.conns)
	end := time.Now().Add(time.Duration(o.ttl) * time.Second)
	ids := make([]uint64, o.n)
	inParallel(conns, o.n, 200, grantPath,
		func(int) []byte { return grantRequest(uint64(time.Until(end) / time.Second)) },
		func(i int, m []byte) { ids[i] = idOf(m) })
	inParallel(conns, o.n, 200, "/etcdserverpb.KV/Put",
		func(i int) []byte { return putRequest(fmt.Appendf(nil, "scale/leased/%08d", i), []byte("x"), ids[i]) },
		func(int, []byte) {})
	fmt.Printf("leased keys: n=%d, due in %.1f s\n", o.n, time.Until(end).Seconds())
	if time.Until(end) < 3*time.Second {
		fatal("granting took too long for this TTL")
	}
	gone := watchDeletes(conns[0], o.n)
	before, during := &histogram{}, &histogram{}
	stop := make(chan struct{})
	var puts sync.WaitGroup
	puts.Add(1)
	go func() {
		defer puts.Done()
		steadyPuts(connect(o.endpoint, 1)[0], o, end.Add(-time.Second), before, during, stop)
	}()
	time.Sleep(time.Until(end.Add(-time.Second)))
	use := startUse(o.pid)
	select {
	case <-gone.all:
	case <-time.After(10 * time.Minute):
		fatal("leases are left:", int64(o.n)-gone.count.Load())
	}
	report := use.report()
	last := time.Now()
	close(stop)
	puts.Wait()
	fmt.Printf("expired: n=%d first=%.2fs last=%.2fs after the last one was due; %s\n", o.n,
		gone.first.Sub(end).Seconds(), last.Sub(end).Seconds(), report)
	fmt.Printf("puts before: %s\nputs during: %s\n", before, during)
}

type deletes struct {
	first time.Time
	count atomic.Int64
	all   chan struct{}
}

func watchDeletes(c *conn, n int) *deletes {
	d := &deletes{all: make(chan struct{})}
	created := make(chan struct{})
	s := c.open("/etcdserverpb.Watch/Watch", func(m []byte) {
		fields(m, func(field int, _ uint64, b []byte) {
			switch field {
			case 3:
				close(created)
			case 4:
				fatal("the watcher was cancelled")
			case 11:
				deleted := false
				fields(b, func(field int, value uint64, _ []byte) { deleted = deleted || field == 1 && value == 1 })
				if !deleted {
					return
				}
				if d.count.Load() == 0 {
					d.first = time.Now()
				}
				if d.count.Add(1) == int64(n) {
					close(d.all)
				}
			}
		})
	}, func() { fatal("the watch ended") })
	c.send(s, false, watchRequest([]byte("scale/leased/"), []byte("scale/leased0")))
	<-created
	return d
}

func steadyPuts(c *conn, o expireOptions, from time.Time, before, during *histogram, stop <-chan struct{}) {
	value := make([]byte, o.valueBytes)
	tick := time.NewTicker(time.Duration(1e9 / o.rate))
	defer tick.Stop()
	var under sync.WaitGroup
	var mu sync.Mutex
	for i := 0; ; i++ {
		select {
		case <-stop:
			under.Wait()
			return
		case <-tick.C:
		}
		sent := time.Now()
		under.Add(1)
		c.call("/etcdserverpb.KV/Put", putRequest(fmt.Appendf(nil, "scale/other/%04d", i%1000), value, 0), func(m []byte) {
			if m == nil {
				fatal("a put failed")
			}
			mu.Lock()
			if sent.Before(from) {
				before.add(time.Since(sent))
			} else {
				during.add(time.Since(sent))
			}
			mu.Unlock()
			under.Done()
		})
	}
}
