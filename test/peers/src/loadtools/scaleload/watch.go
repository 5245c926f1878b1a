package main

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
)

type watchOptions struct {
	endpoint                 string
	pid                      int
	conns, streams, watchers int
	rate                     float64
	duration                 time.Duration
	valueBytes               int
}

// watched is what one connection's reader has seen; only that reader writes it.
type watched struct {
	fromPut, fromAck histogram
	// The revision of the newest event, by stream and watcher.
	newest    map[*stream][]uint64
	unordered uint64
	received  atomic.Int64
}

// watch: all watchers are on one key, which is put at a steady pace. A value holds its number and when it was sent.
func watch(o watchOptions) {
	key := []byte("scale/watched")
	conns := connect(o.endpoint, o.conns)
	writer := connect(o.endpoint, 1)[0]
	total := int(o.rate * o.duration.Seconds())
	acked := make([]atomic.Int64, total)
	seen := make([]*watched, o.conns)
	for i := range seen {
		seen[i] = &watched{newest: map[*stream][]uint64{}}
	}
	created := make(chan struct{}, o.watchers)
	for i := range o.streams {
		c, w := conns[i%o.conns], seen[i%o.conns]
		count := o.watchers / o.streams
		var s *stream
		opened := make(chan struct{})
		s = c.open("/etcdserverpb.Watch/Watch", func(m []byte) {
			<-opened
			w.take(s, m, acked, created)
		}, func() { fatal("a watch ended") })
		close(opened)
		requests := make([][]byte, count)
		for n := range requests {
			requests[n] = watchRequest(key, nil)
		}
		c.send(s, false, requests...)
	}
	for range o.watchers / o.streams * o.streams {
		<-created
	}
	use := startUse(o.pid)
	puts := &histogram{}
	done := make(chan struct{}, total)
	begun := time.Now()
	for i := range total {
		time.Sleep(time.Until(begun.Add(time.Duration(float64(i) / o.rate * 1e9))))
		value := make([]byte, o.valueBytes)
		sent := time.Now()
		binary.BigEndian.PutUint64(value, uint64(i))
		binary.BigEndian.PutUint64(value[8:], uint64(sent.UnixNano()))
		writer.call("/etcdserverpb.KV/Put", putRequest(key, value, 0), func(m []byte) {
			if m == nil {
				fatal("a put failed")
			}
			now := time.Now()
			acked[i].Store(now.UnixNano())
			puts.add(now.Sub(sent))
			done <- struct{}{}
		})
	}
	for range total {
		<-done
	}
	want := int64(total) * int64(o.watchers/o.streams*o.streams)
	for late := time.Now().Add(20 * time.Second); time.Now().Before(late) && received(seen) < want; {
		time.Sleep(5 * time.Millisecond)
	}
	report := use.report()
	got := received(seen)
	fromPut, fromAck := &histogram{}, &histogram{}
	var unordered uint64
	for _, w := range seen {
		fromPut.merge(&w.fromPut)
		fromAck.merge(&w.fromAck)
		unordered += w.unordered
	}
	fmt.Printf("watch: events=%d of %d lost=%d unordered=%d rate=%.0f/s %s\n", got, want, want-got, unordered,
		float64(got)/time.Since(begun).Seconds(), report)
	fmt.Printf("put to event: %s\nacknowledged to event: %s\nput: %s\n", fromPut, fromAck, puts)
	if got != want || unordered != 0 {
		fatal("events were lost, repeated or out of order")
	}
}

func received(seen []*watched) (sum int64) {
	for _, w := range seen {
		sum += w.received.Load()
	}
	return sum
}

func (w *watched) take(s *stream, m []byte, acked []atomic.Int64, created chan<- struct{}) {
	now := time.Now()
	id := uint64(0)
	events := int64(0)
	fields(m, func(field int, value uint64, b []byte) {
		switch field {
		case 2:
			id = value
		case 3:
			for uint64(len(w.newest[s])) <= id {
				w.newest[s] = append(w.newest[s], 0)
			}
			created <- struct{}{}
		case 4:
			fatal("a watcher was cancelled")
		case 11:
			events++
			w.event(s, id, b, now, acked)
		}
	})
	w.received.Add(events)
}

func (w *watched) event(s *stream, id uint64, event []byte, now time.Time, acked []atomic.Int64) {
	fields(event, func(field int, _ uint64, kv []byte) {
		if field != 2 {
			return
		}
		fields(kv, func(field int, value uint64, b []byte) {
			if field == 3 {
				// A slow put may be overtaken by the next one, so that numbers are in no order; revisions always are.
				newest := &w.newest[s][id]
				if value <= *newest {
					w.unordered++
				}
				*newest = value
			}
			if field != 5 {
				return
			}
			n := binary.BigEndian.Uint64(b)
			w.fromPut.add(time.Duration(now.UnixNano() - int64(binary.BigEndian.Uint64(b[8:]))))
			// An event may come before its put's acknowledgement.
			ack := acked[n].Load()
			if ack == 0 {
				ack = now.UnixNano()
			}
			w.fromAck.add(time.Duration(now.UnixNano() - ack))
		})
	})
}
