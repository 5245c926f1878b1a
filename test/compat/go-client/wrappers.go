package main

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

var wrapperCases = []testCase{
	{"leasing: cached reads see other clients' writes", func(w *world) {
		one, closeOne, err := leasing.NewKV(w.dial(w.endpoint), w.key("leases/"))
		w.ok(err, "leasing")
		defer closeOne()
		two, closeTwo, err := leasing.NewKV(w.dial(w.endpoint), w.key("leases/"))
		w.ok(err, "leasing")
		defer closeTwo()
		read := func(kv clientv3.KV) string {
			got, err := kv.Get(w, w.key("k"))
			w.ok(err, "get")
			if len(got.Kvs) == 0 {
				return "none"
			}
			return string(got.Kvs[0].Value)
		}
		w.equal(read(one), "none", "before")
		for _, value := range []string{"1", "2", "3"} {
			_, err = two.Put(w, w.key("k"), value)
			w.ok(err, "put")
			w.equal([]string{read(one), read(two), read(one)}, []string{value, value, value}, "read")
			_, err = one.Put(w, w.key("k"), value+value)
			w.ok(err, "put")
			w.equal([]string{read(two), read(one)}, []string{value + value, value + value}, "read")
		}
		txn, err := two.Txn(w).If(clientv3.Compare(clientv3.Value(w.key("k")), "=", "33")).Then(clientv3.OpDelete(w.key("k"))).Commit()
		w.ok(err, "txn")
		w.that(txn.Succeeded, "the compare holds")
		w.equal(read(one), "none", "after")
	}},
	{"ordering: revisions never go back", func(w *world) {
		kv := ordering.NewKV(w.KV, func(clientv3.Op, clientv3.OpResponse, int64) error {
			return errors.New("a revision went back")
		})
		for range 50 {
			w.put("k", "v")
			_, err := kv.Get(w, w.key("k"), clientv3.WithSerializable())
			w.ok(err, "get")
			_, err = kv.Txn(w).Then(clientv3.OpGet(w.key("k"))).Commit()
			w.ok(err, "txn")
		}
	}},
	{"namespace: keys, watches and leases below a prefix", func(w *world) {
		kv := namespace.NewKV(w.KV, w.prefix)
		channel := namespace.NewWatcher(w.Watcher, w.prefix).Watch(w, "", clientv3.WithPrefix())
		_, err := kv.Put(w, "k", "v")
		w.ok(err, "put")
		w.equal(w.get("k"), "v", "value")
		w.equal(string(w.next(channel).Events[0].Kv.Key), "k", "the watcher's key")
	}},
	{"mirror: a copy of the present, then what changes", func(w *world) {
		for _, name := range []string{"a", "b", "c"} {
			w.put(name, "1")
		}
		syncer := mirror.NewSyncer(w.Client, w.prefix, 0)
		pairs, errs := syncer.SyncBase(w)
		count := 0
		for page := range pairs {
			count += len(page.Kvs)
		}
		w.ok(<-errs, "base")
		w.equal(count, 3, "pairs")
		updates := syncer.SyncUpdates(w)
		w.put("d", "1")
		w.equal(string(w.next(updates).Events[0].Kv.Key), w.key("d"), "update")
	}},
	{"client: status, members, health, a leader that is required", func(w *world) {
		status, err := w.Status(w, w.endpoint)
		w.ok(err, "status")
		w.that(status.Leader == status.Header.MemberId && status.DbSize > 0 && len(status.Errors) == 0, "status")
		w.that(status.Version == "3.6.16", "version "+status.Version)
		members, err := w.MemberList(w)
		w.ok(err, "members")
		w.that(len(members.Members) == 1 && len(members.Members[0].ClientURLs) > 0, "members")
		w.ok(w.Sync(w), "sync of the endpoints")
		w.put("k", "synced")
		alarms, err := w.AlarmList(w)
		w.ok(err, "alarms")
		w.equal(len(alarms.Alarms), 0, "alarms")
		led := clientv3.WithRequireLeader(w)
		_, err = w.Put(led, w.key("k"), "led")
		w.ok(err, "put with a leader required")
		cancelled, cancel := context.WithCancel(w)
		cancel()
		_, err = w.Get(cancelled, w.key("k"))
		w.fails(err, context.Canceled, "a call that was cancelled")
	}},
}
