package main

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var leaseCases = []testCase{
	{"lease: granted, listed, revoked", func(w *world) {
		lease, err := w.Grant(w, 1000)
		w.ok(err, "grant")
		w.that(lease.ID > 0 && lease.TTL == 1000, "id and TTL")
		w.put("b", "2", clientv3.WithLease(lease.ID))
		w.put("a", "1", clientv3.WithLease(lease.ID))
		left, err := w.TimeToLive(w, lease.ID, clientv3.WithAttachedKeys())
		w.ok(err, "time to live")
		w.that(left.TTL > 990 && left.TTL <= 1000 && left.GrantedTTL == 1000, "what is left")
		keys := []string{string(left.Keys[0]), string(left.Keys[1])}
		slices.Sort(keys)
		w.equal(keys, []string{w.key("a"), w.key("b")}, "keys")
		all, err := w.Leases(w)
		w.ok(err, "leases")
		w.that(slices.Contains(all.Leases, clientv3.LeaseStatus{ID: lease.ID}), "it is listed")
		channel := w.Watch(w, w.prefix, clientv3.WithPrefix())
		_, err = w.Revoke(w, lease.ID)
		w.ok(err, "revoke")
		gone := w.next(channel)
		w.equal(len(gone.Events), 2, "both go in one revision")
		w.equal(string(gone.Events[0].Kv.Key), w.key("a"), "in order of keys")
		_, err = w.Revoke(w, lease.ID)
		w.fails(err, rpctypes.ErrLeaseNotFound, "revoke again")
		none, err := w.TimeToLive(w, lease.ID)
		w.ok(err, "time to live of none")
		w.equal(none.TTL, int64(-1), "TTL of none")
		_, err = w.KeepAliveOnce(w, lease.ID)
		w.fails(err, rpctypes.ErrLeaseNotFound, "renewal of none")
		_, err = w.Grant(w, 9_000_000_001)
		w.fails(err, rpctypes.ErrLeaseTTLTooLarge, "a TTL too large")
	}},
	{"lease: kept alive through a lost connection, then expires", func(w *world) {
		between := w.proxy()
		client := w.dial(between.address())
		lease, err := client.Grant(w, 3)
		w.ok(err, "grant")
		w.put("k", "v", clientv3.WithLease(lease.ID))
		renewals, err := client.KeepAlive(w, lease.ID)
		w.ok(err, "keep alive")
		w.equal((<-renewals).TTL, int64(3), "renewed")
		between.cut()
		until := time.Now().Add(5 * time.Second)
		for time.Now().Before(until) {
			renewal, open := <-renewals
			w.that(open && renewal.TTL == 3, "renewed again")
		}
		w.equal(w.get("k"), "v", "the key is there after more than the TTL")
		channel := w.Watch(w, w.key("k"))
		stopped := time.Now()
		client.Close()
		event := w.next(channel).Events[0]
		waited := time.Since(stopped)
		w.equal(event.Type, clientv3.EventTypeDelete, "it expires")
		w.that(waited > 1500*time.Millisecond && waited < 8*time.Second, fmt.Sprintf("not before its time: %v", waited))
	}},
	{"lease: the channel closes when the lease is gone", func(w *world) {
		lease, err := w.Grant(w, 6)
		w.ok(err, "grant")
		renewals, err := w.KeepAlive(w, lease.ID)
		w.ok(err, "keep alive")
		<-renewals
		_, err = w.Revoke(w, lease.ID)
		w.ok(err, "revoke")
		for range renewals {
		}
	}},
}
